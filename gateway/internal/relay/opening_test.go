package relay

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

func (f *fakeStreams) publish(partition, n int) {
	for i := range n {
		p := stream.Publication{Channel: "c", Data: fmt.Sprint(i)}
		f.Append(context.Background(), []stream.Add{{Key: stream.Keys{}.Out(partition), Values: p.Values()}})
	}
}

func wantLive(t *testing.T, l *fakeLoop, partition int) {
	t.Helper()
	eventually(t, "live", func() (ok bool) { l.with(func() { ok = l.live[partition] != nil }); return ok })
}

// A partition comes into use with its past: all of it when it fits, else the newest of it, and the floor says from where.
func TestOpenings(t *testing.T) {
	for _, c := range []struct {
		stored, window int
		recent         func(n int) bool
		whole          bool
	}{
		{0, 0, func(n int) bool { return n == 0 }, true},
		{3, 0, func(n int) bool { return n == 3 }, true},
		{fillCount, 0, func(n int) bool { return n == fillCount }, true},
		{3*fillCount + 7, 0, func(n int) bool { return n == 3*fillCount+7 }, true},
		{10 * fillCount, 4 * 8000, func(n int) bool { return n >= fillCount && n <= 8*fillCount }, false},
	} {
		f := newFakeStreams()
		f.publish(2, c.stored)
		r, _, loops := newTestRelayOn(t, f, Config{WindowBytes: c.window}, 2)
		r.Use(0, 2)
		wantLive(t, loops[0], 2)
		f.publish(2, 5)
		eventually(t, "delivered", func() (ok bool) { loops[0].with(func() { ok = len(loops[0].got) == 5 }); return ok })
		r.Use(1, 2) // of a partition that is being read
		wantLive(t, loops[1], 2)
		for i, l := range loops {
			l.with(func() {
				o := l.live[2]
				past := len(o.Recent) - 5*i
				if !c.recent(past) || o.At.Epoch != 5 || (o.Floor == stream.ID{}) != c.whole {
					t.Errorf("%+v: loop %d is opened at %v with floor %v and %d publications", c.stored, i, o.At, o.Floor, past)
				}
				last := o.Floor
				for k, p := range o.Recent {
					if p.ID.Before(last) || k > 0 && p.ID == last || o.At.ID.Before(p.ID) {
						t.Fatalf("publication %d at %v is behind %v, floor %v, opened at %v", k, p.ID, last, o.Floor, o.At)
					}
					last = p.ID
				}
			})
		}
	}
}

// A stream in use that has another epoch: its loops hear of it, with how it stands now, and go on from there.
func TestLost(t *testing.T) {
	r, f, loops := newTestRelay(t, Config{}, 2)
	r.Use(0, 1)
	r.Use(0, 3)
	r.Use(1, 3)
	wantLive(t, loops[0], 1)
	wantLive(t, loops[0], 3)
	wantLive(t, loops[1], 3)
	f.publish(3, 2)
	f.mu.Lock()
	f.epoch = 6
	delete(f.entries, stream.Keys{}.Out(3))
	f.mu.Unlock()
	eventually(t, "told", func() (ok bool) {
		loops[0].with(func() { ok = len(loops[0].lost) == 2 })
		return ok
	})
	eventually(t, "told", func() (ok bool) { loops[1].with(func() { ok = len(loops[1].lost) == 1 }); return ok })
	loops[1].with(func() {
		if o := loops[1].lost[0]; o.Partition != 3 || o.At.Epoch != 6 || len(o.Recent) != 0 {
			t.Errorf("%+v", o)
		}
		loops[1].got = nil
	})
	f.publish(3, 4)
	eventually(t, "live again", func() (ok bool) { loops[1].with(func() { ok = len(loops[1].got) == 4 }); return ok })
	if n := r.Stats().Lost; n != 2 {
		t.Errorf("%d streams lost", n)
	}
}

