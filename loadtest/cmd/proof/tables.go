package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
)

// label is the width of the first column.
const label = 46

// table writes lines of a name and a cell for each of list.
func table[T any](w io.Writer, list []T) func(name string, cell func(T) string) {
	return func(name string, cell func(T) string) {
		fmt.Fprintf(w, "  %-*s", label, name)
		for _, t := range list {
			fmt.Fprintf(w, " %16s", cell(t))
		}
		fmt.Fprintln(w)
	}
}

func milliseconds(v float64) string { return fmt.Sprintf("%.2f ms", v) }

func percent(share float64) string { return fmt.Sprintf("%.0f %%", share*100) }

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// writeConditions writes what is to be known beside any figures.
func writeConditions[T any](w io.Writer, list []T, of func(T) conditions) {
	row := table(w, list)
	row("CPU that other programs used meanwhile", func(t T) string { return percent(of(t).Others) })
	row("CPU that the hypervisor took meanwhile", func(t T) string { return percent(of(t).Steal) })
	row("verdict on the run", func(t T) string { return of(t).Verdict })
	var said []string
	for _, t := range list {
		for _, reason := range of(t).Reasons {
			if !slices.Contains(said, reason) {
				said = append(said, reason)
				fmt.Fprintf(w, "    %s\n", reason)
			}
		}
	}
}

func writeStorms(w io.Writer, list []*storm) {
	all := list[len(list)-1]
	fmt.Fprintf(w, "\nReconnect storm: all subscribers reset at one moment; %s of calm before it, %s after it\n", all.Window, all.Window)
	row := table(w, list)
	row("connections cut", func(s *storm) string { return fmt.Sprint(s.Connections) })
	row("connections back and subscribed", func(s *storm) string { return fmt.Sprintf("%.0f", s.Back["count"]) })
	for name, p := range percentiles() {
		row("  "+name+" after", func(s *storm) string { return milliseconds(s.Back[p]) })
	}
	row("connections that caught up", func(s *storm) string { return fmt.Sprintf("%.0f", s.CaughtUp["count"]) })
	for name, p := range percentiles() {
		row("  "+name+" after", func(s *storm) string { return milliseconds(s.CaughtUp[p]) })
	}
	row("connects that failed", func(s *storm) string { return parts(s.Failed) })
	row("deliveries expected", func(s *storm) string { return fmt.Sprint(s.Expected) })
	row("lost, duplicated, reordered", func(s *storm) string { return fmt.Sprintf("%d, %d, %d", s.Lost, s.Duplicate, s.Reordered) })
	row("gaps, deliveries announced as missing", func(s *storm) string { return fmt.Sprintf("%d, %d", s.Gaps, s.Announced) })
	names := make(calls)
	for _, s := range list {
		maps.Copy(names, s.Calm)
		maps.Copy(names, s.Storm)
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		row("Redis "+name+", before and after the cut", func(s *storm) string { return fmt.Sprintf("%d, %d", s.Calm[name], s.Storm[name]) })
	}
	row("Redis commands beyond those before it", func(s *storm) string { return fmt.Sprint(s.Extra) })
	row("  per connection", func(s *storm) string { return fmt.Sprintf("%.4f", float64(s.Extra)/float64(max(s.Connections, 1))) })
	writeConditions(w, list, func(s *storm) conditions { return s.conditions })
}

// percentiles are the points of a storm, in order.
func percentiles() func(yield func(name, percentile string) bool) {
	return func(yield func(string, string) bool) {
		_ = yield("50 %", "med") && yield("99 %", "p(99)") && yield("100 %", "max")
	}
}

func writeSlow(w io.Writer, all *slow) {
	fmt.Fprintf(w, "\nSlow readers: %d stop reading; at most %s unsent may wait for them\n", all.Stopped, megabytes(all.Bound))
	columns := []*policy{{Name: "nobody stops", Runs: all.Without, Ratio: 1}}
	for _, p := range all.Policies {
		if p.Error == "" {
			columns = append(columns, p)
		} else {
			fmt.Fprintf(w, "  %s: %s\n", p.Name, p.Error)
		}
	}
	row := table(w, columns)
	row("", func(p *policy) string { return p.Name })
	row("others: due to received, p(99), median of runs", func(p *policy) string {
		return milliseconds(p.median(func(r *slowRun) float64 { return r.Latency["p(99)"] }))
	})
	row("  over that without, median of pairs", func(p *policy) string { return fmt.Sprintf("%.2f", p.Ratio) })
	row("gateway: most unsent bytes", func(p *policy) string {
		return megabytes(int64(p.median(func(r *slowRun) float64 { return float64(r.Unsent) })))
	})
	row("gateway: most anonymous memory", func(p *policy) string {
		return megabytes(int64(p.median(func(r *slowRun) float64 { return float64(r.Resident) })))
	})
	last := func(cell func(*slowRun) string) func(*policy) string {
		return func(p *policy) string { return cell(p.Runs[len(p.Runs)-1]) }
	}
	row("last run: ended by the gateway as slow", last(func(r *slowRun) string { return fmt.Sprint(r.Ended) }))
	row("last run: found closed, by code", last(func(r *slowRun) string { return parts(r.Closed) }))
	row("last run: gaps", last(func(r *slowRun) string { return fmt.Sprint(r.Gaps) }))
	for _, is := range []string{"older", "newest", "later"} {
		row("last run: first behind the gap is "+is, last(func(r *slowRun) string { return fmt.Sprint(r.First[is]) }))
	}
	for _, what := range []string{"received", "announced", "lost", "duplicate", "reordered"} {
		row("last run: "+what, last(func(r *slowRun) string { return fmt.Sprint(r.Msgs[what]) }))
	}
	writeConditions(w, columns, func(p *policy) conditions { return p.Runs[len(p.Runs)-1].conditions })
}

func (p *policy) median(of func(*slowRun) float64) float64 {
	var list []float64
	for _, r := range p.Runs {
		list = append(list, of(r))
	}
	return median(list)
}
