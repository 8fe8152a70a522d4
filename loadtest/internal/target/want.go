package target

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/unit"
)

// Group is the heading of server metrics in summaries.
const Group = "SERVER"

// mode says what becomes of the lines that are wanted.
type mode uint8

const (
	sum       mode = iota // of their values
	rate                  // growth of their sum per second
	histogram             // seconds, by le or vmrange
)

// want is a metric of the run and where it comes from.
type want struct {
	entry string
	unit  string
	help  string
	from  line // name and labels; the name is empty where it comes from elsewhere
	mode  mode
}

// builtin are the metrics that every run has, watched or not.
func builtin() []want {
	text := func(entry, u, name string, m mode, help string) want {
		return want{entry, u, help, line{name: name}, m}
	}
	return []want{
		text("server_cpu", unit.Cores, "process_cpu_seconds_total", rate, "CPU time of the server per time, in cores: of the watched processes, else process_cpu_seconds_total"),
		text("server_rss", unit.Bytes, "process_resident_memory_bytes", sum, "resident memory of the server: of the watched processes, else process_resident_memory_bytes"),
		text("server_connections", unit.Number, "millrace_connections", sum, "connections as the server counts them: millrace_connections"),
		text("server_deliveries", unit.PerSecond, "millrace_deliveries_total", rate, "deliveries per second as the server counts them: millrace_deliveries_total"),
		text("server_publications", unit.PerSecond, "millrace_publications_total", rate, "publications per second as the server counts them: millrace_publications_total"),
		text("server_outbox", unit.Bytes, "millrace_outbox_bytes", sum, "bytes that wait for clients that do not read fast enough: millrace_outbox_bytes"),
		text("server_goroutines", unit.Number, "go_goroutines", sum, "goroutines: go_goroutines"),
		text("server_open_files", unit.Number, "process_open_fds", sum, "open descriptors: process_open_fds"),
		text("server_append", "", "millrace_stream_append_seconds", histogram, "stage from the gateway's having a command to Redis's having it: millrace_stream_append_seconds"),
		text("server_read_lag", "", "millrace_stream_lag_seconds", histogram, "stage from Redis's having an entry to the gateway's reading it: millrace_stream_lag_seconds"),
		text("server_delivery", "", "millrace_delivery_seconds", histogram, "stage from the gateway's reading a publication to its having sent it to all: millrace_delivery_seconds"),
		text("server_backend_lag", "", "millrace_backend_lag_seconds", histogram, "stage from the gateway's writing to the backend's reading: millrace_backend_lag_seconds"),
		text("server_handler", "", "millrace_backend_handler_seconds", histogram, "stage in the backend's handler: millrace_backend_handler_seconds"),
		text("server_redis_cpu", unit.Cores, "", rate, "CPU time of Redis per time, in cores: used_cpu_user and used_cpu_sys"),
		text("server_redis_memory", unit.Bytes, "", sum, "memory that Redis uses: used_memory"),
		text("server_redis_commands", unit.PerSecond, "", rate, "commands that Redis carries out per second: total_commands_processed"),
		text("server_redis_clients", unit.Number, "", sum, "connections to Redis: connected_clients"),
		text("server_redis_received", unit.BytesRate, "", rate, "bytes per second to Redis: total_net_input_bytes"),
		text("server_redis_sent", unit.BytesRate, "", rate, "bytes per second from Redis: total_net_output_bytes"),
	}
}

// parseRead reads what a metric of the user's own is read from: NAME, NAME{label="value"}, or histogram(NAME).
func parseRead(entry, from string) (want, error) {
	w := want{entry: entry, help: "read from " + from}
	if !regexp.MustCompile(`^server_[a-z0-9_]+$`).MatchString(entry) {
		return w, fmt.Errorf("target.read: %q: the name of a server's metric is server_ and lower-case letters, digits and _", entry)
	}
	text := strings.TrimSpace(from)
	if inner, ok := strings.CutPrefix(text, "histogram("); ok && strings.HasSuffix(inner, ")") {
		w.mode, text = histogram, strings.TrimSuffix(inner, ")")
	}
	var rest string
	var err error
	w.from, rest, err = parseSeries(text)
	if err != nil || strings.TrimSpace(rest) != "" {
		return w, fmt.Errorf(`target.read: %s: %q is neither NAME nor NAME{label="value"} nor histogram(NAME)`, entry, from)
	}
	switch {
	case w.mode == histogram:
	case strings.HasSuffix(w.from.name, "_total"):
		w.mode, w.unit = rate, unit.PerSecond
	case strings.HasSuffix(w.from.name, "_bytes"):
		w.unit = unit.Bytes
	default:
		w.unit = unit.Number
	}
	return w, nil
}

// matches says whether a line has all labels that are wanted; the name was looked up.
func (w want) matches(l line) bool {
	for _, x := range w.from.labels {
		if v, ok := l.label(x.name); !ok || v != x.value {
			return false
		}
	}
	return true
}

// metric makes the metric that a want is kept in.
func (w want) metric() metric.Metric {
	if w.mode == histogram {
		return metric.NewTrend()
	}
	return &metric.Gauge{Sums: true}
}

// wants are the built-in metrics and those of the configuration, which go before built-in ones of the same name.
func (c Config) wants() (list []want, faults []error) {
	list = builtin()
	names := make([]string, 0, len(c.Read))
	for name := range c.Read {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		w, err := parseRead(name, c.Read[name])
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if i := slices.IndexFunc(list, func(b want) bool { return b.entry == name }); i >= 0 {
			if list[i].from.name == "" || (list[i].mode == histogram) != (w.mode == histogram) {
				faults = append(faults, fmt.Errorf("target.read: %s is not read from metrics, or is of another kind; choose another name", name))
				continue
			}
			w.unit = list[i].unit
			list[i] = w
			continue
		}
		list = append(list, w)
	}
	return list, faults
}
