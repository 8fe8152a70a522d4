package rewards_test

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/queue"
)

// warmUp is how long load goes on before anything is measured: tables and processes are new, and each user is one that nobody knew.
const warmUp = 5 * time.Second

// TestLoad adds events at a rate and says how long they take to the ledger, and to the user's channel: make rewards-load. With -rate-step it goes on with higher and
// higher rates, to the highest that is sustained: make rewards-highest.
func TestLoad(t *testing.T) {
	if *loadRate == 0 {
		t.Skip("no -rate: make rewards-load")
	}
	b := newBed(t)
	b.start(*workers)
	l := loader{b: b, r: rand.New(rand.NewPCG(1, 2))}
	l.add(*loadRate, warmUp)
	if *rateStep == 0 {
		if m := l.measure(*loadRate); !m.sustained() {
			t.Errorf("p99 is to be less than %v, and nothing is to pile up", mostLatency)
		}
		return
	}
	highest := 0
	for rate := *loadRate; l.measure(rate).sustained(); rate += *rateStep {
		highest = rate
	}
	t.Logf("the highest rate that %d workers sustain: %d events a second", *workers, highest)
	if highest == 0 {
		t.Errorf("%d a second is too much already: begin with a lower -rate", *loadRate)
	}
}

// mostLatency is what 99 of 100 events may take.
const mostLatency = 200 * time.Millisecond

// loader adds events.
type loader struct {
	b    *bed
	r    *rand.Rand
	sent int
}

// add adds events for a while, each when it is due and with the time at which it was due, however long Redis takes.
func (l *loader) add(rate int, d time.Duration) {
	const tick = 10 * time.Millisecond
	start, first := time.Now(), l.sent
	for now := start; now.Sub(start) < d; now = time.Now() {
		due := first + int(now.Sub(start).Seconds()*float64(rate))
		var events []queue.Event
		for ; l.sent < due; l.sent++ {
			e := random(l.r, l.sent, now)
			e.User = userName(l.r.IntN(20_000))
			e.At = start.Add(time.Duration(l.sent-first) * time.Second / time.Duration(rate)).UnixMilli()
			e.Subject = fmt.Sprint("board/c", l.sent)
			events = append(events, e)
		}
		if err := queue.Add(l.b.t.Context(), l.b.client, events); err != nil {
			l.b.t.Fatal(err)
		}
		<-time.After(tick)
	}
}

// measured is what became of a rate.
type measured struct {
	ledger, push histogram
	rate         int
	left         int64 // not done when the last was added
}

// sustained allows what came within the last half second to be under way.
func (m *measured) sustained() bool {
	most := mostLatency.Seconds()
	return m.ledger.quantile(0.99) < most && m.push.quantile(0.99) < most && m.left <= int64(m.rate/2)
}

// measure adds events at a rate for -load-for, waits until all are done, and says what it found.
func (l *loader) measure(rate int) *measured {
	t := l.b.t
	l.b.settled()
	before, first, start := l.b.latencies(), l.sent, time.Now()
	l.add(rate, *loadFor)
	added := time.Since(start)
	behind, err := l.b.queue.State(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	l.b.settled()
	m := l.b.latencies()
	m.ledger.less(before.ledger)
	m.push.less(before.push)
	m.rate, m.left = rate, behind.Lag+behind.Pending
	n := l.sent - first
	t.Logf("%d events in %v, %.0f a second, by %d workers; %d not done when the last was added, all done %v later", n, added.Round(time.Millisecond),
		float64(n)/added.Seconds(), *workers, m.left, (time.Since(start) - added).Round(time.Millisecond))
	t.Logf("event to ledger: %v", m.ledger)
	t.Logf("event to push:   %v", m.push)
	if counted := int(m.ledger.count()); counted != n {
		t.Errorf("%d events were counted, %d were added", counted, n)
	}
	return m
}

// latencies are all that the workers have seen so far.
func (b *bed) latencies() *measured {
	m := &measured{ledger: make(histogram), push: make(histogram)}
	for _, w := range b.workers {
		_, text := w.get("/metrics")
		m.ledger.add(text, "millrace_rewards_ledger_latency_seconds")
		m.push.add(text, "millrace_rewards_push_latency_seconds")
	}
	return m
}

// histogram counts by the upper end of a bucket, in seconds.
type histogram map[float64]float64

// add adds the buckets of a metric: NAME_bucket{vmrange="1.136e+00...1.292e+00"} 5.
func (h histogram) add(text, name string) {
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), name+`_bucket{vmrange="`)
		if !ok {
			continue
		}
		bounds, count, _ := strings.Cut(rest, `"} `)
		_, end, _ := strings.Cut(bounds, "...")
		upper, errUpper := strconv.ParseFloat(end, 64)
		n, errCount := strconv.ParseFloat(count, 64)
		if errUpper == nil && errCount == nil {
			h[upper] += n
		}
	}
}

// less takes away what was there before.
func (h histogram) less(before histogram) {
	for end, n := range before {
		h[end] -= n
	}
}

func (h histogram) count() (n float64) {
	for _, k := range h {
		n += k
	}
	return n
}

// quantile is the upper end of the bucket in which it lies; without any, it is not known and so too much.
func (h histogram) quantile(q float64) float64 {
	ends := make([]float64, 0, len(h))
	for end := range h {
		ends = append(ends, end)
	}
	sort.Float64s(ends)
	left := q * h.count()
	for _, end := range ends {
		if left -= h[end]; left <= 0 {
			return end
		}
	}
	return math.Inf(1)
}

func (h histogram) String() string {
	return fmt.Sprintf("%.0f, p50 %.0f ms, p99 %.0f ms, p99.9 %.0f ms, at most %.0f ms", h.count(), 1000*h.quantile(0.5), 1000*h.quantile(0.99), 1000*h.quantile(0.999), 1000*h.quantile(1))
}
