package queue

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Kinds of alerts.
const (
	AlertDead  = "dead_letter" // an event was given up
	AlertBatch = "batch"       // a batch was not counted, and is tried again
	AlertRedis = "redis"       // Redis does not answer
)

// Alert is something that somebody should look at.
type Alert struct {
	Kind  string `json:"kind"`
	Event string `json:"event,omitempty"` // ID of the event that it is about
	Text  string `json:"text"`            // why
	More  int    `json:"more,omitempty"`  // alerts of this kind since the last one that was sent
}

const (
	alertRoom    = 256              // alerts that wait to be sent
	alertEvery   = time.Minute      // one of a kind
	alertTimeout = 10 * time.Second // of one request
)

// Notifier sends alerts: of each kind one a minute, with the number of those that were not sent. What waits is bounded, and what
// does not fit, or cannot be sent, is counted and gone: the metrics are there as well.
type Notifier struct {
	send   func(ctx context.Context, a Alert) error
	log    *slog.Logger
	every  time.Duration
	room   chan Alert
	client *http.Client

	sent, failed, dropped *metrics.Counter
}

// NewNotifier is a Notifier to a webhook, which gets each alert as JSON by POST, or to what understands Sentry's DSN; both if both are
// given.
func NewNotifier(webhook, dsn string, set *metrics.Set, log *slog.Logger) (*Notifier, error) {
	n := &Notifier{
		log: log, every: alertEvery, room: make(chan Alert, alertRoom), client: &http.Client{Timeout: alertTimeout},
		sent:    set.GetOrCreateCounter(`millrace_rewards_alerts_total{result="sent"}`),
		failed:  set.GetOrCreateCounter(`millrace_rewards_alerts_total{result="failed"}`),
		dropped: set.GetOrCreateCounter(`millrace_rewards_alerts_total{result="dropped"}`),
	}
	var sends []func(context.Context, Alert) error
	if webhook != "" {
		if u, err := url.Parse(webhook); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("%q is not http://HOST/… or https://HOST/…", webhook)
		}
		sends = append(sends, func(ctx context.Context, a Alert) error {
			body, err := json.Marshal(a)
			if err != nil {
				return err
			}
			return n.post(ctx, webhook, "application/json", "", body)
		})
	}
	if dsn != "" {
		send, err := n.sentry(dsn)
		if err != nil {
			return nil, err
		}
		sends = append(sends, send)
	}
	n.send = func(ctx context.Context, a Alert) (err error) {
		for _, send := range sends {
			err = errors.Join(err, send(ctx, a))
		}
		return err
	}
	return n, nil
}

// Alert takes an alert. It never blocks.
func (n *Notifier) Alert(a Alert) {
	select {
	case n.room <- a:
	default:
		n.dropped.Inc()
	}
}

// Run sends until ctx is done, and then what it still has and may send, for a second.
func (n *Notifier) Run(ctx context.Context) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, cancel) })
	defer stop()
	last, more := make(map[string]time.Time), make(map[string]int)
	for ctx.Err() == nil || len(n.room) > 0 {
		select {
		case a := <-n.room:
			if now := time.Now(); now.Sub(last[a.Kind]) < n.every {
				more[a.Kind]++
			} else {
				last[a.Kind] = now
				a.More, more[a.Kind] = more[a.Kind], 0
				n.one(work, a)
			}
		case <-ctx.Done():
		}
	}
}

func (n *Notifier) one(ctx context.Context, a Alert) {
	if err := n.send(ctx, a); err != nil {
		n.failed.Inc()
		n.log.Warn("an alert was not sent", "kind", a.Kind, "error", err)
		return
	}
	n.sent.Inc()
}

func (n *Notifier) post(ctx context.Context, to, contentType, auth string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	if auth != "" {
		req.Header.Set("X-Sentry-Auth", auth)
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s answers %s", req.URL.Host, resp.Status)
	}
	return nil
}

// sentry sends envelopes of one event each: https://develop.sentry.dev/sdk/data-model/envelopes/. A DSN is
// SCHEME://KEY@HOST[/PATH]/PROJECT.
func (n *Notifier) sentry(dsn string) (func(context.Context, Alert) error, error) {
	u, err := url.Parse(dsn)
	if err != nil || u.User.Username() == "" || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("the DSN is not https://KEY@HOST/PROJECT")
	}
	i := strings.LastIndexByte(u.Path, '/')
	project := u.Path[i+1:]
	if project == "" {
		return nil, errors.New("the DSN does not end in its project, https://KEY@HOST/PROJECT")
	}
	to := u.Scheme + "://" + u.Host + u.Path[:i] + "/api/" + project + "/envelope/"
	auth := "Sentry sentry_version=7, sentry_client=millrace/1, sentry_key=" + u.User.Username()
	return func(ctx context.Context, a Alert) error {
		id := make([]byte, 16)
		_, _ = rand.Read(id)
		type object map[string]any
		event := object{
			"event_id": hex.EncodeToString(id), "timestamp": time.Now().UTC().Format(time.RFC3339), "platform": "other", "level": "error",
			"logger": "rewards", "message": object{"formatted": cmp.Or(a.Text, a.Kind)}, "tags": object{"kind": a.Kind},
			"extra": object{"event": a.Event, "more": a.More}, "fingerprint": []string{"rewards", a.Kind},
		}
		var body bytes.Buffer
		enc := json.NewEncoder(&body) // a line each
		for _, v := range []object{{"event_id": event["event_id"]}, {"type": "event"}, event} {
			if err := enc.Encode(v); err != nil {
				return err
			}
		}
		return n.post(ctx, to, "application/x-sentry-envelope", auth, body.Bytes())
	}, nil
}
