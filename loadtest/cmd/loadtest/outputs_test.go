package main

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	bin "encoding/binary"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/faulty"
)

// TestOutputs has one run written in all ways, and compares them with its report.
func TestOutputs(t *testing.T) {
	server, err := faulty.Start("", faulty.Faults{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	file := at("s.yaml")
	if err := os.WriteFile(file, []byte(scenario), 0o644); err != nil {
		t.Fatal(err)
	}
	o := execute(t, "run", file, "-q", "-e", "URL="+server.URL, "-e", "TOKEN=secret", "--tag", "commit=abc", "--json", at("r.json"), "--web", ":0",
		"--target-pid", "me="+strconv.Itoa(os.Getpid()),
		"--out", "html="+at("r.html"), "--out", "csv="+at("r.csv"), "--out", "hdr="+at("r"))
	if !slices.Contains([]int{loadtest.ExitOK, loadtest.ExitInvalid, loadtest.ExitUnsure}, o.exit) { // a busy machine makes the generator the limit
		t.Fatalf("exit %d: %s%s", o.exit, o.stdout, o.stderr)
	}
	decodeFile(t, at("r.json"), &o.report)
	received := o.report.Metrics["msgs_received"].Values["count"]
	if received < 100 || o.report.Metrics["server_rss"].Type != "gauge" {
		t.Fatalf("%v deliveries, %v", received, o.report.Metrics["server_rss"])
	}

	html := readFile(t, at("r.html"))
	for _, want := range []string{"Evidence", "TOKEN=…", "--target-pid", "commit"} {
		if !strings.Contains(html, want) {
			t.Errorf("the report does not have %q", want)
		}
	}
	if strings.Contains(html, "secret") || strings.Contains(html, "http://") || strings.Contains(html, "https://") {
		t.Error("the report has a secret or a link")
	}

	rows, err := csv.NewReader(strings.NewReader(readFile(t, at("r.csv")))).ReadAll()
	if err != nil || strings.Join(rows[0], ",") != "metric_name,timestamp,metric_value,phase,stat,extra_tags" {
		t.Fatal(err, rows[:1])
	}
	sum := 0.0
	for _, row := range rows[1:] {
		value, err := strconv.ParseFloat(row[2], 64)
		if err != nil || !strings.Contains(row[5], "commit=abc") {
			t.Fatal(err, row)
		}
		if row[0] == "msgs_received" {
			sum += value
		}
	}
	if sum != received {
		t.Errorf("csv has %v deliveries, want %v", sum, received)
	}

	checkHistogramLog(t, readFile(t, at("r.hlog")), "msg_latency", int64(o.report.Metrics["msg_latency"].Values["count"]))
	checkPercentiles(t, readFile(t, at("r.msg_latency.hgrm")), int64(o.report.Metrics["msg_latency"].Values["count"]), o.report.Metrics["msg_latency"].Values["max"])
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// checkHistogramLog reads a log as its format (version 1.3) says, without the library that wrote it.
func checkHistogramLog(t *testing.T, log, tag string, want int64) {
	t.Helper()
	if !strings.Contains(log, "#[Histogram log format version 1.3]\n") || !strings.Contains(log, "#[StartTime: ") ||
		!strings.Contains(log, `"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"`) {
		t.Error("the head of the log:", log[:min(len(log), 400)])
	}
	var total int64
	before := 0.0
	for line := range strings.Lines(log) {
		rest, ok := strings.CutPrefix(line, "Tag="+tag+",")
		if !ok {
			continue
		}
		fields := strings.SplitN(strings.TrimSpace(rest), ",", 4)
		from, _ := strconv.ParseFloat(fields[0], 64)
		length, _ := strconv.ParseFloat(fields[1], 64)
		highest, _ := strconv.ParseFloat(fields[2], 64)
		counts, top, err := decodeHistogram(fields[3])
		if err != nil {
			t.Fatal(err)
		}
		if from < before-0.002 || length <= 0 || highest*1000 < float64(top)*0.998 || highest*1000 > float64(top)*1.002+1 {
			t.Errorf("from %v for %v, up to %v ms; the histogram's highest is %d us", from, length, highest, top)
		}
		before = from + length
		total += counts
	}
	if total != want {
		t.Errorf("the log has %d values of %s, want %d", total, tag, want)
	}
}

// decodeHistogram reads the compressed V2 encoding: how many values there are, and the lowest value of the last bucket.
func decodeHistogram(text string) (values, top int64, err error) {
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return 0, 0, err
	}
	if cookie := bin.BigEndian.Uint32(packed); cookie != 0x1c849314 || int(bin.BigEndian.Uint32(packed[4:])) != len(packed)-8 {
		return 0, 0, fmt.Errorf("cookie %x", cookie)
	}
	z, err := zlib.NewReader(bytes.NewReader(packed[8:]))
	if err != nil {
		return 0, 0, err
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		return 0, 0, err
	}
	head := plain[:40]
	if cookie := bin.BigEndian.Uint32(head); cookie != 0x1c849313 || int(bin.BigEndian.Uint32(head[4:])) != len(plain)-40 {
		return 0, 0, fmt.Errorf("cookie %x", cookie)
	}
	if digits, lowest := bin.BigEndian.Uint32(head[12:]), bin.BigEndian.Uint64(head[16:]); digits != 3 || lowest != 1 {
		return 0, 0, fmt.Errorf("%d digits, from %d", digits, lowest)
	}
	index := 0
	for rest := plain[40:]; len(rest) > 0; {
		var u uint64 // LEB128 in at most 9 bytes, the last of which has 8 bits
		for i := 0; ; i++ {
			b := rest[0]
			rest = rest[1:]
			if i == 8 {
				u |= uint64(b) << 56
				break
			}
			u |= uint64(b&0x7f) << (7 * i)
			if b < 0x80 {
				break
			}
		}
		n := int64(u>>1) ^ -int64(u&1) // ZigZag
		if n < 0 {
			index += int(-n) // so many empty buckets
			continue
		}
		if n > 0 {
			values += n
			top = int64(index)
			if index >= 2048 {
				top = int64(index%1024+1024) << (index/1024 - 1)
			}
		}
		index++
	}
	return values, top, nil
}

// checkPercentiles reads a percentile distribution: rising, up to all values and the highest.
func checkPercentiles(t *testing.T, text string, count int64, highest float64) {
	t.Helper()
	lines := strings.Split(text, "\n")
	if strings.Join(strings.Fields(lines[0]), " ") != "Value Percentile TotalCount 1/(1-Percentile)" {
		t.Error("the head:", lines[0])
	}
	value, share, n := 0.0, 0.0, int64(0)
	for _, line := range lines[1:] {
		f := strings.Fields(line)
		if len(f) != 4 || strings.HasPrefix(line, "#") {
			continue
		}
		v, err1 := strconv.ParseFloat(f[0], 64)
		p, err2 := strconv.ParseFloat(f[1], 64)
		c, err3 := strconv.ParseInt(f[2], 10, 64)
		if err1 != nil || err2 != nil || err3 != nil || v < value || p < share || c < n {
			t.Fatalf("%q after %v at %v", line, value, share)
		}
		value, share, n = v, p, c
	}
	if share != 1 || n != count || value < highest*0.998 || value > highest*1.002 {
		t.Errorf("it ends with %v at %v, %d values; want %v, %d", value, share, n, highest, count)
	}
	if !strings.Contains(text, "#[Mean ") || !strings.Contains(text, "Total count") {
		t.Error("the foot is missing")
	}
}

func TestOutputsRefuse(t *testing.T) {
	for _, spec := range []string{"html", "csv", "hdr", "json", "prometheus-rw", "prometheus-rw=ftp://a/", "prometheus-rw=http://", "xml=a", "csv=/no/such/directory/a"} {
		if _, err := newOutput(spec); err == nil {
			t.Errorf("--out %s has no error", spec)
		}
	}
}
