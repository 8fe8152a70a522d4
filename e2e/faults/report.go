package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/millracehq/millrace/e2e/faults/internal/check"
	"github.com/millracehq/millrace/e2e/faults/internal/plan"
	"github.com/millracehq/millrace/e2e/faults/internal/traffic"
)

// report is the verdict about all modes.
type report struct {
	Seed  uint64    `json:"seed"`
	Again string    `json:"again"` // the command that runs the same plan
	Clean bool      `json:"clean"`
	Dir   string    `json:"dir,omitempty"` // with the logs, if it was kept
	Runs  []*result `json:"runs"`
}

// result is the verdict about one mode.
type result struct {
	Mode      plan.Mode         `json:"mode"`
	Seconds   float64           `json:"seconds"` // of load
	Planned   int               `json:"faults_planned"`
	Faults    map[plan.Kind]int `json:"faults"`
	Skipped   int               `json:"faults_left_out"`
	Restarts  int               `json:"restarts"`
	Deaths    int               `json:"deaths"`              // that nobody asked for
	Unsettled string            `json:"unsettled,omitempty"` // what had not arrived when all was well again

	Silence        float64 `json:"longest_silence_s"`
	SilenceOutside float64 `json:"longest_silence_outside_faults_s"`
	SlowestAck     float64 `json:"slowest_acknowledgement_s"`

	Sends        int64 `json:"sends"`
	Connections  int64 `json:"connections"`
	Byes         int64 `json:"byes"`
	Revoked      int64 `json:"revoked"`
	Asked        int64 `json:"requests"`
	Answered     int64 `json:"requests_answered"`
	WrongAnswers int64 `json:"requests_answered_wrongly"`
	Odd          int64 `json:"frames_out_of_place"`

	Verdict *check.Verdict `json:"verdict"`
}

func (r *result) count(c *traffic.Counts) {
	r.Sends, r.Connections, r.Byes, r.Revoked = c.Sends.Load(), c.Connections.Load(), c.Byes.Load(), c.Revoked.Load()
	r.Asked, r.Answered, r.WrongAnswers, r.Odd = c.Asked.Load(), c.Answered.Load(), c.WrongAnswers.Load(), c.Odd.Load()
}

// clean reports whether every promise was kept and everything arrived.
func (r *result) clean() bool {
	return r.Verdict.Clean() && r.Unsettled == "" && r.WrongAnswers == 0 && r.Odd == 0
}

func (rep *report) write(w io.Writer) {
	for _, r := range rep.Runs {
		r.write(w, rep.Seed)
	}
	if rep.Dir != "" {
		fmt.Fprintf(w, "\nLogs, events and all examples: %s\n", rep.Dir)
	}
	fmt.Fprintf(w, "The same plan again: %s\n", rep.Again)
	if rep.Clean {
		fmt.Fprintln(w, "Every promise was kept.")
	} else {
		fmt.Fprintln(w, "A promise was broken.")
	}
}

func (r *result) write(w io.Writer, seed uint64) {
	v := r.Verdict
	fmt.Fprintf(w, "\nRedis %s, seed %d, %.0f s of load\n\n", r.Mode, seed, r.Seconds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("faults", "%s", r.faults())
	row("restarts", "%d, and %d deaths that nobody asked for", r.Restarts, r.Deaths)
	row("published", "%d", v.Published)
	row("acknowledged", "%d, slowest after %.1f s", v.Acknowledged, r.SlowestAck)
	row("sent again", "%d publications, %d times", v.Repeated, r.Sends-int64(v.Published))
	row("requests", "%d asked, %d answered", r.Asked, r.Answered)
	row("stream entries", "%d, %d of them repeated by the publisher; %d more taken back by a failover or restart", v.Entries, v.Copies, v.Gone)
	row("delivered", "%d over %d connections", v.Deliveries, r.Connections)
	row("longest silence", "%.1f s; outside of faults %.1f s", r.Silence, r.SilenceOutside)
	row("gaps", "%d, %d of them unneeded", v.Gaps, v.Unneeded)
	_ = t.Flush()
	fmt.Fprintln(w)
	for _, kind := range check.Violations() {
		row(string(kind), "%s", bad(v.Violations[kind]))
	}
	row("wrong answers", "%s", bad(int(r.WrongAnswers)))
	row("frames out of place", "%s", bad(int(r.Odd)))
	if r.Unsettled != "" {
		row("DID NOT SETTLE", "%s", r.Unsettled)
	}
	_ = t.Flush()
	r.writeExamples(w)
}

func bad(n int) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%d  BROKEN", n)
}

// faults is how many of which kind.
func (r *result) faults() string {
	total := 0
	var kinds []string
	for _, k := range slices.Sorted(maps.Keys(r.Faults)) {
		total += r.Faults[k]
		kinds = append(kinds, fmt.Sprintf("%s %d", k, r.Faults[k]))
	}
	text := fmt.Sprintf("%d of %d: %s", total, r.Planned, strings.Join(kinds, ", "))
	if r.Skipped > 0 {
		text += fmt.Sprintf("; %d left out", r.Skipped)
	}
	return text
}

// writeExamples shows two of each violation; the rest is in the JSON.
func (r *result) writeExamples(w io.Writer) {
	shown := map[check.Violation]int{}
	for _, f := range r.Verdict.Findings {
		if shown[f.Violation]++; shown[f.Violation] > 2 {
			continue
		}
		where := "in the stream"
		if f.Subscriber > 0 {
			where = fmt.Sprintf("subscriber %d", f.Subscriber)
		}
		fmt.Fprintf(w, "\n  %s: %s n=%d entry=%s, %s: %s\n    sent %s (%d times), acknowledged %s, seen %s\n",
			f.Violation, f.Channel, f.N, f.ID, where, f.Text, seconds(f.Sent), f.Sends, seconds(f.Acked), seconds(f.At))
		for _, fault := range f.Faults[max(0, len(f.Faults)-4):] {
			fmt.Fprintf(w, "    during %s\n", fault)
		}
	}
}

func seconds(ms int32) string {
	if ms == check.None {
		return "never"
	}
	return fmt.Sprintf("%.2fs", float64(ms)/1000)
}

func writeJSON(file string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
