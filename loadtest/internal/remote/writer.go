// Package remote writes a run to a Prometheus while it goes on, by remote write 1.0.
//
//	Second ─▶ series ─▶ request ─▶ queue (60 requests; full: the oldest goes) ─▶ one goroutine ─ POST ─▶ Prometheus
//
// The run never waits for the server: what cannot be sent in time is dropped, counted, and told at the end. A request is repeated after
// an error of the network, 429 and 5xx; any other answer drops it.
//
//	counter  loadtest_NAME_total           since the start of the run
//	gauge    loadtest_NAME                 the last reading
//	rate     loadtest_NAME                 of the last second
//	trend    loadtest_NAME_seconds{stat}   of the last second: avg, p50, p95, p99, max; and loadtest_NAME_seconds_count
//
// loadtest_phase{phase="steady"} is 1 while that phase lasts. The tags of the run are labels.
package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/metric"
)

const (
	maxQueue  = 60               // requests, of a second each
	attempt   = 10 * time.Second // for one request
	flushTime = 10 * time.Second // after the run, for what is queued
	retryMin  = 250 * time.Millisecond
	retryMax  = 5 * time.Second
)

// Writer is the output prometheus-rw=URL.
type Writer struct {
	// Immutable after Start.
	url     string
	version string
	tags    []label
	client  *http.Client
	cancel  context.CancelFunc
	done    chan struct{} // the sender has ended
	wake    chan struct{} // something is queued, or no more comes

	totals map[string]float64 // of counters, by series; of the caller of Second

	mu      sync.Mutex // guards all below
	queue   [][]byte
	closing bool
	sent    int
	dropped int
	cause   error // the last that a request was dropped or repeated for
}

// New checks the URL.
func New(address string) (*Writer, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("--out prometheus-rw wants a URL, such as --out prometheus-rw=http://127.0.0.1:9090/api/v1/write")
	}
	return &Writer{url: address, totals: make(map[string]float64), wake: make(chan struct{}, 1), done: make(chan struct{})}, nil
}

// Start implements loadtest.Output.
func (w *Writer) Start(info loadtest.Info) error {
	w.version = info.Version
	w.client = &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	for k, v := range info.Scenario.Tags {
		w.tags = append(w.tags, label{labelName(k), v})
	}
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	go w.send(ctx)
	return nil
}

// labelName makes a tag's name one that a label can have.
func labelName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, s)
	if s == "" || s[0] >= '0' && s[0] <= '9' || strings.HasPrefix(s, "__") {
		return "tag_" + s
	}
	return s
}

// Second implements loadtest.Output.
func (w *Writer) Second(snap metric.Snapshot) error {
	request := appendSnappy(nil, appendRequest(nil, w.series(snap)))
	w.mu.Lock()
	if len(w.queue) == maxQueue {
		w.queue = w.queue[1:]
		w.dropped++
	}
	w.queue = append(w.queue, request)
	w.mu.Unlock()
	w.rouse()
	return nil
}

