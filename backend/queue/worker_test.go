package queue

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

var zeroID stream.ID

// TestOnce: repeated events, several workers, one of which is stopped in the middle: each event counts once.
func TestOnce(t *testing.T) {
	b := newBed(t)
	_, stop := b.worker(Config{MaxHands: 2, Batch: 50})
	b.worker(Config{MaxHands: 3, Batch: 50})
	const n = 3000
	want := make(map[string]int)
	for i := 0; i < n; i += 100 {
		var events []Event
		for k := i; k < i+100; k++ {
			e := event(k, fmt.Sprint("user", k%37))
			want[e.User]++
			events = append(events, e)
		}
		b.add(events...)
		b.add(events[:30]...)
		if i == n/2 {
			stop()
		}
	}
	b.settled()
	if got := b.ledger.sums(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("sums %v, want %v", got, want)
	}
	for _, size := range b.ledger.calls {
		if size > 2*2000 {
			t.Errorf("a batch of %d", size)
		}
	}
	if letters := b.letters(); len(letters) > 0 {
		t.Errorf("dead: %+v", letters)
	}
}

// TestPush: users are told on their channels, after the transaction.
func TestPush(t *testing.T) {
	b := newBed(t)
	b.ledger.levels = func(*Event) []int64 { return []int64{1, 2} } // the first is no news
	b.worker(Config{})
	b.add(event(1, "ann"))
	b.settled()
	out := b.client.Keys().Out(stream.Partition("reward:ann", partitions))
	if got := b.redis.CLI("XRANGE", out, "-", "+"); !strings.Contains(got, "ch\nreward:ann\nid\ne1\n") || !strings.Contains(got, `"level":2,"level_up":true`) {
		t.Errorf("published: %q", got)
	}
	b.wantMetric("millrace_rewards_pushes_total 1", "millrace_rewards_events_total 1", "millrace_rewards_push_latency_seconds_count 1",
		"millrace_rewards_ledger_latency_seconds_count 1")
}

// TestPoison: what cannot be counted, or read, holds up nobody, is found with its reason, and counts once after the fix.
func TestPoison(t *testing.T) {
	b := newBed(t)
	poison := func(e *Event) string {
		switch e.Kind {
		case "poison":
			return "violates the check of " + e.ID
		case "bomb":
			return "panic"
		}
		return ""
	}
	b.ledger.refuse = poison
	b.worker(Config{MaxAttempts: 3, RetryAfter: time.Millisecond, MaxHands: 1})
	var events []Event
	const n = 1000
	for i := range n {
		e := event(i, fmt.Sprint("user", i%7))
		switch i {
		case 10, 11, 500:
			e.Kind = "poison"
		case 900:
			e.Kind = "bomb"
		}
		events = append(events, e)
	}
	b.add(events...)
	b.add(events[10], events[10]) // it dies once
	b.redis.CLI("XADD", b.queue.Key(0), "*", "id", "e5", "what", "is this")
	b.redis.CLI("XADD", b.queue.Key(1), "*", "id", "x", "kind", "k", "user", "u", "at", "soon")
	b.settled()
	if got := b.ledger.len(); got != n-4 {
		t.Errorf("%d counted, want %d", got, n-4)
	}
	reasons := make(map[string]int64)
	for _, l := range b.letters() {
		reasons[l.Reason] = l.Attempts
	}
	for reason, attempts := range map[string]int64{
		"one of these events cannot be counted: violates the check of e10": 3, "one of these events cannot be counted: violates the check of e11": 3,
		"one of these events cannot be counted: violates the check of e500": 3, "one of these events cannot be counted: panic: no such thing": 3,
		"no event: kind is missing": 1, `no event: at "soon" is not a number from 0 on`: 1,
	} {
		if reasons[reason] != attempts {
			t.Errorf("%q after %d attempts, want %d", reason, reasons[reason], attempts)
		}
	}
	if len(b.letters()) != 6 {
		t.Errorf("%d dead letters, want 6", len(b.letters()))
	}
	b.wantMetric(`millrace_rewards_dead_letters_total{reason="undecodable"} 2`, `millrace_rewards_dead_letters_total{reason="attempts"} 4`)
	if a := <-b.alerts; a.Kind != AlertDead {
		t.Errorf("%+v", a)
	}

	b.ledger.mu.Lock()
	b.ledger.refuse = nil
	b.ledger.mu.Unlock()
	for _, l := range b.letters() {
		if err := b.queue.Replay(t.Context(), l, RetryFields()...); err != nil {
			t.Fatal(err)
		}
	}
	b.settled()
	if got := b.ledger.len(); got != n {
		t.Errorf("%d counted after the replay, want %d", got, n)
	}
	if letters := b.letters(); len(letters) != 2 {
		t.Errorf("%d dead letters after the replay, want those that cannot be read", len(letters))
	}
}

