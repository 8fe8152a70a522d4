package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/metric"
)

// csvLines writes the numbers that jsonLines writes as a table: the columns of k6's --out csv that mean something here, and its extra_tags
// for all other tags, as name=value&name=value. The timestamp is in seconds, with milliseconds.
type csvLines struct {
	file *os.File
	w    *csv.Writer
	tags map[string]string // of the run
}

// csvHeader are the columns. Values are in the metric's unit.
func csvHeader() []string {
	return []string{"metric_name", "timestamp", "metric_value", "phase", "stat", "extra_tags"}
}

func newCSVLines(file string) (*csvLines, error) {
	if file == "" {
		return nil, errors.New("--out csv wants a file: --out csv=FILE")
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	return &csvLines{file: f, w: csv.NewWriter(f)}, nil
}

// Start implements loadtest.Output.
func (c *csvLines) Start(info loadtest.Info) error {
	c.tags = info.Scenario.Tags
	return c.w.Write(csvHeader())
}

// Second implements loadtest.Output.
func (c *csvLines) Second(s metric.Snapshot) error {
	at := strconv.FormatFloat(float64(s.At.UnixMilli())/1000, 'f', 3, 64)
	var err error
	s.Points(func(p metric.Point) {
		stat, extra := "", map[string]string{}
		maps.Copy(extra, c.tags)
		maps.Copy(extra, p.Tags)
		switch p.Tag {
		case "":
		case "stat":
			stat = p.Part
		default:
			extra[p.Tag] = p.Part
		}
		var list []string
		for _, k := range slices.Sorted(maps.Keys(extra)) {
			list = append(list, k+"="+extra[k])
		}
		value := strconv.FormatFloat(p.Value, 'g', -1, 64)
		err = errors.Join(err, c.w.Write([]string{p.Name, at, value, s.Phase, stat, strings.Join(list, "&")}))
	})
	return err
}

// Stop implements loadtest.Output.
func (c *csvLines) Stop(*loadtest.Report) error {
	c.w.Flush()
	if err := errors.Join(c.w.Error(), c.file.Close()); err != nil {
		return fmt.Errorf("--out csv: %w", err)
	}
	return nil
}
