package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/millracehq/millrace/loadtest"
)

// soak is a long run, and the memory of the processes during it.
type soak struct {
	Duration   string             `json:"duration"`
	Deliveries int64              `json:"deliveries"`
	Latency    map[string]float64 `json:"msg_latency_ms"`
	Memory     []memorySample     `json:"memory"`
	Plot       string             `json:"plot"` // file
	Exit       int                `json:"loadtest_exit_code"`
	Failures   []string           `json:"failures,omitempty"`
	conditions
}

// memorySample is anonymous memory at one moment of the steady phase, bytes.
type memorySample struct {
	Seconds float64 `json:"seconds"`
	Harness int64   `json:"harness"`
	Gateway int64   `json:"gateway"`
}

const (
	soakSample  = 2 * time.Second
	soakPlot    = ".tmp/soak.svg"
	soakGrowth  = 0.05    // of the harness: the most by which the last quarter may lie above the second
	soakNoise   = 1 << 20 // bytes: a heap that breathes by this is flat
	soakWarming = 4       // part of the run, one in so many, in which pools fill up
)

func (b bench) soak(ctx context.Context) (*soak, error) {
	s, err := startStack(ctx, b.dir, b.options.bin, "")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	so := &soak{Duration: b.options.duration.String(), Plot: filepath.FromSlash(soakPlot)}
	m := newMeter(s)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var watcher sync.WaitGroup
	var harness *process
	b.started = func(p *process) { harness = p }
	r, err := b.harness(ctx, "soak.yaml", s.url, b.size.Connections, so.Duration, func(phase string) error {
		m.phase(phase)
		switch phase {
		case "steady":
			watcher.Go(func() { so.watch(watching, harness, s.gateway) })
		case "drain":
			stop()
			watcher.Wait()
		}
		return nil
	})
	stop()
	watcher.Wait()
	if err != nil {
		return nil, err
	}
	so.Deliveries, so.Latency, so.Exit, so.Failures = r.count("msgs_received"), r.values("msg_latency"), r.exit, r.failures()
	_, so.conditions = m.result(&r.report)
	return so, so.plot()
}

// watch samples the memory of both processes.
func (so *soak) watch(ctx context.Context, harness, gateway *process) {
	began := time.Now()
	every := time.NewTicker(soakSample)
	defer every.Stop()
	for {
		h, errH := harness.anonymous()
		g, errG := gateway.anonymous()
		if errH == nil && errG == nil {
			so.Memory = append(so.Memory, memorySample{time.Since(began).Seconds(), h, g})
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

// growth compares the harness's memory in the last quarter with that in the second: medians, so that a collection that is due or just over does not count.
func (so *soak) growth() (before, after int64) {
	quarter := len(so.Memory) / soakWarming
	of := func(list []memorySample) int64 {
		values := make([]float64, len(list))
		for i, m := range list {
			values[i] = float64(m.Harness)
		}
		return int64(median(values))
	}
	return of(so.Memory[quarter : 2*quarter]), of(so.Memory[len(so.Memory)-quarter:])
}

func (so *soak) judge(miss missFunc) {
	miss(so.Exit == loadtest.ExitOK, "soak: the harness ended with %d (%s)%s", so.Exit, so.conditions, lines(so.Failures))
	before, after := so.growth()
	miss(before > 0, "soak: there are only %d samples of the memory", len(so.Memory))
	miss(after-before <= max(int64(soakGrowth*float64(before)), soakNoise), "soak: the harness grew from %s to %s: it must be flat", megabytes(before), megabytes(after))
}

func (so *soak) write(w io.Writer) {
	fmt.Fprintf(w, "\nSoak: %s\n", so.Duration)
	row := table(w, []*soak{so})
	row("deliveries", func(so *soak) string { return fmt.Sprint(so.Deliveries) })
	for _, p := range []string{"med", "p(99)", "max"} {
		row("due to received, "+p, func(so *soak) string { return milliseconds(so.Latency[p]) })
	}
	before, after := so.growth()
	row("harness: memory, second quarter of the run", func(*soak) string { return megabytes(before) })
	row("harness: memory, last quarter", func(*soak) string { return megabytes(after) })
	writeConditions(w, []*soak{so}, func(so *soak) conditions { return so.conditions })
	fmt.Fprintf(w, "  the plot of both processes' memory: %s\n", so.Plot)
}

// plot draws the memory over time.
func (so *soak) plot() error {
	lines := []plotLine{{name: "harness", colour: "#2563eb"}, {name: "gateway", colour: "#d97706"}}
	for _, m := range so.Memory {
		for i, bytes := range []int64{m.Harness, m.Gateway} {
			lines[i].points = append(lines[i].points, [2]float64{m.Seconds / 60, float64(bytes) / 1e6})
		}
	}
	return writeFile(so.Plot, svgPlot("Anonymous memory during the soak", "minutes", "MB", lines))
}
