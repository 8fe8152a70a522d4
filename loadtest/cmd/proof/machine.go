package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/millracehq/millrace/loadtest"
)

// tick is the unit of processor time in /proc: USER_HZ is 100 on every Linux that Go runs on.
const tick = time.Second / 100

// maxSteal is the share of the machine's time that the hypervisor may take before a run is suspect.
const maxSteal = 0.08

// machineTime is the processor time of the whole machine, all cores together.
type machineTime struct {
	busy  time.Duration
	steal time.Duration // had work to do, but the hypervisor ran somebody else
	all   time.Duration
}

// readMachine reads the first line of /proc/stat.
func readMachine() machineTime {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machineTime{}
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return parseMachine(line)
}

// parseMachine takes the line of all cores (proc(5)): cpu user nice system idle iowait irq softirq steal, in ticks.
func parseMachine(line string) (m machineTime) {
	fields := strings.Fields(line)
	for i, field := range fields[min(1, len(fields)):] {
		n, _ := strconv.ParseInt(field, 10, 64)
		t := time.Duration(n) * tick
		switch i {
		case 3, 4: // idle
		case 7:
			m.steal = t
		case 8: // guest time, which is in user already
			return m
		default:
			m.busy += t
		}
		m.all += t
	}
	return m
}

func (m machineTime) since(from machineTime) machineTime {
	return machineTime{m.busy - from.busy, m.steal - from.steal, m.all - from.all}
}

// share of the machine's time, 0 to 1.
func (m machineTime) share(d time.Duration) float64 {
	if m.all <= 0 {
		return 0
	}
	return max(d, 0).Seconds() / m.all.Seconds()
}

// conditions are what the figures of a run are to be taken with.
type conditions struct {
	Verdict string   `json:"verdict"` // the harness's own, or SUSPECT for the machine's sake
	Reasons []string `json:"reasons,omitempty"`
	Others  float64  `json:"others_cpu_share"` // of the machine, used by other programs meanwhile
	Steal   float64  `json:"steal_share"`      // of the machine, taken by the hypervisor meanwhile
}

// conditions of a run that took m of the machine and own of it itself.
func (m machineTime) conditions(own time.Duration, g loadtest.Generator) conditions {
	c := conditions{Verdict: g.Verdict, Reasons: g.Reasons, Others: m.share(m.busy - own), Steal: m.share(m.steal)}
	if c.Steal > maxSteal {
		c.Reasons = append(c.Reasons, fmt.Sprintf("the hypervisor took %.0f %% of the CPU", c.Steal*100))
		if c.Verdict == loadtest.VerdictValid {
			c.Verdict = loadtest.VerdictSuspect
		}
	}
	return c
}

// String is what the report says of a run that missed a target.
func (c conditions) String() string {
	return strings.Join(append([]string{c.Verdict, fmt.Sprintf("other programs used %.0f %% of this machine", c.Others*100)}, c.Reasons...), "; ")
}

// meter measures the steady phase of a run.
type meter struct {
	parts   map[string]*process
	used    map[string]time.Duration
	machine machineTime
}

func newMeter(s *stack) *meter {
	m := &meter{parts: map[string]*process{"gateway": s.gateway, "redis": s.redis, "backend": s.backend}, used: make(map[string]time.Duration)}
	if s.pollserver != nil {
		m.parts["pollserver"] = s.pollserver
	}
	return m
}

// phase is told of each phase as it begins.
func (m *meter) phase(name string) {
	switch name {
	case "steady":
		m.machine = readMachine()
		for name, p := range m.parts {
			m.used[name] = -p.cpu()
		}
	case "drain":
		m.machine = readMachine().since(m.machine)
		for name, p := range m.parts {
			m.used[name] += p.cpu()
		}
	}
}

// result is the processor time by part, harness included, and the conditions.
func (m *meter) result(rep *loadtest.Report) (used map[string]time.Duration, c conditions) {
	m.used["loadtest"] = time.Duration(rep.Generator.CPU * rep.Seconds * 1e9)
	var own time.Duration
	for _, d := range m.used {
		own += d
	}
	return m.used, m.machine.conditions(own, rep.Generator)
}
