package fleet

import (
	"fmt"

	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

// Second is what an agent has measured since the last one, and where it stands.
type Second struct {
	Samples  []Sample
	Progress swarm.Progress
}

// Sample is a [metric.Sample] whose histogram is a list.
type Sample struct {
	Name              string
	Kind              metric.Kind
	N, Passes, Over   int64
	Parts, PartPasses map[string]int64
	Value, Min, Max   float64
	Bars              []metric.Bar // of the histogram
}

// Pack makes samples fit for sending.
func Pack(samples []metric.Sample) []Sample {
	list := make([]Sample, len(samples))
	for i, s := range samples {
		list[i] = Sample{
			Name: s.Name, Kind: s.Kind, N: s.N, Passes: s.Passes, Over: s.Over, Parts: s.Parts, PartPasses: s.PartPasses,
			Value: s.Value, Min: s.Min, Max: s.Max,
		}
		if s.Hist != nil {
			list[i].Bars = metric.Bars(s.Hist)
		}
	}
	return list
}

// Unpack is a snapshot of them again. It refuses what is not of set.
func Unpack(list []Sample, set metric.Set) (snap metric.Snapshot, err error) {
	if len(list) != len(set) {
		return snap, fmt.Errorf("%d metrics, want %d", len(list), len(set))
	}
	for i, s := range list {
		if s.Name != set[i].Name || s.Kind != set[i].Metric.Kind() {
			return snap, fmt.Errorf("%s %q in the place of %s", s.Kind, s.Name, set[i].Name)
		}
		sample := metric.Sample{
			Name: s.Name, Kind: s.Kind, N: s.N, Passes: s.Passes, Over: s.Over, Parts: s.Parts, PartPasses: s.PartPasses,
			Value: s.Value, Min: s.Min, Max: s.Max,
		}
		if sample.Hist, err = metric.FromBars(s.Bars); err != nil {
			return snap, fmt.Errorf("%s: %w", s.Name, err)
		}
		snap.Samples = append(snap.Samples, sample)
	}
	return snap, nil
}
