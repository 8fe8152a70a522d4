package metric

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Snapshot is what a second of a run added to its metrics.
type Snapshot struct {
	At      time.Time     // its end
	Span    time.Duration // its length: about a second, less at the end of the run
	Phase   string        // that it is of
	Ready   int64         // connections that are open and subscribed at its end
	Samples []Sample      // one for each entry of the set, in its order
}

// Sample is what was added to one metric.
type Sample struct {
	Name string // of the entry: a name, or name{tag:value} for a part of a trend that a threshold asks for
	Kind Kind

	N          int64                   // growth of a counter, total of a rate, readings of a gauge, values of a trend
	Passes     int64                   // of a rate
	Parts      map[string]int64        // growth of the parts of a tagged counter, by value of its tag; totals of checks, by name
	PartPasses map[string]int64        // passes of checks, by name
	Value      float64                 // last reading of a gauge
	Min, Max   float64                 // of the readings of a gauge
	Over       int64                   // values of a trend above 60 s, which its histogram has as 60 s
	Hist       *hdrhistogram.Histogram // of a trend, microseconds; nil when no value came. Valid until Release: copy what is to be kept
}

// Source says which of several programs a snapshot comes from.
type Source struct{ Index, Of int }

// Take hands over what has come since the last Take. Whoever gets it calls Release when all have read it.
func (s Set) Take() Snapshot {
	snap := Snapshot{Samples: make([]Sample, len(s))}
	for i, e := range s {
		snap.Samples[i] = e.Metric.take()
		snap.Samples[i].Name, snap.Samples[i].Kind = e.Name, e.Metric.Kind()
	}
	return snap
}

// Add enters a snapshot of a set with the same entries.
func (s Set) Add(snap Snapshot, from Source) {
	if len(snap.Samples) != len(s) {
		panic("BUG: a snapshot of another set")
	}
	for i, e := range s {
		e.Metric.add(snap.Samples[i], from)
	}
}

// Release gives the histograms back.
func (s *Snapshot) Release() {
	for i := range s.Samples {
		if h := s.Samples[i].Hist; h != nil {
			h.Reset()
			spare.Put(h)
			s.Samples[i].Hist = nil
		}
	}
}
