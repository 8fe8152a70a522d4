package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/redistest"
)

func newTestQueue(t *testing.T, c *Client, consumer string) *Queue {
	t.Helper()
	q := c.Queue("work", consumer)
	for range 2 { // the second time it is there already
		if err := q.Create(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return q
}

func enqueue(t *testing.T, c *Client, q *Queue, partition int, ids ...string) {
	t.Helper()
	var adds []stream.Add
	for _, id := range ids {
		adds = append(adds, stream.Add{Key: q.Key(partition), Values: []any{"id", id, "n", "1", "try", "3"}})
	}
	for _, err := range c.Append(t.Context(), adds) {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// texts are the IDs of the events that were delivered, with their attempts.
func texts(all []Delivery) string {
	var out []string
	for _, d := range all {
		out = append(out, fmt.Sprintf("%s×%d", d.Fields[1], d.Attempt))
	}
	return strings.Join(out, " ")
}

func refs(all []Delivery) (out []Ref) {
	for _, d := range all {
		out = append(out, d.Ref)
	}
	return out
}

func mustTake(t *testing.T, q *Queue, want string) []Delivery {
	t.Helper()
	got, err := q.Take(t.Context(), allPartitions, 10, 0)
	if err != nil || texts(got) != want {
		t.Fatalf("took %q, %v; want %q", texts(got), err, want)
	}
	return got
}

// recoverAll walks to the end, and returns what each step brought.
func recoverAll(t *testing.T, q *Queue, w Walk) (steps []string, all []Delivery) {
	t.Helper()
	for more := true; more; {
		var got []Delivery
		var err error
		if got, more, err = q.Recover(t.Context(), &w); err != nil {
			t.Fatal(err)
		}
		if len(got) > 0 {
			steps, all = append(steps, texts(got)), append(all, got...)
		}
	}
	return steps, all
}

func TestQueueTakeAndSettle(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		a, b := newTestQueue(t, c, "a"), newTestQueue(t, c, "b")
		if got, err := a.Take(t.Context(), allPartitions, 10, 5*time.Millisecond); err != nil || got != nil {
			t.Fatal(got, err)
		}
		enqueue(t, c, a, 1, "x", "y")
		enqueue(t, c, a, 3, "z")
		got := mustTake(t, a, "x×1 y×1 z×1")
		mustTake(t, b, "")
		if s, err := a.State(t.Context()); err != nil || s.Pending != 3 || s.Lag != 0 || s.Dead+s.Waiting != 0 {
			t.Fatal(s, err)
		}
		if n, err := a.Trim(t.Context()); err != nil || n != 0 {
			t.Fatalf("trimmed %d that are pending, %v", n, err)
		}
		if n, err := a.Length(t.Context()); err != nil || n != 3 {
			t.Fatal(n, err)
		}
		for range 2 { // an answer may be lost
			if err := a.Settle(t.Context(), refs(got), nil); err != nil {
				t.Fatal(err)
			}
		}
		enqueue(t, c, a, 1, "not taken")
		if n, err := a.Trim(t.Context()); err != nil || n != 3 {
			t.Fatalf("trimmed %d, want 3, %v", n, err)
		}
		mustTake(t, b, "not taken×1")
		if n, err := a.Sweep(t.Context(), time.Hour); err != nil || n != 0 {
			t.Fatal(n, err)
		}
		// All but the one who asks. (The imitation does not know for how long they have been idle.)
		if n, err := b.Sweep(t.Context(), -time.Second); err != nil || n == 0 {
			t.Fatal(n, err)
		}
		if s, err := b.State(t.Context()); err != nil || s.Pending != 1 {
			t.Fatal(s, err)
		}
	})
}

func TestQueueRecover(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		a, b := newTestQueue(t, c, "a"), newTestQueue(t, c, "b")
		var ids []string
		for i := range 150 {
			ids = append(ids, fmt.Sprint(i))
		}
		enqueue(t, c, a, 2, ids...)
		if got, err := a.Take(t.Context(), allPartitions, 200, 0); err != nil || len(got) != 150 {
			t.Fatal(len(got), err)
		}
		hour := Walk{Partition: 2, Idle: time.Hour, Suspect: 3}
		if steps, _ := recoverAll(t, b, hour); steps != nil {
			t.Fatalf("took over what is in hand: %v", steps)
		}
		steps, all := recoverAll(t, b, Walk{Partition: 2, Suspect: 3})
		if len(steps) != 2 || len(all) != 150 || all[149].Attempt != 2 || all[149].Fields[1] != "149" {
			t.Fatalf("%d steps, %d entries", len(steps), len(all))
		}
		if err := b.Settle(t.Context(), refs(all[:147]), nil); err != nil {
			t.Fatal(err)
		}
		if steps, _ := recoverAll(t, b, hour); steps != nil {
			t.Fatalf("takes what it has in hand: %v", steps)
		}
		hour.Own = OwnAgain
		if steps, _ := recoverAll(t, b, hour); !slices.Equal(steps, []string{"147×2 148×2 149×2"}) {
			t.Fatalf("own again: %v", steps)
		}
		hour.Own = OwnAnew
		if steps, _ := recoverAll(t, b, hour); !slices.Equal(steps, []string{"147×3 148×3 149×3"}) {
			t.Fatalf("own anew: %v", steps)
		}
		if steps, _ := recoverAll(t, b, hour); !slices.Equal(steps, []string{"147×4", "148×4", "149×4"}) {
			t.Fatalf("suspects do not come alone: %v", steps)
		}
		if err := b.Touch(t.Context(), refs(all[147:])); err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(t.Context(), b.Key(2)); err != nil { // with its group
			t.Fatal(err)
		}
		if _, _, err := b.Recover(t.Context(), &Walk{Partition: 2}); !errors.Is(err, ErrNoGroup) {
			t.Fatalf("%v, want ErrNoGroup", err)
		}
		if _, err := b.Take(t.Context(), allPartitions, 1, 0); !errors.Is(err, ErrNoGroup) {
			t.Fatalf("%v, want ErrNoGroup", err)
		}
	})
}

