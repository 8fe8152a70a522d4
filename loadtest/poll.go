package loadtest

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

// Poll has all connections that do not publish ask for news over HTTP instead of subscribing. The server is cmd/pollserver, or one that
// answers like it.
type Poll struct {
	URL   string   `yaml:"url" json:"url"`     // http://HOST[:PORT]/PATH
	Every Duration `yaml:"every" json:"every"` // between two polls of one connection; 0: they subscribe
}

func (s *Scenario) validatePoll(f *faults) {
	p := s.Poll
	f.add(p.Every >= 0, "poll.every: %s is below zero", p.Every)
	if p.Every <= 0 {
		return
	}
	u, err := url.Parse(p.URL)
	f.add(err == nil && u.Scheme == "http" && u.Hostname() != "" && u.RawQuery == "", "poll.url: %q is not http://HOST[:PORT]/PATH", p.URL)
	f.add(!strings.HasPrefix(s.URL, "wss:"), "poll: it is spoken without TLS, to both servers: use ws://")
	f.add(s.Subscriptions == 1, "poll: subscriptions: %d; who polls asks for one channel", s.Subscriptions)
	f.add(s.Requests.Rate == 0 && s.StopReading.Connections == 0 && s.Cut.Share == 0 && s.Churn == Churn{Away: s.Churn.Away},
		"poll: requests, stop_reading, cut and churn are for connections that subscribe")
}

func (p Poll) config(ctx context.Context) (swarm.Poll, error) {
	if p.Every == 0 {
		return swarm.Poll{}, nil
	}
	u, err := url.Parse(p.URL)
	if err != nil {
		return swarm.Poll{}, err
	}
	remote, err := resolve(ctx, u)
	if err != nil {
		return swarm.Poll{}, fmt.Errorf("poll.%w", err)
	}
	return swarm.Poll{Remote: remote, Host: u.Host, URI: u.EscapedPath(), Every: time.Duration(p.Every)}, nil
}