func (w *Writer) rouse() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// series are the samples of a snapshot.
func (w *Writer) series(snap metric.Snapshot) (list []series) {
	millis := snap.At.UnixMilli()
	add := func(name string, value float64, labels ...label) {
		list = append(list, series{w.labels(name, labels), value, millis})
	}
	grow := func(name string, n int64, labels ...label) {
		parts := []string{name}
		for _, l := range labels {
			parts = append(parts, l.name, l.value)
		}
		key := strings.Join(parts, "\x00")
		w.totals[key] += float64(n)
		add(name, w.totals[key], labels...)
	}
	if snap.Phase != "" {
		add("loadtest_phase", 1, label{"phase", snap.Phase})
	}
	for _, s := range snap.Samples {
		base, tags := metric.SplitName(s.Name)
		var labels []label
		for k, v := range tags {
			labels = append(labels, label{labelName(k), v})
		}
		name := "loadtest_" + base
		switch {
		case s.N == 0:
		case s.Kind == metric.KindCounter && s.Parts != nil:
			for part, n := range s.Parts {
				grow(name+"_total", n, append(slices.Clip(labels), label{"part", part})...)
			}
		case s.Kind == metric.KindCounter:
			grow(name+"_total", s.N, labels...)
		case s.Kind == metric.KindGauge:
			add(name, s.Value, labels...)
		case s.Kind == metric.KindRate:
			add(name, float64(s.Passes)/float64(s.N), labels...)
		case s.Hist != nil:
			stat := func(name2 string, micros float64) {
				add(name+"_seconds", micros/1e6, append(slices.Clip(labels), label{"stat", name2})...)
			}
			stat("avg", s.Hist.Mean())
			stat("p50", float64(s.Hist.ValueAtPercentile(50)))
			stat("p95", float64(s.Hist.ValueAtPercentile(95)))
			stat("p99", float64(s.Hist.ValueAtPercentile(99)))
			stat("max", float64(s.Hist.Max()))
			grow(name+"_seconds_count", s.N, labels...)
		}
	}
	return list
}

// labels are sorted by name, as remote write asks for. One of the metric's own goes before a tag of the run with the same name.
func (w *Writer) labels(name string, own []label) []label {
	list := append([]label{{"__name__", name}}, own...)
	for _, tag := range w.tags {
		if !slices.ContainsFunc(list, func(l label) bool { return l.name == tag.name }) {
			list = append(list, tag)
		}
	}
	slices.SortFunc(list, func(a, b label) int { return strings.Compare(a.name, b.name) })
	return list
}

// Stop implements loadtest.Output: it waits for what is queued, but not for ever.
func (w *Writer) Stop(*loadtest.Report) error {
	w.mu.Lock()
	w.closing = true
	w.mu.Unlock()
	w.rouse()
	limit := time.AfterFunc(flushTime, w.cancel)
	<-w.done
	limit.Stop()
	w.cancel()
	w.client.CloseIdleConnections()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dropped += len(w.queue); w.dropped > 0 {
		return fmt.Errorf("--out prometheus-rw: %d of %d requests were not taken: %w", w.dropped, w.dropped+w.sent, w.cause)
	}
	return nil
}

// next waits for a request; nil when there will be none.
func (w *Writer) next(ctx context.Context) []byte {
	for {
		w.mu.Lock()
		if len(w.queue) > 0 {
			request := w.queue[0]
			w.queue = w.queue[1:]
			w.mu.Unlock()
			return request
		}
		closing := w.closing
		w.mu.Unlock()
		if closing {
			return nil
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// send posts one request after the other.
func (w *Writer) send(ctx context.Context) {
	defer close(w.done)
	for {
		request := w.next(ctx)
		if request == nil {
			return
		}
		err := w.sendOne(ctx, request)
		w.mu.Lock()
		if err == nil {
			w.sent++
		} else {
			w.dropped++
			w.cause = err
		}
		w.mu.Unlock()
	}
}

// sendOne repeats a request until it is taken or refused, or ctx ends.
func (w *Writer) sendOne(ctx context.Context, request []byte) error {
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		again, err := w.post(ctx, request)
		if err == nil || !again {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

func (w *Writer) post(ctx context.Context, request []byte) (again bool, err error) {
	ctx, stop := context.WithTimeout(ctx, attempt)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(request))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	req.Header.Set("User-Agent", "millrace-loadtest/"+w.version)
	res, err := w.client.Do(req)
	if err != nil {
		return true, err
	}
	defer res.Body.Close()
	if res.StatusCode/100 == 2 {
		return false, nil
	}
	said, _ := io.ReadAll(io.LimitReader(res.Body, 300)) // what there is of it
	err = fmt.Errorf("it answers %s: %s", res.Status, strings.TrimSpace(string(said)))
	return res.StatusCode == http.StatusTooManyRequests || res.StatusCode/100 == 5, err
}