func TestOlder(t *testing.T) {
	r, f, loops := newTestRelay(t, Config{}, 1)
	const n = pastCount + 10
	f.publish(1, n)
	f.mu.Lock()
	all := f.entries[stream.Keys{}.Out(1)]
	f.mu.Unlock()
	first, last := all[0].ID, all[n-1].ID
	r.Older(0, 1, 9, first, last)
	r.Older(0, 1, 9, last, last)
	r.Older(0, 0, 9, first, last)
	eventually(t, "answered", func() (ok bool) { loops[0].with(func() { ok = len(loops[0].past) == 3 }); return ok })
	loops[0].with(func() {
		p := loops[0].past
		if len(p[0].Publications) != pastCount || p[0].First != first || p[0].To != all[pastCount-1].ID || p[0].Epoch != 9 {
			t.Errorf("first part: %d publications from %v to %v", len(p[0].Publications), p[0].First, p[0].To)
		}
		if len(p[1].Publications) != 1 || p[1].To != last {
			t.Errorf("last part: %d publications to %v", len(p[1].Publications), p[1].To)
		}
		if len(p[2].Publications) != 0 || p[2].First != (stream.ID{}) {
			t.Errorf("a stream that is not there: %+v", p[2])
		}
	})
	f.set(true)
	r.Older(0, 1, 9, first, last)
	eventually(t, "an error", func() (ok bool) {
		loops[0].with(func() { ok = len(loops[0].past) == 4 && loops[0].past[3].Err != nil })
		return ok
	})
}

// In a Cluster each partition is read by a lane of its own.
func TestLanesOfACluster(t *testing.T) {
	f := newFakeStreams()
	f.cluster = true
	r, _, loops := newTestRelayOn(t, f, Config{}, 2)
	if len(r.lanes) != 5 {
		t.Fatalf("%d lanes for 4 partitions and the node", len(r.lanes))
	}
	for p := range 4 {
		r.Use(0, p)
		wantLive(t, loops[0], p)
		f.publish(p, 3)
	}
	eventually(t, "delivered", func() (ok bool) { loops[0].with(func() { ok = len(loops[0].got) == 12 }); return ok })
	r.Use(1, 2)
	wantLive(t, loops[1], 2)
	f.publish(2, 1)
	eventually(t, "delivered to both", func() (ok bool) {
		loops[1].with(func() { ok = len(loops[1].got) == 1 })
		return ok
	})
	eventually(t, "ready", func() bool { return r.Ready() == nil })
}

func TestFull(t *testing.T) {
	r, f, _ := newTestRelay(t, Config{Backlog: 10}, 1)
	f.backlog.Store(10)
	eventually(t, "full", r.Full)
	f.backlog.Store(9)
	eventually(t, "not full", func() bool { return !r.Full() })
}

// A stream that was trimmed past the cursor while nobody read it: what has gone is told, what is there goes on.
func TestTrimmedBeforeItWasRead(t *testing.T) {
	key := stream.Keys{}.Out(1)
	for name, gone := range map[string]int{"past the cursor": 3, "up to the cursor": 0} {
		t.Run(name, func(t *testing.T) {
			r, f, loops := newTestRelay(t, Config{History: 10 * time.Millisecond}, 1)
			r.Use(0, 1)
			wantLive(t, loops[0], 1)
			f.publish(1, 2)
			eventually(t, "delivered", func() (ok bool) { loops[0].with(func() { ok = len(loops[0].got) == 2 }); return ok })
			f.set(true)
			eventually(t, "down", func() bool { return !r.Up(1) })
			f.mu.Lock() // so that it comes back with all of this done
			f.down = false
			for range 5 {
				f.seq++
				p := stream.Publication{Channel: "c", Data: "x"}
				e := stream.Entry{ID: stream.ID{MS: uint64(time.Now().UnixMilli()), Seq: f.seq}}
				for _, v := range p.Values() {
					e.Fields = append(e.Fields, fmt.Sprint(v))
				}
				f.entries[key] = append(f.entries[key], e)
			}
			f.entries[key] = f.entries[key][gone:]
			f.mu.Unlock()
			eventually(t, "told or delivered", func() (ok bool) {
				loops[0].with(func() { ok = len(loops[0].lost) == 1 || len(loops[0].got) == 7 })
				return ok
			})
			loops[0].with(func() {
				if told := len(loops[0].lost) == 1; told != (gone > 0) {
					t.Errorf("told of a loss: %v", told)
				}
			})
		})
	}
}
