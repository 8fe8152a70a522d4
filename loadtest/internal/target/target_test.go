package target

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millracehq/millrace/internal/redistest"
	"github.com/millracehq/millrace/loadtest/internal/metric"
)

func TestParseText(t *testing.T) {
	const text = "# HELP a what\n# TYPE a counter\na 1\n\n  b{x=\"1\",y=\"two \\\"2\\\"\\n\\\\\"} 2.5 1700000000000\nc:d{} +Inf\n" +
		"e{z=\"}\",} 3 # {trace=\"x\"} 1\nf{le=\"0.5\"}7\n"
	var got []line
	if err := parseText(strings.NewReader(text), func(l line) { got = append(got, l) }); err != nil {
		t.Fatal(err)
	}
	want := []line{
		{"a", nil, 1},
		{"b", []label{{"x", "1"}, {"y", "two \"2\"\n\\"}}, 2.5},
		{"c:d", nil, math.Inf(1)},
		{"e", []label{{"z", "}"}}, 3},
		{"f", []label{{"le", "0.5"}}, 7},
	}
	if len(got) != len(want) {
		t.Fatalf("%d lines: %+v", len(got), got)
	}
	for i := range want {
		if got[i].name != want[i].name || got[i].value != want[i].value || !slices.Equal(got[i].labels, want[i].labels) {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
	for _, bad := range []string{"a", "a x", "1a 2", "{x=\"1\"} 2", "a{x=1} 2", "a{x=\"1} 2", "a{x} 1", "a{x=\"1\"", "a{=\"1\"} 2"} {
		if err := parseText(strings.NewReader("ok 1\n"+bad), func(line) {}); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: error %v", bad, err)
		}
	}
}

// FuzzParseLine: what was read, written again in the simplest way, reads the same.
func FuzzParseLine(f *testing.F) {
	f.Add(`a{x="1",y="\"\\\n"} 2.5 17`)
	f.Add("a 1")
	f.Add(`a{,} NaN`)
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseLine(text)
		if err != nil {
			return
		}
		again := l.name + "{"
		for _, x := range l.labels {
			again += x.name + `="` + escape.Replace(x.value) + `",`
		}
		again += "} " + strconv.FormatFloat(l.value, 'g', -1, 64)
		b, err := parseLine(again)
		if err != nil {
			t.Fatalf("%q, from %q: %v", again, text, err)
		}
		if b.name != l.name || !slices.Equal(b.labels, l.labels) || b.value != l.value && !math.IsNaN(l.value) {
			t.Errorf("%q reads %+v, and %q reads %+v", text, l, again, b)
		}
	})
}

