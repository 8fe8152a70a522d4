package fleet

import (
	"bytes"
	"math/rand/v2"
	"net"
	"reflect"
	"testing"

	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

// TestMeasure asks a clock that is ahead by a known time, over ways of which each takes as long as it likes. Time passes only in clock itself, so
// that the bound must hold exactly.
func TestMeasure(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		near, far := net.Pipe()
		ahead, clock := rng.Int64N(1e15)-5e14, int64(1e15)
		pass := func() { clock += rng.Int64N(5e6) }
		done := make(chan struct{})
		go func() {
			defer close(done)
			c := NewConn(far)
			for {
				if _, err := c.Receive(); err != nil {
					return
				}
				pass()
				if c.Send(Message{Clock: &Clock{clock + ahead}}) != nil {
					return
				}
			}
		}()
		got, err := Measure(NewConn(near), func() int64 { pass(); return clock })
		near.Close()
		<-done
		if err != nil {
			t.Fatal(err)
		}
		if off := got.Ahead - ahead; max(off, -off) > got.Bound || got.Bound > 5e6 {
			t.Errorf("%+v, want %d: off by %d", got, ahead, off)
		}
	}
}

// TestPackIsExact merges what three have measured, once by itself and once over the wire.
func TestPackIsExact(t *testing.T) {
	want, got := swarm.NewMetrics(), swarm.NewMetrics()
	all, merged := want.Set(), got.Set()
	for i := range 3 {
		own := swarm.NewMetrics()
		for range 1000 {
			v := rand.Int64N(int64(70e9))
			own.Latency.Record(v)
			want.Latency.Record(v)
			own.Errs.Add("503", 1)
			want.Errs.Add("503", 1)
			own.Checks.Add("x", v%2 == 0)
			want.Checks.Add("x", v%2 == 0)
		}
		snap := own.Set().Take()
		b, err := Encode(Message{Second: &Second{Samples: Pack(snap.Samples)}})
		if err != nil {
			t.Fatal(err)
		}
		m, err := read(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		back, err := Unpack(m.Second.Samples, merged)
		if err != nil {
			t.Fatal(err)
		}
		merged.Add(back, metric.Source{Index: i, Of: 3})
	}
	if !reflect.DeepEqual(want.Latency.Histogram().Export().Counts, got.Latency.Histogram().Export().Counts) || want.Latency.Over() != got.Latency.Over() {
		t.Error("the merged histogram is not that of all values")
	}
	for i, e := range all {
		for _, method := range []string{"count", "rate"} {
			if m := (metric.Method{Name: method}); e.Metric.Kind().Has(m) && e.Metric.Read(m, 1) != merged[i].Metric.Read(m, 1) {
				t.Errorf("%s: %s is %v, want %v", e.Name, method, merged[i].Metric.Read(m, 1), e.Metric.Read(m, 1))
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, m := range []Message{{Stop: true}, {Clock: &Clock{5}}, {Fault: "x"}, {Drained: &swarm.Closing{Next: 3, Sent: map[int32]uint32{1: 2}}}} {
		b, err := Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	full := swarm.NewMetrics()
	full.Latency.Record(5e6)
	b, err := Encode(Message{Second: &Second{Samples: Pack(full.Set().Take().Samples)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{255, 255, 255, 255})
	set := swarm.NewMetrics().Set()
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := read(bytes.NewReader(b))
		if err == nil && m.Second != nil {
			if snap, err := Unpack(m.Second.Samples, set); err == nil {
				set.Add(snap, metric.Source{Of: 2})
				snap.Release()
			}
		}
	})
}
