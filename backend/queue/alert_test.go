package queue

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// call is a request that was made.
type call struct{ path, auth, body string }

func newReceiver(t *testing.T, status int) (url string, calls chan call) {
	t.Helper()
	calls = make(chan call, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls <- call{r.URL.Path, r.Header.Get("X-Sentry-Auth"), string(body)}
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	return s.URL, calls
}

func TestNotifier(t *testing.T) {
	t.Parallel()
	hook, hooked := newReceiver(t, 204)
	sentry, reported := newReceiver(t, 200)
	n, err := NewNotifier(hook+"/x", strings.Replace(sentry, "http://", "http://key@", 1)+"/base/42", metrics.NewSet(), discard())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); n.Run(ctx) }()
	for range 3 {
		n.Alert(Alert{Kind: AlertDead, Event: "e1", Text: "why"})
	}
	n.Alert(Alert{Kind: AlertRedis, Text: "gone"})
	var a Alert
	c := <-hooked
	if err := json.Unmarshal([]byte(c.body), &a); err != nil || c.path != "/x" || a != (Alert{Kind: AlertDead, Event: "e1", Text: "why"}) {
		t.Errorf("%+v, %v", c, err)
	}
	c = <-reported
	lines := strings.Split(strings.TrimSpace(c.body), "\n")
	if c.path != "/base/api/42/envelope/" || !strings.Contains(c.auth, "sentry_key=key") || len(lines) != 3 || lines[1] != `{"type":"event"}` || !strings.Contains(lines[2], `"formatted":"why"`) {
		t.Errorf("%+v", c)
	}
	if c = <-hooked; !strings.Contains(c.body, `"redis"`) {
		t.Errorf("%+v: more of one kind within the minute", c)
	}
	cancel()
	<-done
	if n.sent.Get() != 2 || n.failed.Get() != 0 {
		t.Errorf("%d sent, %d failed", n.sent.Get(), n.failed.Get())
	}
}

// TestNotifierBounds: nobody waits for who does not take alerts; what was not sent is counted and said with the next one.
func TestNotifierBounds(t *testing.T) {
	t.Parallel()
	hook, calls := newReceiver(t, 500)
	n, err := NewNotifier(hook, "", metrics.NewSet(), discard())
	if err != nil {
		t.Fatal(err)
	}
	for range alertRoom + 10 {
		n.Alert(Alert{Kind: AlertDead})
	}
	if n.dropped.Get() != 10 {
		t.Errorf("%d dropped, want 10", n.dropped.Get())
	}
	n.every = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n.Run(ctx)
	if len(calls) != 1 || n.failed.Get() != 1 {
		t.Errorf("%d calls, %d failed", len(calls), n.failed.Get())
	}
	n.every = 0
	n.Alert(Alert{Kind: AlertDead})
	n.Alert(Alert{Kind: AlertDead})
	n.Run(ctx)
	if len(calls) != 3 {
		t.Errorf("%d calls", len(calls))
	}
}

func TestNotifierAddresses(t *testing.T) {
	for _, bad := range [][2]string{{"ftp://x", ""}, {"http://", ""}, {"", "https://host/1"}, {"", "https://key@host/"}, {"", "key@host/1"}} {
		if _, err := NewNotifier(bad[0], bad[1], metrics.NewSet(), discard()); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}
