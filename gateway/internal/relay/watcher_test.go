package relay

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/millracehq/millrace/gateway/stream"
)

// Revokes and kicks reach every loop whatever is read by whom, while partitions come into use and go out of it again; none is missed, and none comes twice.
func TestControlIsHeardEverywhere(t *testing.T) {
	for _, cluster := range []bool{false, true} {
		t.Run(fmt.Sprintf("cluster %v", cluster), func(t *testing.T) {
			f := newFakeStreams()
			f.cluster = cluster
			old := stream.Publication{Kind: stream.KindKick, User: "before"}
			f.Append(t.Context(), []stream.Add{{Key: stream.Keys{}.Out(1), Values: old.Values()}})
			r, _, loops := newTestRelayOn(t, f, Config{}, 2)
			heard := func() (list []string) {
				loops[1].with(func() { list = slices.Clone(loops[1].control) })
				return list
			}
			n := 0
			order := func() {
				for p := range 4 {
					n++
					pub := stream.Publication{Kind: stream.KindKick, User: fmt.Sprint("u", n)}
					if n%2 == 0 {
						pub = stream.Publication{Kind: stream.KindRevoke, User: fmt.Sprint("u", n), Channel: "c"}
					}
					body := stream.Publication{Channel: "c:1", Data: "no order"}
					for _, err := range f.Append(t.Context(), []stream.Add{{Key: stream.Keys{}.Out(p), Values: body.Values()}, {Key: stream.Keys{}.Out(p), Values: pub.Values()}}) {
						if err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			// Whoever was let in may be kicked at once.
			if _, err := r.Control(t.Context(), &stream.Publication{Kind: stream.KindKick, User: "first"}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the first order", func() bool { return slices.Contains(heard(), "kick  first") })
			for round := range 40 {
				order()
				switch round % 4 {
				case 0:
					r.Use(0, round/4%4)
				case 1:
					r.Use(1, (round/4+1)%4)
				case 3:
					r.Unuse(0, round/4%4)
					r.Unuse(1, (round/4+1)%4)
				}
				order()
				if round%8 == 7 { // else all comes in one read
					eventually(t, "the last order", func() bool {
						return slices.ContainsFunc(heard(), func(s string) bool { return strings.HasSuffix(s, fmt.Sprint(" u", n)) })
					})
				}
			}
			for i := 1; i <= n; i++ {
				want := fmt.Sprintf("kick  u%d", i)
				if i%2 == 0 {
					want = fmt.Sprintf("revoke c u%d", i)
				}
				eventually(t, want, func() bool { return slices.Contains(heard(), want) })
			}
			all := heard()
			slices.Sort(all)
			if once := slices.Compact(slices.Clone(all)); len(once) != len(all) {
				t.Errorf("%d orders came twice", len(all)-len(once))
			}
			if slices.Contains(all, "kick  before") {
				t.Error("an order of before the start was carried out")
			}
		})
	}
}

// After an outage nothing that was ordered meanwhile is missing.
func TestControlSurvivesAnOutage(t *testing.T) {
	r, f, loops := newTestRelay(t, Config{}, 1)
	order := func(user string) {
		pub := stream.Publication{Kind: stream.KindKick, User: user}
		eventually(t, user+" is written", func() bool { _, err := r.Control(t.Context(), &pub); return err == nil })
	}
	heard := func(user string) {
		eventually(t, user+" is heard of", func() bool {
			var ok bool
			loops[0].with(func() { ok = slices.Contains(loops[0].control, "kick  "+user) })
			return ok
		})
	}
	eventually(t, "the watcher has begun", func() bool {
		order("first")
		var ok bool
		loops[0].with(func() { ok = len(loops[0].control) > 0 })
		return ok
	})
	f.set(true)
	eventually(t, "the outage is noticed", func() bool { return r.Ready() != nil })
	f.set(false)
	order("second")
	heard("second")
}
