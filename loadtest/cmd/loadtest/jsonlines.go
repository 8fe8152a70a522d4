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
	s.Points(func(p metric.Point) {
		tags := map[string]string{"phase": s.Phase}
		maps.Copy(tags, j.tags)
		maps.Copy(tags, p.Tags)
		if p.Tag != "" {
			tags[p.Tag] = p.Part
		}
		err = errors.Join(err, j.enc.Encode(map[string]any{"type": "Point", "metric": p.Name, "data": map[string]any{
			"time": s.At.Format(time.RFC3339Nano), "value": p.Value, "tags": tags,
		}}))
	})
	return err
}

// Stop implements loadtest.Output.
func (j *jsonLines) Stop(*loadtest.Report) error {
	if err := errors.Join(j.buf.Flush(), j.file.Close()); err != nil {
		return fmt.Errorf("--out json: %w", err)
	}
	return nil
}
