package remote

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/metric"
)

// fields reads a Protocol Buffers message into its fields, in order. Values are []byte, uint64 (varint) or float64.
func fields(t *testing.T, m []byte) (numbers []uint64, values []any) {
	t.Helper()
	for len(m) > 0 {
		tag, n := binary.Uvarint(m)
		if n <= 0 {
			t.Fatal("no tag")
		}
		m = m[n:]
		numbers = append(numbers, tag>>3)
		switch tag & 7 {
		case 0:
			v, n := binary.Uvarint(m)
			values, m = append(values, v), m[n:]
		case 1:
			values, m = append(values, math.Float64frombits(binary.LittleEndian.Uint64(m))), m[8:]
		case 2:
			size, n := binary.Uvarint(m)
			values, m = append(values, m[n:n+int(size)]), m[n+int(size):]
		default:
			t.Fatalf("wire type %d", tag&7)
		}
	}
	return numbers, values
}

// unsnappy reads Snappy's block format, with literals only.
func unsnappy(t *testing.T, text []byte) (out []byte) {
	t.Helper()
	size, n := binary.Uvarint(text)
	for text = text[n:]; len(text) > 0; {
		if text[0]&3 != 0 {
			t.Fatalf("tag %x is no literal", text[0])
		}
		length, skip := int(text[0]>>2)+1, 1
		if extra := length - 60; extra > 0 {
			length, skip = 1, 1+extra
			for i := range extra {
				length += int(text[1+i]) << (8 * i)
			}
		}
		out = append(out, text[skip:skip+length]...)
		text = text[skip+length:]
	}
	if len(out) != int(size) {
		t.Fatalf("%d bytes, want %d", len(out), size)
	}
	return out
}

// decode reads a request: the value of each series, by its labels.
func decode(t *testing.T, body []byte) (map[string]float64, int64) {
	t.Helper()
	got := make(map[string]float64)
	var millis int64
	_, list := fields(t, unsnappy(t, body))
	for _, one := range list {
		var names []string
		value := math.NaN()
		numbers, parts := fields(t, one.([]byte))
		for i, part := range parts {
			_, inner := fields(t, part.([]byte))
			if numbers[i] == 1 {
				names = append(names, fmt.Sprintf("%s=%s", inner[0], inner[1]))
			} else {
				value, millis = inner[0].(float64), int64(inner[1].(uint64))
			}
		}
		if !slices.IsSorted(names) {
			t.Error("labels are not sorted:", names)
		}
		got[strings.Join(names, ",")] = value
	}
	return got, millis
}

func TestSnappyOfAllSizes(t *testing.T) {
	for _, n := range []int{0, 1, 59, 60, 61, 255, 256, 65535, 65536, 65537, 200_000} {
		text := bytes.Repeat([]byte("abcdefg"), n/7+1)[:n]
		if got := unsnappy(t, appendSnappy(nil, text)); !bytes.Equal(got, text) {
			t.Errorf("%d bytes come back as %d", n, len(got))
		}
	}
}

func start(t *testing.T, url string) *Writer {
	t.Helper()
	w, err := New(url)
	if err != nil {
		t.Fatal(err)
	}
	s := loadtest.NewScenario()
	s.Tags = map[string]string{"commit": "abc", "part": "hidden by the metric's own", "9-x": "y"}
	if err := w.Start(loadtest.Info{Version: "v1", Scenario: s}); err != nil {
		t.Fatal(err)
	}
	return w
}

func snapshot(at time.Time) metric.Snapshot {
	hist := hdrhistogram.New(1, 60_000_000, 3)
	for range 3 {
		_ = hist.RecordValue(2000)
	}
	return metric.Snapshot{At: at, Phase: "steady", Samples: []metric.Sample{
		{Name: "msgs_received", Kind: metric.KindCounter, N: 5},
		{Name: "ws_closed", Kind: metric.KindCounter, N: 2, Parts: map[string]int64{"4001": 2}},
		{Name: "ws_connections", Kind: metric.KindGauge, N: 1, Value: 7},
		{Name: "delivery_ratio", Kind: metric.KindRate, N: 4, Passes: 3},
		{Name: "msg_latency{phase:steady}", Kind: metric.KindTrend, N: 3, Hist: hist},
		{Name: "nothing", Kind: metric.KindGauge},
	}}
}

