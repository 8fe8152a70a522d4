package loadtest

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

// Bounds of a scenario.
const (
	maxConnections   = 1_000_000
	maxSubscriptions = 100_000_000 // lines of the ledger, 4 bytes each
	maxPayload       = 1 << 20
)

// faults gathers what is wrong.
type faults []string

func (f *faults) add(ok bool, format string, args ...any) {
	if !ok {
		*f = append(*f, fmt.Sprintf(format, args...))
	}
}

// Validate reports everything that is wrong with the scenario at once, a line each.
func (s *Scenario) Validate() error {
	var f faults
	s = s.Resolved()
	s.validateTarget(&f)
	s.validateLoad(&f)
	s.validateCut(&f)
	s.validateStop(&f)
	s.validateLoads(&f)
	s.validateChurn(&f)
	s.validatePoll(&f)
	f.add(s.Settle >= 0, "settle: %s is below zero", s.Settle)
	f.add(s.Warmup >= 0, "warmup: %s is below zero", s.Warmup)
	f.add(s.Drain >= 0, "drain: %s is below zero", s.Drain)
	f.add(s.Duration > 0, "duration: %s; a run needs a steady phase to be judged by", s.Duration)
	s.validateTargets(&f)
	set, err := s.metrics(swarm.NewMetrics(s.labels()...))
	if err != nil {
		f = append(f, err.Error())
	}
	_, bad := s.bind(set)
	f = append(f, bad...)
	_, bad = s.trendStats()
	f = append(f, bad...)
	if len(f) == 0 {
		return nil
	}
	return errors.New(strings.Join(f, "\n"))
}

func (s *Scenario) validateTarget(f *faults) {
	u, err := url.Parse(s.URL)
	switch {
	case err != nil:
		f.add(false, "url: %v", err)
	case u.Scheme != "ws" && u.Scheme != "wss" || u.Hostname() == "":
		f.add(false, "url: %q is neither ws://HOST[:PORT]/PATH nor wss://HOST[:PORT]/PATH", s.URL)
	case u.User != nil:
		f.add(false, "url: credentials do not belong there; use token")
	}
	f.add(!strings.ContainsAny(s.Token, " \r\n"), "token: it contains blanks or line ends")
	for _, a := range s.LocalAddresses {
		_, err := netip.ParseAddr(a)
		f.add(err == nil, "local_addresses: %q is not an IP address", a)
	}
	least := 1
	if len(s.Scenarios) > 0 && s.Publish.Rate == 0 && s.Requests.Rate == 0 {
		least = 0
	}
	f.add(s.Connections >= least && s.Connections+s.users() <= maxConnections, "connections: %d is not in %d to %d", s.Connections, least, maxConnections-s.users())
	f.add(s.ConnectRate > 0 && !math.IsInf(s.ConnectRate, 0), "connect_rate: %v per second; it must be above zero", s.ConnectRate)
	f.add(s.ConnectTimeout >= Duration(time.Second), "connect_timeout: %s is below 1s", s.ConnectTimeout)
	f.add(err != nil || u.Scheme != "wss" || s.Handshakes <= maxTLSHandshakes, "handshakes: %d; with wss:// at most %d can be under way", s.Handshakes, maxTLSHandshakes)
	f.add(s.Handshakes >= 1, "handshakes: %d; at least 1 must be under way", s.Handshakes)
}