// TestDatabaseAway: a batch is tried again, as it is, and somebody is told.
func TestDatabaseAway(t *testing.T) {
	b := newBed(t)
	b.ledger.fails = 3
	b.worker(Config{})
	b.add(event(1, "ann"), event(2, "bob"))
	b.settled()
	if b.ledger.len() != 2 || len(b.letters()) > 0 {
		t.Errorf("%d counted, dead: %v", b.ledger.len(), b.letters())
	}
	if a := <-b.alerts; a.Kind != AlertBatch || a.Text != "the database is away" {
		t.Errorf("%+v", a)
	}
	b.wantMetric("millrace_rewards_batch_failures_total 3")
}

// TestRedisLost: a Redis that comes back empty has its groups again, and the workers go on.
func TestRedisLost(t *testing.T) {
	b := newBed(t)
	w, _ := b.worker(Config{})
	b.add(event(1, "ann"))
	b.settled()
	b.redis.Kill()
	b.eventually("not ready", func() bool { return w.Ready() != nil })
	b.redis.Restart()
	b.eventually("ready", func() bool { return w.Ready() == nil })
	b.eventually("counting again", func() bool {
		_ = Add(t.Context(), b.client, []Event{event(2, "ann")}) // the client finds the server again
		return b.ledger.len() == 2
	})
}

// TestTakeOver: what a process had in hand that died is counted by another, and by itself when it is back.
func TestTakeOver(t *testing.T) {
	b := newBed(t)
	const idle = time.Second
	for i := range 200 {
		b.add(event(i, fmt.Sprint(i)))
	}
	taken := 0
	for _, name := range []string{"dead-0", "ours-0"} {
		got, err := b.client.Queue(Name, name).Take(t.Context(), []int{0, 1, 2, 3}, 25, 0)
		if err != nil || len(got) < 25 {
			t.Fatal(len(got), err)
		}
		taken += len(got)
	}
	b.worker(Config{Consumer: "ours", ClaimAfter: idle})
	b.settled()
	if b.ledger.len() != 200 {
		t.Errorf("%d counted", b.ledger.len())
	}
	b.wantMetric(fmt.Sprint("millrace_rewards_claims_total ", taken))
}

// TestKiller: an entry over which processes die again and again is given up at last, and its neighbours are not.
func TestKiller(t *testing.T) {
	b := newBed(t)
	b.add(event(1, "ann"), event(2, "ann"))
	p := stream.Partition("ann", partitions)
	got, err := b.client.Queue(Name, "dead-0").Take(t.Context(), []int{p}, 10, 0)
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	b.redis.CLI("XCLAIM", b.queue.Key(p), "workers", "dead-0", "0", got[0].ID.String(), "RETRYCOUNT", fmt.Sprint(deadlyAfter))
	b.worker(Config{Consumer: "dead"})
	b.settled()
	letters := b.letters()
	if len(letters) != 1 || letters[0].Reason != errKilled.Error() || b.ledger.len() != 1 || b.ledger.counted["e2"] != 1 {
		t.Errorf("%+v, counted %v", letters, b.ledger.counted)
	}
}

// TestStop: a worker that is to end finishes what it has in hand; one whose database hangs leaves it to others.
func TestStop(t *testing.T) {
	b := newBed(t)
	begun := make(chan struct{}, 100)
	b.ledger.gate = func(ctx context.Context) { begun <- struct{}{}; <-ctx.Done() }
	_, stop := b.worker(Config{StopTimeout: time.Millisecond})
	b.add(event(1, "ann"))
	<-begun
	stop()
	if s := b.state(); s.Pending != 1 {
		t.Errorf("%+v, want it pending", s)
	}
}

func TestConfig(t *testing.T) {
	err := Config{Batch: -1, MaxHands: 100, Linger: time.Minute, ClaimAfter: time.Millisecond, MaxAttempts: -1}.Validate()
	for _, want := range []string{"batch:", "hands:", "linger:", "claim after:", "attempts"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestScale(t *testing.T) {
	cfg := Config{MaxHands: 4}.withDefaults()
	s := newScale(&cfg)
	want := func(hands, batch int) {
		t.Helper()
		if s.hands != hands || s.batch != batch {
			t.Errorf("%d hands, batch %d; want %d, %d", s.hands, s.batch, hands, batch)
		}
	}
	fast, slow := 20*time.Millisecond, time.Second
	want(1, 500)
	s.look(1000, fast)
	want(1, 500)
	s.look(1001, fast)
	want(2, 500)
	s.look(1e6, fast)
	want(4, 500)
	s.look(1e6, fast)
	want(4, 1000)
	s.look(1e6, 200*time.Millisecond) // twice the batch would be slow
	want(4, 1000)
	s.look(1e6, fast)
	s.look(1e6, fast)
	want(4, 2000)
	s.look(1e6, slow)
	want(4, 1000)
	for range calm - 1 {
		s.look(0, fast)
	}
	want(4, 1000)
	s.look(0, fast)
	want(4, 500)
	s.look(0, fast)
	want(3, 500)
	s.look(800, fast) // neither much nor nothing
	for range calm + 5 {
		s.look(0, fast)
	}
	want(1, 500)
}

func TestRetryAfter(t *testing.T) {
	for attempt, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 50: maxRetryAfter} {
		if d := retryAfter(time.Second, attempt); d < want || d > want+want/2+1 {
			t.Errorf("attempt %d: %v, want %v and up to half more", attempt, d, want)
		}
	}
}
