package sim

import (
	"flag"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/millracehq/millrace/backend/board"
)

var (
	seeds = flag.Int("seeds", 200, "how many seeds")
	first = flag.Uint64("first", 1, "the first seed")
)

// TestSeeds runs seeds, and makes the first failure smaller.
func TestSeeds(t *testing.T) {
	t.Parallel()
	n := *seeds
	if testing.Short() {
		n = min(n, 40)
	}
	next := make(chan uint64)
	var mu sync.Mutex
	var sum Counts
	var failure *Failure
	failed := 0
	var runs sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		runs.Go(func() {
			for seed := range next {
				counts, f := Run(Config{Seed: seed})
				mu.Lock()
				sum.Add(counts)
				if f != nil {
					failed++
					if failure == nil {
						failure = f
					}
				}
				mu.Unlock()
			}
		})
	}
	for i := range uint64(n) {
		next <- *first + i
	}
	close(next)
	runs.Wait()
	t.Logf("%d seeds: %+v", n, sum)
	if failure != nil {
		t.Fatalf("%d of %d seeds fail; one, made smaller:\n%v", failed, n, Shrink(failure))
	}
	for name, v := range map[string]int{
		"merged": sum.Merged, "redirected": sum.Redirected, "superseded": sum.Superseded, "rejected": sum.Rejected, "conflicts": sum.Conflicts,
		"repeats": sum.Repeats, "server crashes": sum.ServerCrashes, "purged": sum.Purged, "revocations": sum.Revocations,
		"bodies fetched": sum.Bodies,
	} {
		if v == 0 {
			t.Errorf("no seed has seen any %s", name)
		}
	}
}

func TestSameSeedSameRun(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		a, _ := Run(Config{Seed: seed})
		b, _ := Run(Config{Seed: seed})
		if a != b {
			t.Errorf("seed %d: %+v and %+v", seed, a, b)
		}
	}
}

// TestPlantedFaults shows that the checks find what they are there for.
func TestPlantedFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault Fault
		want  string // part of what is said
	}{
		"the last to arrive wins":             {Fault{Rules: board.Rules{Wins: func(board.Stamp, board.Stamp) bool { return true }}}, "was meant later"},
		"float positions":                     {Fault{Rules: board.Rules{Between: floatBetween, RekeyOver: 100}}, ""},
		"acknowledged before it is committed": {Fault{EarlyReply: true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := 0
			for seed := range uint64(20) {
				_, f := Run(Config{Seed: seed, Fault: c.fault})
				if f == nil {
					continue
				}
				found++
				if found > 1 {
					continue
				}
				small := Shrink(f)
				if !strings.Contains(strings.Join(small.What, "\n"), c.want) {
					t.Errorf("found, but not said: %v", small)
				}
				t.Logf("made smaller: %v", small)
			}
			t.Logf("found by %d of 20 seeds", found)
			if found == 0 {
				t.Error("20 seeds have not found it")
			}
		})
	}
}

// floatBetween makes positions as boards with a number for each card do: the middle of two, until there is none.
func floatBetween(a, b string) (string, error) {
	number := func(s string, otherwise float64) float64 {
		if f, err := strconv.ParseFloat(strings.TrimPrefix(s, "a"), 64); err == nil {
			return f
		}
		return otherwise
	}
	low := number(a, 0)
	return fmt.Sprintf("a%024.15f", (low+number(b, low+2))/2), nil
}