func (s *Scenario) validateLoad(f *faults) {
	p := s.Publish
	f.add(p.Rate >= 0 && !math.IsInf(p.Rate, 0), "publish.rate: %v per second", p.Rate)
	f.add(isChannel(s.Requests.Channel), "requests.channel: %q is no channel", s.Requests.Channel)
	f.add(s.Requests.Rate >= 0 && !math.IsInf(s.Requests.Rate, 0), "requests.rate: %v per second", s.Requests.Rate)
	f.add(s.Subscriptions >= 0, "subscriptions: %d is below zero", s.Subscriptions)
	f.add(s.Channels.Count >= 1 || s.Subscriptions == 0 && p.Rate == 0, "channels.count: %d; subscriptions and publications need a channel", s.Channels.Count)
	f.add(s.Channels.Zipf >= 0 && s.Channels.Zipf <= 10, "channels.zipf: %v is not in 0 (all have as many subscribers) to 10", s.Channels.Zipf)
	f.add(s.Publish.Burst >= 0, "publish.burst: %d is below zero", s.Publish.Burst)
	f.add(s.Subscriptions <= max(s.Channels.Count, 0), "subscriptions: %d per connection, but there are only %d channels", s.Subscriptions, s.Channels.Count)
	f.add(p.Path == PathBackend || p.Path == PathDirect, "publish.path: %q is neither %s nor %s", p.Path, PathBackend, PathDirect)
	f.add(p.Payload >= swarm.StampSize && p.Payload <= maxPayload,
		"publish.payload: %d bytes is not in %d (the stamp that is measured with) to %d", p.Payload, swarm.StampSize, maxPayload)
	f.add(p.Publishers >= 0 && p.Publishers <= s.Connections, "publish.publishers: %d, of %d connections", p.Publishers, s.Connections)
	s.validateChannelName(f)
	feeds := max(p.Publishers, s.Channels.Count) + s.writers()
	f.add(feeds <= swarm.MaxFeeds/2, "channels.count and publish.publishers: more than %d", swarm.MaxFeeds/2)
	if feeds > 0 && s.Subscriptions > 0 {
		lanes := float64((p.Publishers+s.writers())/max(s.Channels.Count, 1) + 1)
		f.add(float64(s.Connections+s.users())*float64(s.Subscriptions)*lanes <= maxSubscriptions,
			"connections x subscriptions x publishers per channel: more than %d accounts to keep", maxSubscriptions)
		seconds := (time.Duration(s.Warmup) + time.Duration(s.Duration)).Seconds()
		f.add(p.Rate*seconds/float64(max(p.Publishers, s.Channels.Count)) < math.MaxUint32, "publish.rate: more than %d publications for one channel", uint32(math.MaxUint32))
	}
}

func (s *Scenario) validateCut(f *faults) {
	c := s.Cut
	f.add(c.Share >= 0 && c.Share <= 1, "cut.share: %v is not in 0 to 1", c.Share)
	f.add(c.At >= 0 && c.At < max(s.Duration, 1), "cut.at: %s is not within the steady phase of %s", c.At, s.Duration)
	f.add(c.Spread >= 0, "cut.spread: %s is below zero", c.Spread)
	f.add(c.By == CutByReset || c.By == CutByServer, "cut.by: %q is neither %s nor %s", c.By, CutByReset, CutByServer)
	f.add(c.By != CutByServer || c.Share == 1 && c.Spread == 0 && !c.Publishers,
		"cut.by: the server ends all connections when it does: share is 1 then, and spread and publishers are left out")
	f.add(c.Share == 0 || s.Reconnect, "cut: who is cut comes back, so reconnect must be true")
}

func (s *Scenario) validateStop(f *faults) {
	r := s.StopReading
	f.add(r.Connections >= 0, "stop_reading.connections: %d is below zero", r.Connections)
	f.add(r.Connections <= max(s.Connections-s.Publish.Publishers, 0), "stop_reading.connections: %d, but only %d of %d do not publish",
		r.Connections, s.Connections-s.Publish.Publishers, s.Connections)
	f.add(r.At >= 0 && r.Until >= 0 && r.Until <= max(s.Duration, 0) && (r.At < r.Until || r.Connections == 0),
		"stop_reading: from %s until %s is no time within the steady phase of %s", r.At, r.Until, s.Duration)
	f.add(r.ReceiveBuffer >= 0, "stop_reading.receive_buffer: %d bytes", r.ReceiveBuffer)
}

func (s *Scenario) validateChannelName(f *faults) {
	if s.Channels.Count < 1 {
		return
	}
	name := s.Channels.Name
	f.add(s.Channels.Count == 1 || strings.Count(name, "%d") == 1,
		"channels.name: %q must contain %%d once, so that %d channels have different names", name, s.Channels.Count)
	longest := s.Channels.channel(s.Channels.Count - 1)
	f.add(isChannel(longest), "channels.name: %q is no channel: 1 to 128 of A-Z a-z 0-9 _ - . : / @ = , ~", longest)
}

func isChannel(name string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9_\-.:/@=,~]{1,128}$`).MatchString(name)
}