func TestBuckets(t *testing.T) {
	read := func(text string) map[float64]int64 {
		c := &ladder{le: map[float64]float64{}, ranges: map[float64]int64{}}
		if err := parseText(strings.NewReader(text), c.add); err != nil {
			t.Fatal(err)
		}
		return c.buckets()
	}
	for text, want := range map[string]map[float64]int64{
		"h{le=\"0.1\"} 2\nh{le=\"0.5\"} 5\nh{le=\"+Inf\"} 6":                                           {0.1: 2, 0.5: 3, 1: 1},
		"h{le=\"0.1\",n=\"a\"} 2\nh{le=\"0.1\",n=\"b\"} 1\nh{le=\"+Inf\",n=\"a\"} 2":                   {0.1: 3, 0.2: 0},
		"h{vmrange=\"0...1.0e-09\"} 1\nh{vmrange=\"1.0e-1...2.0e-1\"} 4\nh{vmrange=\"1e18...+Inf\"} 1": {1e-9: 1, 0.2: 4, 0.4: 1},
		"h{le=\"x\"} 1\nh{le=\"0.1\"} NaN\nh{le=\"0.1\"} -4\nh 5":                                      {},
	} {
		got := read(text)
		for top, n := range want {
			if got[top] != n {
				t.Errorf("%s: %v, want %v", text, got, want)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func TestParseStat(t *testing.T) {
	stat := "42 (a ) (b) S 1 42 42 0 -1 4194560 100 0 0 0 120 30 0 0 20 0 5 0 987654 1000 200 18446744073709551615"
	if ticks, start, err := parseStat([]byte(stat)); err != nil || ticks != 150 || start != "987654" {
		t.Error(ticks, start, err)
	}
	for _, bad := range []string{"", "42 (a) S 1", strings.Replace(stat, "120", "x", 1), strings.Replace(stat, " 30 ", " y ", 1)} {
		if _, _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q has no error", bad)
		}
	}
}

func TestReadAnswer(t *testing.T) {
	for text, want := range map[string]string{
		"+OK\r\n": "OK", "$3\r\nabc\r\n": "abc", "$0\r\n\r\n": "",
		"-ERR no\r\n": "error", "$-1\r\n": "error", "$99999999999\r\n": "error", "$5\r\nabc": "error", "*1\r\n": "error", "\r\n": "error", "": "error",
	} {
		got, err := readAnswer(bufio.NewReader(strings.NewReader(text)))
		if (err != nil) != (want == "error") || err == nil && got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func FuzzReadAnswer(f *testing.F) {
	f.Add("$3\r\nabc\r\n")
	f.Add("-ERR\r\n")
	f.Fuzz(func(_ *testing.T, text string) {
		if info, err := readAnswer(bufio.NewReader(strings.NewReader(text))); err == nil {
			_, _ = parseInfo(info)
		}
	})
}

func TestValidateTellsAll(t *testing.T) {
	err := Config{
		Metrics: []string{"ftp://a/", "http://same:1/a", "http://same:1/b"}, PIDs: []string{"x", "a=0"}, Redis: []string{"127.0.0.1:6379", "redis://u:secret@\x7f"},
		Read: map[string]string{"cpu": "a", "server_a": "a b", "server_redis_cpu": "x", "server_cpu": "histogram(x)"},
	}.Validate()
	if err == nil {
		t.Fatal("it is valid")
	}
	for _, want := range []string{"ftp", "same:1 is there twice", `"x" is no process id`, `"0" is no process id`, "no URL such as redis://HOST", `"cpu"`, "server_a", "server_redis_cpu", "server_cpu"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the fault of %q is not told:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Error("a password is told:", err)
	}
	good := Config{
		Metrics: []string{"http://a:1/m?x=1", "b=https://a:1/m"}, PIDs: []string{"1", "b=2"}, Redis: []string{"rediss://u:p@h"},
		Read: map[string]string{"server_connections": `conns{kind="ws"}`, "server_x": "histogram(h)", "server_y": "y_total"},
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	names := good.Set().Names()
	for _, want := range []string{"server_cpu{target:pid-1}", "server_rss{target:b}", "server_x", "server_unread"} {
		if !slices.Contains(names, want) {
			t.Errorf("no metric %s in %v", want, names)
		}
	}
}

// until takes readings until one satisfies.
func until(t *testing.T, w *Watch, enough func(map[string]metric.Sample) bool) map[string]metric.Sample {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for ; time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		samples := make(map[string]metric.Sample)
		for _, s := range w.Take() {
			samples[s.Name] = s
		}
		if enough(samples) {
			return samples
		}
	}
	t.Fatal("it has not come in 60 s")
	return nil
}

// TestWatch has two pages, of which one falls silent.
func TestWatch(t *testing.T) {
	t.Parallel()
	var scrapes atomic.Int64
	page := func(w http.ResponseWriter, _ *http.Request) {
		n := scrapes.Add(1)
		fmt.Fprintf(w, "millrace_connections 5\nprocess_resident_memory_bytes 1000\nprocess_cpu_seconds_total %d\nx_total{k=\"a\"} %d\nx_total{k=\"b\"} 9\n", n, 1000*n)
		fmt.Fprintf(w, "millrace_backend_lag_seconds_bucket{le=\"0.01\"} %d\nmillrace_backend_lag_seconds_bucket{le=\"+Inf\"} %d\n", 10*n, 10*n)
	}
	one := httptest.NewServer(http.HandlerFunc(page))
	defer one.Close()
	var silent atomic.Bool
	two := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if silent.Load() {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		page(w, r)
	}))
	defer two.Close()
	c := Config{Metrics: []string{"a=" + one.URL, "b=" + two.URL}, Read: map[string]string{"server_x": `x_total{k="a"}`}}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	w, err := Start(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	got := until(t, w, func(m map[string]metric.Sample) bool {
		return m["server_connections"].Value == 10 && m["server_x"].N > 0 && m["server_backend_lag"].N > 0 && m["server_cpu"].N > 0
	})
	if got["server_rss"].Value != 2000 || got["server_x"].Value <= 0 || got["server_cpu"].Value <= 0 {
		t.Errorf("%+v", got)
	}
	if hist := got["server_backend_lag"].Hist; hist.Max()/1000 != 10 && hist.Max()/1000 != 9 {
		t.Errorf("a lag of up to %d us, want 10 ms", hist.Max())
	}
	if p := until(t, w, func(m map[string]metric.Sample) bool { return m["server_rss{target:b}"].N > 0 })["server_rss{target:b}"]; p.Value != 1000 {
		t.Errorf("%+v", p)
	}
	silent.Store(true)
	got = until(t, w, func(m map[string]metric.Sample) bool { return m["server_unread"].Parts["b"] > 0 })
	if got["server_unread"].Parts["a"] != 0 {
		t.Errorf("%+v", got["server_unread"])
	}
	// Once the last reading of b is stale, there is no total, but a's own.
	until(t, w, func(m map[string]metric.Sample) bool {
		return m["server_rss"].N == 0 && m["server_rss{target:a}"].N > 0
	})
}

func TestWatchRedisAndProcess(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "process_resident_memory_bytes 1")
	}))
	defer page.Close()
	me := strconv.Itoa(os.Getpid())
	c := Config{Redis: []string{"r=redis://" + redis.Addr()}, PIDs: []string{"a=" + me, "b=" + me}, Metrics: []string{"a=" + page.URL}}
	w, err := Start(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	part := until(t, w, func(m map[string]metric.Sample) bool { return m["server_rss{target:a}"].N > 0 })["server_rss{target:a}"]
	if part.Value < 1_000_000 {
		t.Errorf("%+v is not the process's", part)
	}
	got := until(t, w, func(m map[string]metric.Sample) bool {
		return m["server_redis_commands"].N > 0 && m["server_cpu"].N > 0
	})
	if got["server_redis_memory"].Value < 100_000 || got["server_redis_clients"].Value < 1 || got["server_rss"].Value < 1_000_000 || got["server_redis_sent"].Value <= 0 {
		t.Errorf("%+v", got)
	}
}

func TestStartTellsAllThatIsNotThere(t *testing.T) {
	c := Config{Metrics: []string{"m=http://127.0.0.1:1/"}, Redis: []string{"r=redis://127.0.0.1:1"}, PIDs: []string{"p=4194305"}} // above the largest id
	_, err := Start(context.Background(), c, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Fatal("it starts")
	}
	for _, want := range []string{"target m:", "target r:", "target p: there is no such process"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told: %v", want, err)
		}
	}
}

// TestCounterThatBeganAnew makes a hole, not a spike.
func TestCounterThatBeganAnew(t *testing.T) {
	w := &Watch{names: []string{"a"}, last: map[key]value{}}
	w.set, w.wants = Config{}.set()
	at := time.Now()
	cpu := func(before, after float64) []metric.Sample {
		w.enter(0, readings{values: map[string]float64{"server_cpu": before}}, readings{values: map[string]float64{"server_cpu": after}}, time.Second, at)
		return w.Take()
	}
	if s := cpu(5, 7)[0]; s.N != 1 || s.Value != 2 {
		t.Errorf("%+v", s)
	}
	if s := cpu(7, 1)[0]; s.N != 0 {
		t.Errorf("%+v", s)
	}
}
