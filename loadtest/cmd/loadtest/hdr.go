package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/metric"
)

// hdrFiles write the trends in the formats of HdrHistogram's tools, values in microseconds.
//
//	hdr=NAME   NAME.hlog            a histogram a second of each trend, tagged with its name (log format 1.3: HistogramLogAnalyzer)
//	           NAME.METRIC.hgrm     percentiles of the whole run, in milliseconds (the plotter of HdrHistogram)
type hdrFiles struct {
	name  string
	file  *os.File
	buf   *bufio.Writer
	start time.Time
	total map[string]*hdrhistogram.Histogram
	order []string
}

func newHDRFiles(name string) (*hdrFiles, error) {
	if name == "" {
		return nil, errors.New("--out hdr wants a name: --out hdr=NAME writes NAME.hlog and NAME.METRIC.hgrm")
	}
	name = strings.TrimSuffix(name, ".hlog")
	f, err := os.Create(name + ".hlog")
	if err != nil {
		return nil, err
	}
	return &hdrFiles{name: name, file: f, buf: bufio.NewWriter(f), total: make(map[string]*hdrhistogram.Histogram)}, nil
}

// Start implements loadtest.Output. Times in the log are relative to the start of the run.
func (h *hdrFiles) Start(info loadtest.Info) error {
	h.start = info.Started
	log := hdrhistogram.NewHistogramLogWriter(h.buf)
	return errors.Join(
		log.OutputComment("[Logged with loadtest "+info.Version+", values in microseconds]"),
		log.OutputLogFormatVersion(),
		log.OutputStartTime(info.Started.UnixMilli()),
		log.OutputLegend(),
	)
}

// microsPerMilli makes the column Interval_Max milliseconds, as it is by convention.
const microsPerMilli = 1000

// Second implements loadtest.Output.
func (h *hdrFiles) Second(s metric.Snapshot) error {
	var err error
	for _, sample := range s.Samples {
		if sample.Hist == nil {
			continue
		}
		total := h.total[sample.Name]
		if total == nil {
			total = hdrhistogram.New(sample.Hist.LowestTrackableValue(), sample.Hist.HighestTrackableValue(), int(sample.Hist.SignificantFigures()))
			h.total[sample.Name] = total
			h.order = append(h.order, sample.Name)
		}
		total.Merge(sample.Hist)
		err = errors.Join(err, h.write(s, sample))
	}
	return err
}

// write writes a line of the log. The library's own divides the maximum by a million, for values in nanoseconds; these are microseconds.
func (h *hdrFiles) write(s metric.Snapshot, sample metric.Sample) error {
	payload, err := sample.Hist.EncodeV2()
	if err != nil {
		return err
	}
	from := s.At.Add(-s.Span).Sub(h.start).Seconds()
	_, err = fmt.Fprintf(h.buf, "Tag=%s,%.3f,%.3f,%.3f,%s\n", tagOf(sample.Name), from, s.Span.Seconds(), float64(sample.Hist.Max())/microsPerMilli, payload)
	return err
}

// tagOf is the name of an entry without what the format does not allow in a tag.
func tagOf(entry string) string {
	return strings.NewReplacer(",", ";", " ", "_", "\n", "_", "\r", "_").Replace(entry)
}

// Stop implements loadtest.Output.
func (h *hdrFiles) Stop(*loadtest.Report) error {
	err := errors.Join(h.buf.Flush(), h.file.Close())
	for _, entry := range h.order {
		err = errors.Join(err, h.writePercentiles(entry))
	}
	if err != nil {
		return fmt.Errorf("--out hdr: %w", err)
	}
	return nil
}

func (h *hdrFiles) writePercentiles(entry string) error {
	safe := strings.NewReplacer("{", "-", "}", "", ":", "-", ",", "-", "/", "-").Replace(entry)
	f, err := os.Create(h.name + "." + safe + ".hgrm")
	if err != nil {
		return err
	}
	return errors.Join(percentiles(f, h.total[entry]), f.Close())
}

// percentiles writes the percentile distribution, in milliseconds.
func percentiles(w io.Writer, h *hdrhistogram.Histogram) error {
	const ticksPerHalf = 5
	buf := bufio.NewWriter(w)
	_, err := h.PercentilesPrint(buf, ticksPerHalf, microsPerMilli)
	return errors.Join(err, buf.Flush())
}