func TestQueueRetries(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		q := newTestQueue(t, c, "a")
		enqueue(t, c, q, 0, "x", "y", "x")
		got := mustTake(t, q, "x×1 y×1 x×1")
		wait := func(d Delivery, after time.Duration) {
			t.Helper()
			f := Failed{Ref: d.Ref, Event: d.Fields[1], Fields: []string{"id", d.Fields[1], "quote", "\"\\\n\u2028", "try", "1"}, Wait: after}
			for range 2 {
				if err := q.Settle(t.Context(), nil, []Failed{f}); err != nil {
					t.Fatal(err)
				}
			}
		}
		wait(got[0], 0)
		wait(got[1], time.Hour)
		wait(got[2], time.Hour) // is one with the first
		if waiting, dead, err := q.Known(t.Context(), 0, []string{"x", "q", "y"}); err != nil || !slices.Equal(waiting, []bool{true, false, true}) || slices.Contains(dead, true) {
			t.Fatal(waiting, dead, err)
		}
		if s, err := q.State(t.Context()); err != nil || s.Waiting != 2 || s.Pending != 0 {
			t.Fatal(s, err)
		}
		if n, err := q.Wake(t.Context()); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		again := mustTake(t, q, "x×1")
		if want := []string{"id", "x", "quote", "\"\\\n\u2028", "try", "1"}; !slices.Equal(again[0].Fields, want) {
			t.Fatalf("%q came back, want %q", again[0].Fields, want)
		}
		if n, err := q.Wake(t.Context()); err != nil || n != 0 {
			t.Fatal(n, err)
		}
		if err := q.Settle(t.Context(), nil, []Failed{{Ref: again[0].Ref}}); err == nil {
			t.Fatal("what has no ID cannot wait")
		}
	})
}

