// Package page shows a run as one HTML page: while it goes on, and as a report that needs nothing else.
//
//	Recorder ─ Start, Second, Stop ─▶ series, percentiles, verdict ─ Render ─▶ one page: tables, plots as SVG, styles and all
//	                                                                  └ Fragment ─▶ the same without its frame, for a page that is open
//
// A page asks nothing of the network, and forbids itself to (Content-Security-Policy). It reads without scripts; with them, plots have a
// pointer, and the live view renews itself.
package page

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/series"
)

// Recorder keeps what a page shows. It is a loadtest.Output, and may be rendered from any goroutine meanwhile.
type Recorder struct {
	mu     sync.Mutex // guards all below; a page takes some milliseconds
	info   loadtest.Info
	series *series.Series
	hists  map[string]*hdrhistogram.Histogram // of trends, over the run so far
	report *loadtest.Report                   // nil until the run is over
	ended  bool                               // with or without a report
	taken  time.Time                          // the last second
	count  int                                // changes, so that a page knows whether there is news
}

// Start implements loadtest.Output.
func (r *Recorder) Start(info loadtest.Info) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.info, r.series, r.hists = info, series.New(info.Started, 0), make(map[string]*hdrhistogram.Histogram)
	r.taken = info.Started
	r.count++
	return nil
}

// Second implements loadtest.Output.
func (r *Recorder) Second(snap metric.Snapshot) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.series.Add(snap)
	r.taken = snap.At
	r.count++
	for _, s := range snap.Samples {
		switch {
		case s.Hist == nil:
		case r.hists[s.Name] == nil:
			r.hists[s.Name] = hdrhistogram.Import(s.Hist.Export()) // a copy: the snapshot's is only lent
		default:
			r.hists[s.Name].Merge(s.Hist)
		}
	}
	return nil
}

// Stop implements loadtest.Output.
func (r *Recorder) Stop(rep *loadtest.Report) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report, r.ended = rep, true
	r.count++
	return nil
}

// version counts changes.
func (r *Recorder) version() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// percentile of all values of a trend so far, in milliseconds.
func (r *Recorder) percentile(name string, p float64) (ms float64, ok bool) {
	h := r.hists[name]
	if h == nil || h.TotalCount() == 0 {
		return 0, false
	}
	return float64(h.ValueAtPercentile(p)) / 1000, true
}
