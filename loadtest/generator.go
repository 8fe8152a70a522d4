package loadtest

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

// Verdicts on the generator: whether the figures are the server's or this program's own.
const (
	VerdictValid   = "VALID"
	VerdictSuspect = "SUSPECT" // the figures are worse than the server is, or may be
	VerdictInvalid = "INVALID" // the load was not what was asked for: no verdict on the server
)

// Generator is the verdict on the generator itself.
type Generator struct {
	Verdict    string   `json:"verdict"`
	Reasons    []string `json:"reasons,omitempty"`
	SendLagP99 float64  `json:"send_lag_p99_ms"`
	CPU        float64  `json:"cpu_cores"`         // in the steady phase, of one core
	SchedDelay float64  `json:"sched_delay_share"` // of the steady phase, its threads' waiting for a core
	Resident   int      `json:"resident_bytes"`
}

// Limits of the verdict. The loop is one thread: at 0.95 of a core it cannot keep up. The lag is part of msg_latency, so below
// the limit for INVALID it makes the server look worse, never better.
const (
	lagSuspect, lagInvalid = 10.0, 50.0 // ms, p(99)
	cpuSuspect, cpuInvalid = 0.80, 0.95 // of one core
	delaySuspect           = 0.25       // of the steady phase; what it does to the load shows in the lag
)

// usage is what the process has used so far.
type usage struct {
	at       time.Time
	cpu      time.Duration
	delay    time.Duration // its threads' waiting for a core
	resident int
}

func readUsage() usage {
	u := usage{at: time.Now(), resident: procKilobytes("/proc/self/status", "VmRSS:") * 1024}
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err == nil {
		u.cpu = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/schedstat") // the pattern is well formed
	for _, task := range tasks {
		var ran, waited int64
		if text, err := os.ReadFile(task); err == nil {
			_, _ = fmt.Sscan(string(text), &ran, &waited) // an empty file (no such accounting) counts as 0
		}
		u.delay += time.Duration(waited)
	}
	return u
}

// judge sets the generator's metrics from the usage at both ends of the steady phase and gives the verdict; none when there
// was no such phase.
func judge(m *swarm.Metrics, from, to usage) (g Generator) {
	span := to.at.Sub(from.at).Seconds()
	if from.at.IsZero() || span <= 0 {
		return g
	}
	g = Generator{
		Verdict:    VerdictValid,
		CPU:        (to.cpu - from.cpu).Seconds() / span,
		SchedDelay: max(to.delay-from.delay, 0).Seconds() / span,
		Resident:   to.resident,
	}
	m.GeneratorCPU.Set(g.CPU)
	m.GeneratorDelay.Set(g.SchedDelay)
	m.GeneratorResident.Set(float64(to.resident))
	g.weigh("threads waited for a core %.0f %% of the time", 100, g.SchedDelay, delaySuspect, math.Inf(1))
	g.weigh("CPU %.0f %% of the one core that the loop can use", 100, g.CPU, cpuSuspect, cpuInvalid)
	if m.SendLag.Samples() > 0 {
		g.SendLagP99 = m.SendLag.Percentile(99)
		g.weigh("p(99) of msg_send_lag is %.1f ms", 1, g.SendLagP99, lagSuspect, lagInvalid)
	}
	return g
}

func (g *Generator) weigh(reason string, scale, v, suspect, invalid float64) {
	switch {
	case v > invalid:
		g.Verdict = VerdictInvalid
	case v > suspect:
		if g.Verdict == VerdictValid {
			g.Verdict = VerdictSuspect
		}
	default:
		return
	}
	g.Reasons = append(g.Reasons, fmt.Sprintf(reason, v*scale))
}

// droppedInvalid is the share of iterations from which on what was measured says nothing: what was left out is the slow part, and p(99) is
// made of the slowest hundredth.
const droppedInvalid = 0.01

// weighDropped takes account of iterations that were due and did not begin, since no virtual user was free: what they would have measured is missing.
func (g *Generator) weighDropped(loads []swarm.LoadCounts) {
	for _, l := range loads {
		due := l.Complete + l.Failed + l.Interrupted + l.Dropped
		if l.Dropped == 0 || g.Verdict == "" {
			continue
		}
		g.weigh("scenario "+l.Name+" dropped %.2f %% of its iterations for want of a free VU", 100, float64(l.Dropped)/float64(due), 0, droppedInvalid)
	}
}
