package plan

import (
	"reflect"
	"testing"
	"time"
)

func TestSameSeedSamePlan(t *testing.T) {
	for _, mode := range []Mode{Single, Sentinel} {
		o := Options{Mode: mode, Length: 10 * time.Minute, Faults: 100}
		if !reflect.DeepEqual(New(7, o), New(7, o)) {
			t.Errorf("%s: two plans of one seed differ", mode)
		}
		if reflect.DeepEqual(New(7, o), New(8, o)) {
			t.Errorf("%s: the plans of two seeds are the same", mode)
		}
	}
}

// TestSeedsStayReplayable fails when a seed no longer gives the plan that it gave before. Then say so in the changelog.
func TestSeedsStayReplayable(t *testing.T) {
	f := New(1, Options{Mode: Single, Length: 10 * time.Minute, Faults: 100})
	const want = "2.88s kill redis for 2.34s"
	if got := f[0].At.String() + " " + f[0].String(); got != want {
		t.Errorf("first fault of seed 1: %s, want %s", got, want)
	}
}

func TestPlansKeepTheRules(t *testing.T) {
	for _, mode := range []Mode{Single, Sentinel} {
		kinds := map[Kind]int{}
		for seed := range uint64(50) {
			o := Options{Mode: mode, Length: 10 * time.Minute, Faults: 100}
			faults := New(seed, o)
			if len(faults) != o.Faults {
				t.Fatalf("%d faults", len(faults))
			}
			end := map[string]time.Duration{}
			for i, f := range faults {
				kinds[f.Kind]++
				if f.Number != i+1 || i > 0 && f.At < faults[i-1].At || f.At < 0 || f.At > o.Length {
					t.Fatalf("seed %d: fault %d at %v: %+v", seed, i+1, f.At, f)
				}
				if f.At%time.Minute > 50*time.Second+10*time.Millisecond || (f.At+f.For)%time.Minute > 50*time.Second+210*time.Millisecond {
					t.Errorf("seed %d: not calm at the end of a minute: %v %+v", seed, f.At, f)
				}
				name := f.Target
				if f.Redis() {
					name = "redis"
				}
				if f.Kind != Cut && f.At+20*time.Millisecond < end[name] {
					t.Errorf("seed %d: two faults at a time on %s: %v, the one before ends at %v", seed, name, f.At, end[name])
				}
				end[name] = max(end[name], f.At+f.For)
			}
		}
		for _, k := range []Kind{Kill, Pause, Drain, Cut, Refuse, Stall, Slow, Bite} {
			if kinds[k] < 50 {
				t.Errorf("%s: %d times %s", mode, kinds[k], k)
			}
		}
		if (kinds[Failover] > 0) != (mode == Sentinel) {
			t.Errorf("%s: %d failovers", mode, kinds[Failover])
		}
	}
}

func TestShortPlan(t *testing.T) {
	for _, f := range New(3, Options{Mode: Single, Length: 12 * time.Second, Faults: 6}) {
		if f.At > 12*time.Second || f.String() == "" {
			t.Errorf("%v %s", f.At, f)
		}
	}
	if n := len(New(3, Options{Mode: Single, Length: time.Minute})); n != 0 {
		t.Errorf("%d faults where none were wanted", n)
	}
}
