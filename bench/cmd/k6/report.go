package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/millracehq/millrace/bench/internal/results"
)

// maxBytes is what a connection of the harness may cost, bytes.
const maxBytes = 1000

// report is what all runs came to.
type report struct {
	Time    time.Time       `json:"time"`
	Version string          `json:"version"` // of the repository
	K6      string          `json:"k6"`
	Machine results.Machine `json:"machine"`
	Seconds int             `json:"seconds"`
	Rate    int             `json:"publications_per_second"`
	Runs    []*outcome      `json:"runs"`
}

// line is one tool with many connections, beside itself with few.
type line struct {
	*outcome
	perConn float64 // bytes that each connection beyond the few added
}

// lines are the runs that the table shows, in their order.
func (r *report) lines() (list []line) {
	first := map[string]*outcome{}
	for _, o := range r.Runs {
		if o.Connections == few {
			first[o.Tool] = o
			continue
		}
		l := line{outcome: o}
		if f := first[o.Tool]; f != nil {
			l.perConn = float64(o.Memory-f.Memory) / float64(o.Connections-few)
		}
		list = append(list, l)
	}
	return list
}

// largest is the run of the harness with most connections.
func (r *report) largest() (l line) {
	for _, one := range r.lines() {
		if one.Tool == "loadtest" && (l.outcome == nil || one.Connections > l.Connections) {
			l = one
		}
	}
	return l
}

// met says whether the harness is within its target.
func (r *report) met() bool {
	l := r.largest()
	return l.outcome != nil && l.perConn <= maxBytes
}

func (r *report) markdown() string {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "# The harness and k6\n\n%s · %s · %d cores of %s, %d MB · Linux %s · %s · %s\n\n", r.Time.UTC().Format(time.DateTime), r.Version, m.Cores, m.CPU, m.MemoryMB, m.Kernel, m.Go, r.K6)
	fmt.Fprintf(&b, "Each connection subscribes to a channel of %d and times every delivery, through the gateway, at %d publications a second (up to 200 with more connections) for %d s. The harness publishes in all runs; "+
		"in its own it is part of its processor time. Memory is anonymous and resident; *each* is what a connection beyond the first %d added before anything was published, *after* what the process had at the end.\n\n",
		perChannel, r.Rate, r.Seconds, few)
	b.WriteString("| | connections | memory | each | after | CPU a delivery | cores | deliveries | remarks |\n|---|---|---|---|---|---|---|---|---|\n")
	list := r.lines()
	for _, l := range list {
		fmt.Fprintf(&b, "| %s | %d | %.1f MB | %.0f bytes | %.1f MB | %.1f us | %.2f | %d of %d | %s |\n", l.Tool, l.Connections, float64(l.Memory)/1e6, l.perConn,
			float64(l.MemoryEnd)/1e6, l.CPU, l.Cores, l.Received, l.Expected, strings.Join(l.Marks, "; "))
	}
	b.WriteString("\n")
	for _, l := range list {
		ours := r.same(l.Connections)
		if l.Tool == "loadtest" || ours.outcome == nil || ours.perConn <= 0 || ours.CPU <= 0 {
			continue
		}
		fmt.Fprintf(&b, "- %s takes %.0f times the memory a connection, and %.1f times the processor time a delivery.\n", l.Tool, l.perConn/ours.perConn, l.CPU/ours.CPU)
	}
	if l := r.largest(); l.outcome != nil {
		verdict := "met"
		if !r.met() {
			verdict = "missed"
		}
		fmt.Fprintf(&b, "- Target, at most %d bytes a connection at %d in one process: %.0f bytes, %s.\n", maxBytes, l.Connections, l.perConn, verdict)
	}
	return b.String()
}

// same is the run of the harness with so many connections.
func (r *report) same(connections int) line {
	for _, l := range r.lines() {
		if l.Tool == "loadtest" && l.Connections == connections {
			return l
		}
	}
	return line{}
}

// save writes everything into dir.
func (r *report) save(dir string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "run.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "README.md"), []byte(r.markdown()), 0o644)
}
