// Package target watches the server while a run goes on, so that what it cost stands beside what it did.
//
//	/metrics (Prometheus text) ─┐
//	/proc/PID                  ─┼─ each second, a goroutine each ─▶ readings ─ Take ─▶ samples of server_ metrics
//	Redis INFO                 ─┘
//
// Counters become rates from one reading to the next; a counter that went down (a restart) makes a hole, not a spike. What several
// targets have adds up, and is only said while all of them answer. Histograms become trends: each value counts as the upper end of its bucket.
//
// A target that does not answer costs readings, never the run: server_unread counts them.
package target

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/unit"
)

// Config is what to watch. Each target may have a name in front, NAME=…, to be told apart by.
type Config struct {
	Metrics []string          // http or https URLs
	PIDs    []string          // processes of this machine
	Redis   []string          // redis or rediss URLs
	Read    map[string]string // more of the metrics: server_NAME, and what it is read from
}

// Empty says whether nothing is watched.
func (c Config) Empty() bool { return len(c.Metrics)+len(c.PIDs)+len(c.Redis) == 0 }

// named parts NAME=REST; the name is otherwise what the caller makes of it.
func named(text string) (name, rest string) {
	name, rest, ok := strings.Cut(text, "=")
	if ok && regexp.MustCompile(`^[0-9a-zA-Z_.-]+$`).MatchString(name) {
		return name, rest
	}
	return "", text
}

// Validate reports all faults, a line each.
func (c Config) Validate() error {
	_, faults := c.wants()
	seen := map[string]bool{}
	check := func(kind, text string, parse func(string) (string, error)) {
		name, rest := named(text)
		own, err := parse(rest)
		if err != nil {
			faults = append(faults, fmt.Errorf("target.%s: %w", kind, err))
			return
		}
		if name == "" {
			name = own
		}
		if seen[kind+name] {
			faults = append(faults, fmt.Errorf("target.%s: %s is there twice; give them names: NAME=…", kind, name))
		}
		seen[kind+name] = true
	}
	for _, m := range c.Metrics {
		check("metrics", m, func(s string) (string, error) { return host(s, "http", "https") })
	}
	for _, p := range c.PIDs {
		check("pids", p, func(s string) (string, error) { _, err := pid(s); return "pid-" + s, err })
	}
	for _, r := range c.Redis {
		check("redis", r, func(s string) (string, error) { return host(s, "redis", "rediss") })
	}
	return errors.Join(faults...)
}

func pid(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is no process id", text)
	}
	return n, nil
}

// host checks a URL's scheme and returns its host and port, which is the name of a target without one.
func host(text string, schemes ...string) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", fmt.Errorf("it is no URL such as %s://HOST:PORT", schemes[0]) // the error would show a password
	}
	for _, s := range schemes {
		if u.Scheme == s && u.Host != "" {
			return u.Host, nil
		}
	}
	return "", fmt.Errorf("%q is not %s://HOST:PORT/…", u.Redacted(), schemes[0])
}

// Set makes the metrics of a valid configuration, empty. The total and each part of it are in the same order in every set.
func (c Config) Set() metric.Set {
	set, _ := c.set()
	return set
}

// set also gives the wants, which are the first entries, one by one.
func (c Config) set() (metric.Set, []want) {
	wants, _ := c.wants()
	var set metric.Set
	for _, w := range wants {
		set = append(set, metric.Entry{Name: w.entry, Group: Group, Unit: w.unit, Help: w.help, Metric: w.metric()})
	}
	for _, name := range c.parts() {
		for _, w := range wants[:2] {
			set = append(set, metric.Entry{Name: w.entry + "{target:" + name + "}", Group: Group, Unit: w.unit, Help: w.help, Metric: w.metric()})
		}
	}
	return append(set, metric.Entry{Name: unread, Group: Group, Unit: unit.Number, Help: "readings of the server that failed, by target", Metric: metric.NewTagged("target")}), wants
}

const unread = "server_unread"

// parts are the targets that CPU and memory are told apart by: those that have them, when there are several.
func (c Config) parts() (names []string) {
	from := c.Metrics
	if len(c.PIDs) > 0 {
		from = c.PIDs
	}
	if len(from) < 2 {
		return nil
	}
	for _, text := range from {
		name, rest := named(text)
		switch {
		case name != "":
		case len(c.PIDs) > 0:
			name = "pid-" + rest
		default:
			name, _ = host(rest, "http", "https")
		}
		names = append(names, name)
	}
	return names
}
