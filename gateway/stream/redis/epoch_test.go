package redis

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/redistest"
)

// onlooker is a gateway as far as Survey goes: it remembers what it was told.
type onlooker struct {
	t *testing.T
	c *Client
	w stream.Witness
}

func newOnlooker(t *testing.T, url string) *onlooker {
	t.Helper()
	c, err := New(Config{URL: url, Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &onlooker{t: t, c: c, w: stream.Witness{Partition: 1}}
}

// look surveys and reports whether the epoch is another one than before.
func (o *onlooker) look() (changed bool) {
	o.t.Helper()
	var got []stream.Standing
	var err error
	for range 100 { // the first connections after a restart are dead ones
		if got, err = o.c.Survey(o.t.Context(), []stream.Witness{o.w}); err == nil {
			break
		}
	}
	if err != nil {
		o.t.Fatal(err)
	}
	changed = got[0].Epoch != o.w.Epoch
	if changed {
		o.w.Last = stream.ID{}
		got, _ = o.c.Survey(o.t.Context(), []stream.Witness{{Partition: o.w.Partition}})
		o.w.Last = got[0].Last
	}
	o.w.Epoch, o.w.Run = got[0].Epoch, got[0].Run
	return changed
}

// publish adds an entry of which this onlooker knows.
func (o *onlooker) publish() {
	o.t.Helper()
	errs := o.c.Append(o.t.Context(), []stream.Add{{Key: o.c.keys.Out(1), Values: []any{"ch", "a", "data", "x"}}})
	if errs[0] != nil {
		o.t.Fatal(errs[0])
	}
	tails, err := o.c.Tails(o.t.Context(), []string{o.c.keys.Out(1)})
	if err != nil {
		o.t.Fatal(err)
	}
	o.w.Last = tails[0]
}

func (o *onlooker) wants(changed bool, after string) {
	o.t.Helper()
	if got := o.look(); got != changed {
		o.t.Fatalf("after %s: the epoch changed: %v, want %v", after, got, changed)
	}
	if o.look() {
		o.t.Fatalf("after %s: the epoch is not stable", after)
	}
}

func TestEpochs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	a, b := newOnlooker(t, server.URL()), newOnlooker(t, server.URL())
	out := a.c.keys.Out(1)
	a.wants(true, "the beginning")
	b.wants(true, "the beginning")
	if a.w.Epoch != b.w.Epoch || a.w.Epoch == 0 {
		t.Fatalf("two see epochs %d and %d", a.w.Epoch, b.w.Epoch)
	}
	a.publish()
	a.wants(false, "a publication")

	server.CLI("DEL", out)
	a.wants(true, "DEL")
	b.wants(true, "DEL")
	a.publish()
	server.CLI("FLUSHALL")
	a.publish() // the stream is there again before anybody looks
	a.wants(true, "FLUSHALL")
	b.wants(true, "FLUSHALL")
	if a.w.Epoch != b.w.Epoch {
		t.Fatalf("two see epochs %d and %d", a.w.Epoch, b.w.Epoch)
	}

	a.publish()
	server.Restart()
	a.wants(false, "a restart that lost nothing")
	b.wants(false, "a restart that lost nothing")
	c := newOnlooker(t, server.URL())
	c.wants(true, "its beginning")
	if c.w.Epoch != a.w.Epoch {
		t.Fatal("a third one sees another epoch although two vouch for it")
	}

	a.publish()
	server.CLI("XTRIM", out, "MAXLEN", "0")
	server.Restart()
	a.wants(false, "a restart of a stream that was trimmed to nothing")

	before := a.w.Epoch
	server.Restart()
	d := newOnlooker(t, server.URL())
	d.wants(true, "its beginning")
	if d.w.Epoch == before {
		t.Fatal("nobody vouched for the stream after the restart, and its epoch stayed")
	}
	a.wants(true, "another one began a new epoch")
	if a.w.Epoch != d.w.Epoch {
		t.Fatalf("two see epochs %d and %d", a.w.Epoch, d.w.Epoch)
	}
}

// An old dump is restored: whoever had seen more says so, and those who had not hear of it.
func TestEpochOfAnOldDump(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := redistest.Start(t, "--dir", dir, "--dbfilename", "dump.rdb")
	a, b := newOnlooker(t, server.URL()), newOnlooker(t, server.URL())
	a.publish()
	a.look()
	b.look()
	server.CLI("SAVE")
	old, err := os.ReadFile(filepath.Join(dir, "dump.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	a.publish()
	server.Kill()
	if err := os.WriteFile(filepath.Join(dir, "dump.rdb"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	server.Restart()
	b.publish() // with a newer ID than the lost one had
	b.look()
	a.wants(true, "an old dump")
	b.wants(true, "an old dump, of which another one told")
	if a.w.Epoch != b.w.Epoch {
		t.Fatalf("two see epochs %d and %d", a.w.Epoch, b.w.Epoch)
	}
}

func TestRanges(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	o := newOnlooker(t, server.URL())
	key := o.c.keys.Out(1)
	var ids []stream.ID
	for range 5 {
		o.publish()
		ids = append(ids, o.w.Last)
	}
	got, err := o.c.Ranges(t.Context(), []stream.Range{
		{Key: key, To: stream.Last, Newest: true, Count: 2},
		{Key: key, To: ids[3], Newest: true, Open: true, Count: 9},
		{Key: key, From: ids[1], To: ids[3], Count: 9},
		{Key: key, From: ids[1], To: stream.Last, Open: true, Count: 1},
		{Key: "nothing", To: stream.Last, Count: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]int{{4, 3}, {2, 1, 0}, {1, 2, 3}, {2}, {}} {
		if len(got[i]) != len(want) {
			t.Fatalf("range %d: %d entries, want %d", i, len(got[i]), len(want))
		}
		for k := range want {
			if got[i][k].ID != ids[want[k]] {
				t.Errorf("range %d: entry %d is %v, want %v", i, k, got[i][k].ID, ids[want[k]])
			}
		}
	}
}
