package loadtest

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

const barWidth = 38

// progress shows where a run stands: a line that is redrawn on a terminal, a line a second elsewhere.
type progress struct {
	w        io.Writer // nil: nobody looks
	terminal bool
	scenario *Scenario
	drawn    bool
	last     swarm.Progress
}

func newProgress(w io.Writer, terminal bool, s *Scenario) *progress {
	return &progress{w: w, terminal: terminal, scenario: s}
}

func (p *progress) interval() time.Duration {
	if p.terminal {
		return 100 * time.Millisecond
	}
	return time.Second
}

func (p *progress) show(now swarm.Progress, p99 float64) {
	if p.w == nil || now.Phase >= swarm.PhaseClose {
		return
	}
	line := p.line(now, p99)
	p.last = now
	if !p.terminal {
		fmt.Fprintln(p.w, line)
		return
	}
	fmt.Fprintf(p.w, "\r%s\x1b[K", line)
	p.drawn = true
}

// finish leaves the last line on the terminal.
func (p *progress) finish() {
	if p.drawn {
		fmt.Fprintln(p.w)
	}
}

func (p *progress) line(now swarm.Progress, p99 float64) string {
	s := p.scenario
	elapsed := time.Duration(now.Now - now.PhaseStart)
	share := 0.0
	if length := now.PhaseEnd - now.PhaseStart; length > 0 {
		share = min(float64(elapsed)/float64(length), 1)
	}
	text := fmt.Sprintf("%d/%d connections", now.Ready, s.Connections)
	if now.Phase == swarm.PhaseConnect {
		share = float64(now.Ready) / float64(s.Connections)
	}
	if now.Failures > 0 {
		text += fmt.Sprintf(", %d failed", now.Failures)
	}
	if now.Phase == swarm.PhaseSteady || now.Phase == swarm.PhaseDrain {
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
