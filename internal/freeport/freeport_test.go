package freeport

import (
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
)

// TestNobodyGetsTheSame asks from several goroutines, each with files of its own as processes have, beside ports that are taken.
func TestNobodyGetsTheSame(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var mu sync.Mutex
	seen := map[int]bool{}
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for i := range 50 {
				ports, err := Find(1 + i%3)
				if err != nil || len(ports) != 1+i%3 {
					t.Error(ports, err)
					return
				}
				l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(ports[0]))
				if err != nil {
					t.Error(err)
					return
				}
				if i%2 == 0 {
					defer l.Close()
				} else {
					l.Close()
				}
				mu.Lock()
				for k, p := range ports {
					if seen[p] || p < first || p > last || p != ports[0]+k {
						t.Error(ports)
					}
					seen[p] = true
				}
				mu.Unlock()
			}
		})
	}
	asking.Wait()
}

// TestBeginsAgain: behind the last port comes the first, a row is never over that end, and a file that is damaged is no obstacle.
func TestBeginsAgain(t *testing.T) {
	path := t.TempDir() + "/turn"
	for _, text := range []string{strconv.Itoa(last - 1), "", "x", "-5", "999999999999"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		turn, err := takeTurn(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			p := turn.next()
			if want := []int{last, first, first + 1}[i]; p < first || p > last || text == strconv.Itoa(last-1) && p != want {
				t.Errorf("%q: %d", text, p)
			}
		}
		turn.end()
		again, err := takeTurn(path)
		if err != nil || again.port != turn.port {
			t.Errorf("%q: ended at %d, goes on at %+v, %v", text, turn.port, again, err)
		}
		again.end()
	}
}
