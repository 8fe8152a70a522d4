package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	profileSeconds = 15
	traceSeconds   = 3 // a trace of a busy gateway grows by megabytes a second
)

// profiler collects what the gateway does under the load, while it is steady.
type profiler struct {
	dir  string // where the profiles go; empty: none are wanted
	done chan error
}

// begin starts to collect from the gateway whose admin address is given, http://HOST:PORT.
func (p *profiler) begin(ctx context.Context, admin string) {
	if p.dir == "" {
		return
	}
	p.done = make(chan error, 1)
	go func() { p.done <- p.collect(ctx, admin) }()
}

// end waits until all is collected.
func (p *profiler) end() error {
	if p.done == nil {
		return nil
	}
	return <-p.done
}

// collect fetches one profile after the other, so that none is in the other's picture. The trace is last, for it costs the most;
// what is off the processor is read from it.
func (p *profiler) collect(ctx context.Context, admin string) error {
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return err
	}
	profiles := admin + "/debug/pprof/"
	for _, f := range []struct{ file, url string }{
		{"cpu.pprof", profiles + "profile?seconds=" + strconv.Itoa(profileSeconds)},
		{"heap.pprof", profiles + "heap?gc=1"},
		{"goroutine.txt", profiles + "goroutine?debug=1"},
		{"trace.out", profiles + "trace?seconds=" + strconv.Itoa(traceSeconds)},
	} {
		text, err := get(ctx, f.url)
		if err == nil {
			err = os.WriteFile(filepath.Join(p.dir, f.file), []byte(text), 0o644)
		}
		if err != nil {
			return fmt.Errorf("profile: %w", err)
		}
	}
	return p.offCPU(ctx)
}

// offCPU makes of the trace where goroutines waited: for the network, for each other, in system calls, for a processor.
func (p *profiler) offCPU(ctx context.Context) error {
	trace := filepath.Join(p.dir, "trace.out")
	for _, kind := range []string{"net", "sync", "syscall", "sched"} {
		cmd := exec.CommandContext(ctx, "go", "tool", "trace", "-pprof="+kind, trace)
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err == nil {
			err = os.WriteFile(filepath.Join(p.dir, "off-"+kind+".pprof"), out, 0o644)
		}
		if err != nil {
			return fmt.Errorf("profile: go tool trace: %w: %s", err, said.String())
		}
	}
	return nil
}

// guide says how to look at what is there.
func guide(w io.Writer, dir string) {
	fmt.Fprintf(w, "\nProfiles of the gateway under that load: %s (docs/TUNING.md says how to read them)\n", dir)
	for _, f := range []string{"cpu", "heap", "off-net", "off-sync", "off-syscall", "off-sched"} {
		fmt.Fprintf(w, "  go tool pprof -top %s\n", filepath.Join(dir, f+".pprof"))
	}
	fmt.Fprintf(w, "  go tool trace %s\n", filepath.Join(dir, "trace.out"))
}

// footing is what a gateway stands on: the number must not grow with the load.
type footing struct {
	Goroutines int `json:"goroutines"`
	Threads    int `json:"threads"`
}

func (f footing) String() string { return fmt.Sprintf("%d, %d", f.Goroutines, f.Threads) }

// footing counts the gateway's goroutines and threads.
func (s *stack) footing(ctx context.Context) (f footing, err error) {
	goroutines, err1 := s.metric(ctx, "go_goroutines")
	threads, err2 := s.gateway.status("Threads:")
	return footing{int(goroutines), int(threads)}, cmp.Or(err1, err2)
}
