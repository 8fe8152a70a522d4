package results

import (
	"fmt"
	"strings"
	"time"

	"github.com/millracehq/millrace/bench/internal/contest"
)

// column of a table. Its cells are made of a contestant's name.
type column struct {
	title string
	cell  func(name string) string
}

const none = "–"

// Markdown is the page with all tables.
func (r *Run) Markdown() string {
	var b strings.Builder
	m, s := r.Machine, r.Size
	fmt.Fprintf(&b, "# Benchmark of %s\n\n", r.Time.UTC().Format(time.DateOnly))
	fmt.Fprintf(&b, "Made by `make bench`; what each figure says and does not say is in [docs/BENCHMARKS.md](../../../docs/BENCHMARKS.md). Version %s.\n\n", r.Version)
	fmt.Fprintf(&b, "Machine: %s, %d cores for everything, %d MB, Linux %s, TCP %s, %s, Redis %s, Node %s.\n\n",
		m.CPU, m.Cores, m.MemoryMB, m.Kernel, m.Congestion, m.Go, m.Redis, m.Node)
	fmt.Fprintf(&b, "Load: %d connections, %d channels of %d, bodies of %d bytes, %.0f s a load, %d round(s), all contestants one after the other in each. ",
		s.Connections, s.Channels, s.Connections/max(s.Channels, 1), s.Body, s.Seconds, s.Rounds)
	b.WriteString("A cell is the median of the rounds and, in brackets, the lowest and highest. *x limit* is the ratio to the bare epoll loop in the same round. " +
		"`*` marks a figure that is not the server's alone: the load generator was at its limit, or others used the machine (run.json says which).\n\n")
	if len(r.LeftOut) > 0 {
		fmt.Fprintf(&b, "**Left out of this run: %s.**\n\n", strings.Join(r.LeftOut, ", "))
	}
	for _, c := range r.Contestants {
		fmt.Fprintf(&b, "- **%s**: %s\n", c.Name, c.About)
	}
	r.tables(&b)
	r.targets(&b)
	for _, row := range r.Rows {
		if row.Error != "" {
			fmt.Fprintf(&b, "\n%s, round %d, was not measured to its end: %s\n", row.Contestant, row.Round, firstOf(row.Error))
		}
	}
	return b.String()
}

func firstOf(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func (r *Run) tables(b *strings.Builder) {
	r.table(b, "Connections", []string{"connections.svg", "memory.svg"},
		column{"bytes per connection", r.number(bytesPerConn, "%.0f")},
		column{"CPU per accepted and subscribed connection, us", r.number(pick(connect).server(), "%.0f")},
		column{"x limit", r.times(pick(connect).server())},
		column{"Redis, us", r.number(pick(connect).cpu(contest.Redis), "%.1f")})
	for i, n := range r.Size.Rates {
		r.table(b, fmt.Sprintf("%d deliveries a second", n), []string{fmt.Sprintf("cpu-%d.svg", n)}, r.traffic(rate(i), "delivery")...)
	}
	r.table(b, fmt.Sprintf("Highest rate with p99 of at most %.0f ms and nothing lost", r.Size.Target), []string{"highest.svg", "bursts.svg", "latency.svg"},
		column{"deliveries/s, one channel a connection", r.number(highest, "%.0f")}, column{"x limit", r.times(highest)},
		column{fmt.Sprintf("deliveries/s, %d channels a connection, in bursts", r.Size.PerClient), r.number(bursts, "%.0f")}, column{"x limit", r.times(bursts)})
	r.table(b, fmt.Sprintf("%d requests a second", r.Size.Requests), []string{"requests.svg"}, r.traffic(requests, "reply")...)
}

func (r *Run) traffic(p pick, what string) []column {
	return []column{
		{"CPU per " + what + ", us", r.load(p, p.server(), "%.1f")},
		{"x limit", r.times(p.server())},
		{"Redis, us", r.number(p.cpu(contest.Redis), "%.1f")},
		{"backend, us", r.number(p.cpu(contest.Backend), "%.1f")},
		{"p99, ms", r.load(p, p.p99(), "%.1f")},
	}
}

// table leaves out contestants of whom it would say nothing, and itself when it would say nothing at all.
func (r *Run) table(b *strings.Builder, title string, plots []string, columns ...column) {
	var lines strings.Builder
	for _, e := range r.Contestants {
		line, said := "| "+e.Name+" |", false
		for _, c := range columns {
			cell := c.cell(e.Name)
			said = said || cell != none
			line += " " + cell + " |"
		}
		if said {
			lines.WriteString(line + "\n")
		}
	}
	if lines.Len() == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n| |", title)
	for _, c := range columns {
		fmt.Fprintf(b, " %s |", c.title)
	}
	fmt.Fprintf(b, "\n|---|%s\n%s", strings.Repeat("---|", len(columns)), lines.String())
	for _, plot := range plots {
		fmt.Fprintf(b, "\n![%s](%s)\n", title, plot)
	}
}

func (r *Run) number(m measure, format string) func(string) string {
	return func(name string) string { return r.over(name, m).text(format) }
}

func (r *Run) times(m measure) func(string) string {
	return func(name string) string { return r.ratio(name, contest.Limit, m).text("%.2f") }
}

// load is number, for a load that may have been too much.
func (r *Run) load(p pick, m measure, format string) func(string) string {
	return func(name string) string {
		gaveUp, lost := r.tooMuch(name, p)
		switch text := r.over(name, m).text(format); {
		case gaveUp:
			return "too much"
		case lost > 0:
			return fmt.Sprintf("%s, %d lost", text, lost)
		default:
			return text
		}
	}
}

func (s summary) text(format string) string {
	if s.rounds == 0 {
		return none
	}
	text := fmt.Sprintf(format, s.median)
	if s.rounds > 1 {
		text += fmt.Sprintf(" ["+format+"-"+format+"]", s.low, s.high)
	}
	if s.marked {
		text += " \\*"
	}
	return text
}