func TestQueueDeadLetters(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		q := newTestQueue(t, c, "a")
		enqueue(t, c, q, 1, "x", "x", "y")
		got := mustTake(t, q, "x×1 x×1 y×1")
		at := time.UnixMilli(1_700_000_000_000)
		var failed []Failed
		for _, d := range got {
			failed = append(failed, Failed{Ref: d.Ref, Event: d.Fields[1], Dead: &Death{Reason: "because", Attempts: 7, At: at, Most: 100}})
		}
		for range 2 {
			if err := q.Settle(t.Context(), nil, failed); err != nil {
				t.Fatal(err)
			}
		}
		letters, err := q.DeadLetters(t.Context(), 1, stream.ID{}, 10)
		if err != nil || len(letters) != 2 {
			t.Fatalf("%d letters, %v; two entries were of one event", len(letters), err)
		}
		x := letters[0]
		if x.Reason != "because" || x.Attempts != 7 || !x.At.Equal(at) || x.Consumer != "a" || x.Entry != got[0].ID || !slices.Equal(x.Fields, got[0].Fields) {
			t.Fatalf("%+v", x)
		}
		if _, dead, err := q.Known(t.Context(), 1, []string{"x", "y", "z"}); err != nil || !slices.Equal(dead, []bool{true, true, false}) {
			t.Fatal(dead, err)
		}
		if err := q.Replay(t.Context(), x, "try"); err != nil {
			t.Fatal(err)
		}
		if again := mustTake(t, q, "x×1"); !slices.Equal(again[0].Fields, []string{"id", "x", "n", "1"}) {
			t.Fatalf("%q", again[0].Fields)
		}
		if err := q.Replay(t.Context(), x); !errors.Is(err, ErrNoDeadLetter) {
			t.Fatalf("%v, want ErrNoDeadLetter", err)
		}
		if err := q.Drop(t.Context(), letters[1].Ref); err != nil {
			t.Fatal(err)
		}
		if _, err := q.DeadLetter(t.Context(), letters[1].Ref); !errors.Is(err, ErrNoDeadLetter) {
			t.Fatalf("%v, want ErrNoDeadLetter", err)
		}
		if _, dead, err := q.Known(t.Context(), 1, []string{"x", "y"}); err != nil || !slices.Equal(dead, []bool{false, true}) {
			t.Fatal(dead, err)
		}
	})
}

func TestQueueTurn(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		a, b := newTestQueue(t, c, "a"), newTestQueue(t, c, "b")
		for i, step := range []struct {
			q    *Queue
			mine bool
		}{{a, true}, {b, false}, {a, true}} {
			if mine, err := step.q.Turn(t.Context(), "count", time.Hour); err != nil || mine != step.mine {
				t.Fatalf("step %d: %v, %v", i, mine, err)
			}
		}
	})
}

// TestQueueInCluster: the queue is spread over the servers, and nothing of it names keys of two slots.
func TestQueueInCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Cluster")
	}
	t.Parallel()
	cluster := redistest.StartCluster(t, 2, 0)
	c := newTestClient(t, cluster.URL())
	q := newTestQueue(t, c, "a")
	for p := range testPartitions {
		enqueue(t, c, q, p, fmt.Sprint("done", p), fmt.Sprint("waits", p), fmt.Sprint("dies", p))
	}
	got, err := q.Take(t.Context(), allPartitions, 10, time.Second)
	if err != nil || len(got) != 3*testPartitions {
		t.Fatal(len(got), err)
	}
	var done []Ref
	var failed []Failed
	for _, d := range got {
		switch id := d.Fields[1]; {
		case strings.HasPrefix(id, "done"):
			done = append(done, d.Ref)
		case strings.HasPrefix(id, "waits"):
			failed = append(failed, Failed{Ref: d.Ref, Event: id, Fields: d.Fields})
		default:
			failed = append(failed, Failed{Ref: d.Ref, Event: id, Dead: &Death{Reason: "r", At: time.Now(), Most: 10}})
		}
	}
	if err := q.Settle(t.Context(), done, failed); err != nil {
		t.Fatal(err)
	}
	if s, err := q.State(t.Context()); err != nil || s.Pending != 0 || s.Waiting != testPartitions || s.Dead != testPartitions {
		t.Fatal(s, err)
	}
	if n, err := q.Wake(t.Context()); err != nil || n != testPartitions {
		t.Fatal(n, err)
	}
	if n, err := q.Trim(t.Context()); err != nil || n != 3*testPartitions {
		t.Fatal(n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.Take(ctx, allPartitions, 0, time.Hour); err == nil {
		t.Fatal("waits though it is told to end")
	}
}
