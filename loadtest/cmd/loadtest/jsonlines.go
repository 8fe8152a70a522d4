package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/metric"
)

// jsonLines writes what k6's --out json writes: a Metric line for each metric, then Point lines. A point is a second's worth, not one
// value: a counter's growth, a gauge's last reading, a rate's share, and of a trend one point each for avg, med, p(95), p(99) and max, told apart by the
// tag stat. Times are milliseconds.
type jsonLines struct {
	file *os.File
	buf  *bufio.Writer
	enc  *json.Encoder
	tags map[string]string // of the run
}

func newJSONLines(file string) (*jsonLines, error) {
	if file == "" {
		return nil, errors.New("--out json wants a file: --out json=FILE")
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	j := &jsonLines{file: f, buf: bufio.NewWriter(f)}
	j.enc = json.NewEncoder(j.buf)
	j.enc.SetEscapeHTML(false) // thresholds have < and > in them
	return j, nil
}

// Start implements loadtest.Output.
func (j *jsonLines) Start(info loadtest.Info) error {
	j.tags = info.Scenario.Tags
	for _, e := range info.Metrics {
		var thresholds []string
		for _, a := range info.Scenario.Thresholds[e.Name] {
			thresholds = append(thresholds, a.Threshold)
		}
		contains := "default"
		if e.Metric.Kind() == metric.KindTrend {
			contains = "time"
		}
		line := map[string]any{"type": "Metric", "metric": e.Name, "data": map[string]any{
			"name": e.Name, "type": e.Metric.Kind(), "contains": contains, "thresholds": thresholds,
		}}
		if err := j.enc.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

// Second implements loadtest.Output.
func (j *jsonLines) Second(s metric.Snapshot) error {
	var err error
	for _, sample := range s.Samples {
		point := func(value float64, tags ...string) {
			err = errors.Join(err, j.point(sample.Name, s, value, tags...))
		}
		switch {
		case sample.N == 0:
		case sample.Kind == metric.KindCounter && sample.Parts != nil:
			for value, n := range sample.Parts {
				point(float64(n), "part", value)
			}
		case sample.Kind == metric.KindCounter:
			point(float64(sample.N))
		case sample.Kind == metric.KindGauge:
			point(sample.Value)
		case sample.Kind == metric.KindRate:
			point(float64(sample.Passes) / float64(sample.N))
		case sample.Hist != nil:
			point(sample.Hist.Mean()/1000, "stat", "avg")
			for stat, p := range map[string]float64{"med": 50, "p(95)": 95, "p(99)": 99, "max": 100} {
				point(float64(sample.Hist.ValueAtPercentile(p))/1000, "stat", stat)
			}
		}
	}
	return err
}

func (j *jsonLines) point(entry string, s metric.Snapshot, value float64, more ...string) error {
	name, part := metric.SplitName(entry)
	tags := map[string]string{"phase": s.Phase}
	maps.Copy(tags, j.tags)
	maps.Copy(tags, part)
	for i := 0; i+1 < len(more); i += 2 {
		tags[more[i]] = more[i+1]
	}
	return j.enc.Encode(map[string]any{"type": "Point", "metric": name, "data": map[string]any{
		"time": s.At.Format(time.RFC3339Nano), "value": value, "tags": tags,
	}})
}

// Stop implements loadtest.Output.
func (j *jsonLines) Stop(*loadtest.Report) error {
	if err := errors.Join(j.buf.Flush(), j.file.Close()); err != nil {
		return fmt.Errorf("--out json: %w", err)
	}
	return nil
}
