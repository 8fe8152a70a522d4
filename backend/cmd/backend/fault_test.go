package main

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
	"github.com/millracehq/millrace/internal/freeport"
	"github.com/millracehq/millrace/internal/redistest"
)

// startBackend starts the program and waits until it is ready.
func startBackend(t *testing.T, url string) *exec.Cmd {
	t.Helper()
	listen := freeport.MustAddr(t)
	cmd := exec.Command(built, "--redis", url, "--listen", listen, "--log-level", "error")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	eventually(t, "a backend is ready", func() bool {
		resp, err := http.Get("http://" + listen + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return cmd
}

// TestTwoBackendsOneDies: one of two is killed, or stopped for longer than its leases and then goes on. No entry waits for
// more than 6 s, and each channel comes out in order and once.
func TestTwoBackendsOneDies(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for leases to end")
	}
	for name, hurt := range map[string]func(t *testing.T, p *exec.Cmd, after func(time.Duration)){
		"SIGKILL": func(t *testing.T, p *exec.Cmd, after func(time.Duration)) {
			t.Helper()
			p.Process.Kill()
			after(6 * time.Second)
		},
		"SIGSTOP": func(t *testing.T, p *exec.Cmd, after func(time.Duration)) {
			t.Helper()
			p.Process.Signal(syscall.SIGSTOP)
			after(5 * time.Second)
			p.Process.Signal(syscall.SIGCONT)
			after(3 * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			victim := startBackend(t, s.URL())
			startBackend(t, s.URL())
			leases := func(owners int) bool {
				held := map[string]int{}
				for p := range stream.DefaultPartitions {
					_, owner, _ := strings.Cut(s.CLI("GET", stream.Keys{}.Lease(p, stream.DefaultGroup)), " ")
					held[owner]++
				}
				return len(held) == owners && held[""] == 0
			}
			eventually(t, "they share", func() bool { return leases(2) })

			f := newFeed(t, s)
			f.run(time.Second)
			hurt(t, victim, f.run)
			f.check()
		})
	}
}

// feed writes numbered publications to 32 channels, about 200/s.
type feed struct {
	t       *testing.T
	streams *redis.Client
	sent    map[string]int
}

const feedChannels = 32

func newFeed(t *testing.T, s *redistest.Server) *feed {
	t.Helper()
	c, err := redis.New(redis.Config{URL: s.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &feed{t: t, streams: c, sent: make(map[string]int)}
}

func (f *feed) run(d time.Duration) {
	f.t.Helper()
	tick := time.NewTicker(feedChannels * time.Second / 200)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		adds := make([]stream.Add, feedChannels)
		for i := range adds {
			ch := fmt.Sprint("echo:", i)
			e := stream.Event{
				Kind: stream.KindPub, Channel: ch, Node: "n", Conn: "c", User: "ann", Ref: "-",
				ID: fmt.Sprint(ch, "/", f.sent[ch]), At: time.Now().UnixMilli(), Data: fmt.Sprint(f.sent[ch]),
			}
			f.sent[ch]++
			adds[i] = stream.Add{Key: f.streams.Keys().In(stream.Partition(ch, stream.DefaultPartitions)), Values: e.Values()}
		}
		for _, err := range f.streams.Append(f.t.Context(), adds) {
			if err != nil {
				f.t.Fatal(err)
			}
		}
	}
}

// check waits for all of it and compares: order, number, and from the IDs by Redis's clock, the time from `in` to `out`.
func (f *feed) check() {
	f.t.Helper()
	var got map[string][]stream.Publication
	var longest time.Duration
	eventually(f.t, "everything has come out", func() bool {
		got, longest = f.out()
		for ch, n := range f.sent {
			if len(got[ch]) < n {
				return false
			}
		}
		return true
	})
	for ch, n := range f.sent {
		if len(got[ch]) != n {
			f.t.Errorf("%s: %d publications of %d entries", ch, len(got[ch]), n)
		}
		for i, p := range got[ch] {
			if p.Data != fmt.Sprint(i) {
				f.t.Fatalf("%s: publication %d is %s", ch, i, p.Data)
			}
		}
	}
	f.t.Logf("longest wait %v", longest)
	if longest > 6*time.Second {
		f.t.Errorf("an entry waited for %v", longest)
	}
}

func (f *feed) out() (map[string][]stream.Publication, time.Duration) {
	f.t.Helper()
	cursors := make([]stream.Cursor, stream.DefaultPartitions)
	for p := range cursors {
		cursors[p].Key = f.streams.Keys().Out(p)
	}
	all, err := f.streams.Read(f.t.Context(), cursors, 100_000, time.Millisecond)
	if err != nil {
		f.t.Fatal(err)
	}
	got := make(map[string][]stream.Publication)
	var longest int64
	for _, s := range all {
		for _, e := range s.Entries {
			p, err := stream.DecodePublication(e.Fields)
			if err != nil {
				f.t.Fatal(err)
			}
			got[p.Channel] = append(got[p.Channel], p)
			longest = max(longest, int64(e.ID.MS)-p.At)
		}
	}
	return got, time.Duration(longest) * time.Millisecond
}