// TestWrite has a server that refuses at first.
func TestWrite(t *testing.T) {
	var mu sync.Mutex
	var bodies [][]byte
	refuse := 2
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		h := r.Header
		if h.Get("Content-Encoding") != "snappy" || h.Get("Content-Type") != "application/x-protobuf" || h.Get("X-Prometheus-Remote-Write-Version") != "0.1.0" {
			t.Errorf("headers %v", h)
		}
		if refuse--; refuse >= 0 {
			http.Error(w, "later", http.StatusServiceUnavailable)
			return
		}
		bodies = append(bodies, body)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	w := start(t, server.URL)
	at := time.UnixMilli(1_700_000_000_123)
	for i := range 2 {
		if err := w.Second(snapshot(at.Add(time.Duration(i) * time.Second))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Stop(nil); err != nil {
		t.Fatal(err)
	}
	if len(bodies) != 2 {
		t.Fatalf("%d requests", len(bodies))
	}
	got, millis := decode(t, bodies[1])
	if millis != 1_700_000_001_123 {
		t.Error("time", millis)
	}
	for name, want := range map[string]float64{
		"__name__=loadtest_msgs_received_total,commit=abc,part=hidden by the metric's own,tag_9_x=y":                       10,
		"__name__=loadtest_ws_closed_total,commit=abc,part=4001,tag_9_x=y":                                                 4,
		"__name__=loadtest_ws_connections,commit=abc,part=hidden by the metric's own,tag_9_x=y":                            7,
		"__name__=loadtest_delivery_ratio,commit=abc,part=hidden by the metric's own,tag_9_x=y":                            0.75,
		"__name__=loadtest_msg_latency_seconds,commit=abc,part=hidden by the metric's own,phase=steady,stat=p99,tag_9_x=y": 0.002,
		"__name__=loadtest_msg_latency_seconds_count,commit=abc,part=hidden by the metric's own,phase=steady,tag_9_x=y":    6,
		"__name__=loadtest_phase,commit=abc,part=hidden by the metric's own,phase=steady,tag_9_x=y":                        1,
	} {
		if v, ok := got[name]; !ok || math.Abs(v-want) > 0.001*want {
			t.Errorf("%s is %v (%v), want %v", name, v, ok, want)
		}
	}
	if len(got) != 11 {
		t.Errorf("%d series: %v", len(got), got)
	}
}

func TestRefusedIsTold(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "out of order", http.StatusBadRequest)
	}))
	defer server.Close()
	w := start(t, server.URL)
	for range 3 {
		if err := w.Second(snapshot(time.Now())); err != nil {
			t.Fatal(err)
		}
	}
	err := w.Stop(nil)
	if err == nil || !strings.Contains(err.Error(), "3 of 3 requests") || !strings.Contains(err.Error(), "out of order") {
		t.Error(err)
	}
}

// TestQueueIsBounded: what a server that is not there has no time for is dropped, the oldest first, and counted.
func TestQueueIsBounded(t *testing.T) {
	w, err := New("http://127.0.0.1:1/")
	if err != nil {
		t.Fatal(err)
	}
	for range maxQueue + 5 { // before Start: nobody takes them
		if err := w.Second(metric.Snapshot{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.queue) != maxQueue || w.dropped != 5 {
		t.Errorf("%d queued, %d dropped", len(w.queue), w.dropped)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, address := range []string{"", "x", "ftp://a", "http://"} {
		if _, err := New(address); err == nil {
			t.Errorf("%q is taken", address)
		}
	}
}
