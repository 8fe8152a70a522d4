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

// TestLoad adds events at a rate and says how long they take to the ledger, and to the user's channel: make rewards-load.
func TestLoad(t *testing.T) {
	if *loadRate == 0 {
		t.Skip("no -rate: make rewards-load")
	}
	b := newBed(t)
	b.start(*workers)
	const tick = 10 * time.Millisecond
	r := rand.New(rand.NewPCG(1, 2))
	start, sent := time.Now(), 0
	for now := start; now.Sub(start) < *loadFor; now = time.Now() {
		due := int(now.Sub(start).Seconds() * float64(*loadRate))
		var events []queue.Event
		for ; sent < due; sent++ {
			e := random(r, sent, now)
			e.User = userName(r.IntN(20_000))
			e.At = time.Now().UnixMilli()
			e.Subject = fmt.Sprint("board/c", sent)
			events = append(events, e)
		}
		if err := queue.Add(t.Context(), b.client, events); err != nil {
			t.Fatal(err)
		}
		<-time.After(tick)
	}
	behind, err := b.queue.State(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	added := time.Since(start)
	b.settled()
	ledger, push := make(histogram), make(histogram)
	for _, w := range b.workers {
		_, text := w.get("/metrics")
		ledger.add(text, "millrace_rewards_ledger_latency_seconds")
		push.add(text, "millrace_rewards_push_latency_seconds")
	}
	t.Logf("%d events in %v, %.0f a second, by %d workers; %d not done when the last was added, all done %v later", sent, added.Round(time.Millisecond),
		float64(sent)/added.Seconds(), *workers, behind.Lag+behind.Pending, (time.Since(start) - added).Round(time.Millisecond))
	t.Logf("event to ledger: %v", ledger)
	t.Logf("event to push:   %v", push)
	if n := int(ledger.count()); n != sent {
		t.Errorf("%d events were counted, %d were added", n, sent)
	}
	for what, h := range map[string]histogram{"ledger": ledger, "push": push} {
		if p := h.quantile(0.99); p >= 0.2 {
			t.Errorf("p99 to the %s is %.3f s, want less than 0.2", what, p)
		}
	}
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
	return fmt.Sprintf("%.0f, p50 %.0f ms, p99 %.0f ms, p99.9 %.0f ms", h.count(), 1000*h.quantile(0.5), 1000*h.quantile(0.99), 1000*h.quantile(0.999))
}
