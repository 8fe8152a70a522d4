package page

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/metric"
)

func get(t *testing.T, url, host string) (status int, body string, header http.Header) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text), res.Header
}

// TestLiveView follows a run from outside.
func TestLiveView(t *testing.T) {
	s, err := Serve(":0")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(s.URL(), "http://127.0.0.1:") {
		t.Errorf("without a host it is at %s", s.URL())
	}
	if status, body, _ := get(t, s.URL(), ""); status != 200 || !strings.Contains(body, "STARTING") || !strings.Contains(body, "fragment?have=") {
		t.Error("before the run:", status)
	}
	start := time.Now()
	if err := s.Start(loadtest.Info{Name: "x", Started: start, Scenario: loadtest.NewScenario()}); err != nil {
		t.Fatal(err)
	}
	second := func(i int) {
		snap := metric.Snapshot{At: start.Add(time.Duration(i) * time.Second), Span: time.Second, Phase: "steady", Ready: 7}
		if err := s.Second(snap); err != nil {
			t.Fatal(err)
		}
	}
	second(1)
	status, body, header := get(t, s.URL()+"fragment?have=", "")
	if status != 200 || !strings.Contains(body, "RUNNING") || !strings.Contains(body, "<svg") || strings.Contains(body, "<html") {
		t.Error("a fragment:", status, body)
	}
	have := header.Get("X-Version")
	if status, _, _ := get(t, s.URL()+"fragment?have="+have, ""); status != http.StatusNoContent {
		t.Error("nothing is new:", status)
	}
	second(2)
	if status, _, _ := get(t, s.URL()+"fragment?have="+have, ""); status != 200 {
		t.Error("something is new:", status)
	}
	for host, want := range map[string]int{"evil.example": 403, "evil.example:80": 403, "localhost": 200, "[::1]:5": 200} {
		if status, _, _ := get(t, s.URL(), host); status != want {
			t.Errorf("as %s: %d, want %d", host, status, want)
		}
	}
	if status, _, _ := get(t, s.URL()+"other", ""); status != 404 {
		t.Error("another page:", status)
	}
	stopped := make(chan error)
	go func() { stopped <- s.Stop(&loadtest.Report{Passed: true, Name: "x"}) }()
	for { // an open page sees the end, unless the machine was too slow for it
		select {
		case err := <-stopped:
			if err != nil {
				t.Error(err)
			}
			if _, err := net.Dial("tcp", strings.Trim(strings.TrimPrefix(s.URL(), "http:"), "/")); err == nil {
				t.Error("it listens after its end")
			}
			return
		case <-time.After(10 * time.Millisecond):
			if res, err := http.Get(s.URL() + "fragment?have="); err == nil {
				res.Body.Close()
			}
		}
	}
}

func TestServeRefuses(t *testing.T) {
	for _, address := range []string{"", "x", "127.0.0.1", "300.0.0.1:1"} {
		if s, err := Serve(address); err == nil {
			t.Errorf("%q is served at %s", address, s.URL())
		}
	}
}

// TestLimited: with its number of connections open, the next one is accepted when one of them has ended.
func TestLimited(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newLimited(inner, 1)
	accepted := make(chan net.Conn)
	ended := make(chan error)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- c
		}
	}()
	for range 2 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	first := <-accepted
	if len(l.free) != 1 {
		t.Error("one connection takes", len(l.free), "places")
	}
	first.Close()
	first.Close() // gives its place back once
	second := <-accepted
	defer second.Close()
	l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
