package loadtest

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

const barWidth = 38

// progress shows where a run stands, in k6's manner: lines that are redrawn on a terminal, a block a second elsewhere.
type progress struct {
	w        io.Writer // nil: nobody looks
	terminal bool
	scenario *Scenario
	names    []string // of the loads
	drawn    int      // lines on the terminal that the next ones replace
	last     swarm.Progress
}

func newProgress(w io.Writer, terminal bool, s *Scenario) *progress {
	return &progress{w: w, terminal: terminal, scenario: s, names: s.names()}
}

func (p *progress) interval() time.Duration {
	if p.terminal {
		return 100 * time.Millisecond
	}
	return time.Second
}

// begin says what will run.
func (p *progress) begin(name string) {
	if p.w == nil {
		return
	}
	s := p.scenario
	fmt.Fprintf(p.w, "     execution: local\n        script: %s\n        target: %s\n\n", name, s.URL)
	count, users := "1 scenario", s.users()
	if n := len(s.Scenarios); n > 1 {
		count = fmt.Sprintf("%d scenarios", n)
	}
	if len(s.Scenarios) == 0 {
		users = s.Connections
	}
	fmt.Fprintf(p.w, "     scenarios: (100.00%%) %s, %d max VUs, %s max duration (incl. graceful stop):\n", count, users, max(s.longest(true), s.Duration))
	if len(s.Scenarios) == 0 || s.Publish.Rate > 0 || s.Requests.Rate > 0 {
		fmt.Fprintf(p.w, "              * default: %d connections, %s publications/s, %s requests/s for %s\n", s.Connections, trim(s.Publish.Rate), trim(s.Requests.Rate), s.Duration)
	}
	for _, name := range p.names {
		l := s.Scenarios[name]
		fmt.Fprintf(p.w, "              * %s: %s\n", name, l.describe())
	}
	fmt.Fprintln(p.w)
}

func (p *progress) show(now swarm.Progress, p99 float64) {
	if p.w == nil || now.Phase >= swarm.PhaseClose {
		return
	}
	lines := p.lines(now, p99)
	p.last = now
	p.write(lines)
}

func (p *progress) write(lines []string) {
	if !p.terminal {
		fmt.Fprintln(p.w, strings.Join(lines, "\n"))
		return
	}
	var b strings.Builder
	if p.drawn > 1 {
		fmt.Fprintf(&b, "\x1b[%dA", p.drawn-1) // to the first of them
	}
	b.WriteString("\r" + strings.Join(lines, "\x1b[K\n") + "\x1b[J") // and nothing below the last
	p.drawn = len(lines)
	io.WriteString(p.w, b.String())
}

// finish leaves the last lines on the terminal; they say how it ended.
func (p *progress) finish(end swarm.Progress, p99 float64) {
	if p.w == nil {
		return
	}
	if len(end.Loads) > 0 && end.SteadyStart > 0 {
		end.Phase = swarm.PhaseDrain
		p.write(p.lines(end, p99))
	}
	if p.drawn > 0 {
		fmt.Fprintln(p.w)
	}
}

// lines are the state of the run, and of each load while there are any.
func (p *progress) lines(now swarm.Progress, p99 float64) []string {
	line := p.line(now, p99)
	if len(now.Loads) == 0 || now.Phase < swarm.PhaseSteady {
		return []string{line}
	}
	var busy, users int
	var complete, interrupted int64
	for _, l := range now.Loads {
		busy, users, complete, interrupted = busy+l.Busy, users+l.VUs, complete+l.Complete, interrupted+l.Interrupt
	}
	width := len("default")
	for _, name := range p.names {
		width = max(width, len(name))
	}
	list := []string{fmt.Sprintf("running (%04.1fs), %0*d/%d VUs, %d complete and %d interrupted iterations",
		time.Duration(now.Now-now.SteadyStart).Seconds(), digits(users), busy, users, complete, interrupted)}
	if p.scenario.Publish.Rate > 0 || p.scenario.Requests.Rate > 0 {
		list = append(list, fmt.Sprintf("%-*s   %s", width, "default", line))
	}
	for i, l := range now.Loads {
		list = append(list, p.load(p.names[i], width, l))
	}
	return list
}

// load is the line of one load: name, mark, bar, virtual users, time, and what it is about.
func (p *progress) load(name string, width int, now swarm.LoadProgress) string {
	l := p.scenario.Scenarios[name]
	length := l.length()
	share := min(now.Elapsed.Seconds()/length.Seconds(), 1)
	most, _ := l.users()
	total := l.Iterations
	switch l.Executor {
	case PerVUIterations:
		total *= int64(most)
		fallthrough
	case SharedIterations:
		share = min(float64(now.Complete)/float64(total), 1)
	}
	mark := " "
	switch now.State {
	case "waiting":
		mark = "•"
	case "over":
		mark = "✓"
		if share < 1 && l.Executor != SharedIterations && l.Executor != PerVUIterations {
			share = 1
		}
	}
	if most > now.VUs {
		most = now.VUs
	}
	text := fmt.Sprintf("%0*d/%d VUs  %s/%s", digits(most), now.Busy, most, seconds(now.Elapsed), length)
	if now.State == "waiting" {
		text = fmt.Sprintf("%d VUs  waiting for %s", most, l.StartTime)
	}
	switch {
	case l.open():
		text += fmt.Sprintf("  %.2f iters/s", now.Rate)
	case total > 0 && (l.Executor == SharedIterations || l.Executor == PerVUIterations):
		text += fmt.Sprintf("  %d/%d iters", now.Complete, total)
	}
	figure := fmt.Sprintf("[ %3.0f%% ]", share*100)
	if p.terminal {
		figure = bar(share)
	}
	return fmt.Sprintf("%-*s %s %s %s", width, name, mark, figure, text)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%04.1fs", d.Seconds()) }

func digits(n int) int { return len(fmt.Sprint(n)) }

// line is the state of the phase.
func (p *progress) line(now swarm.Progress, p99 float64) string {
	s := p.scenario
	elapsed := time.Duration(now.Now - now.PhaseStart)
	share := 0.0
	if length := now.PhaseEnd - now.PhaseStart; length > 0 {
		share = min(float64(elapsed)/float64(length), 1)
	}
	text := fmt.Sprintf("%d/%d connections", now.Ready, s.Connections)
	if now.Phase == swarm.PhaseConnect {
		share = float64(now.Ready) / float64(max(s.Connections, 1))
	}
	if now.Failures > 0 {
		text += fmt.Sprintf(", %d failed", now.Failures)
	}
	if slices.Contains([]swarm.Phase{swarm.PhaseSteady, swarm.PhaseDrain}, now.Phase) {
		text += fmt.Sprintf(", %d published, %d delivered", now.Published, now.Received)
		if span := float64(now.Now-p.last.Now) / 1e9; p.last.Phase == now.Phase && span > 0 && !p.terminal {
			text += fmt.Sprintf(" (%.0f/s)", float64(now.Received-p.last.Received)/span)
		}
		text += ", p(99)=" + formatMS(p99)
	}
	return fmt.Sprintf("%-7s %s %3.0f%%  %5.1fs  %s", now.Phase, bar(share), share*100, elapsed.Seconds(), text)
}

func bar(share float64) string {
	done := int(share * barWidth)
	if done >= barWidth {
		return "[" + strings.Repeat("=", barWidth) + "]"
	}
	return "[" + strings.Repeat("=", done) + ">" + strings.Repeat("-", barWidth-done-1) + "]"
}
