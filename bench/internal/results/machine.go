package results

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is what the figures depend on.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	MemoryMB   int    `json:"memory_mb"`
	Kernel     string `json:"kernel"`
	Congestion string `json:"congestion_control"`
	Go         string `json:"go"`
	Node       string `json:"node,omitempty"`
	Redis      string `json:"redis,omitempty"`
}

// ReadMachine asks this machine.
func ReadMachine() Machine {
	m := Machine{
		CPU: field("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), Go: runtime.Version(),
		Node: firstLine("node", "--version"), Redis: firstLine("redis-server", "--version"),
	}
	kilobytes, _, _ := strings.Cut(field("/proc/meminfo", "MemTotal"), " ")
	n, _ := strconv.Atoi(kilobytes)
	m.MemoryMB = n >> 10
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel, _, _ = strings.Cut(unix.ByteSliceToString(u.Release[:]), "-") // the rest is the builder's
	}
	b, _ := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	m.Congestion = strings.TrimSpace(string(b))
	if _, after, ok := strings.Cut(m.Redis, "v="); ok {
		m.Redis, _, _ = strings.Cut(after, " ")
	}
	return m
}

// field is the first line of a file that is "name : value".
func field(file, name string) string {
	b, _ := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func firstLine(name string, args ...string) string {
	out, _ := exec.Command(name, args...).Output() //nolint:noctx // says its version and ends
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// Conditions are what a figure is to be taken with.
type Conditions struct {
	Generator float64  `json:"generator_cores"`  // used by the load generator, of the one that it can use
	Others    float64  `json:"others_cpu_share"` // of the machine, used by programs that do not belong to this
	Steal     float64  `json:"steal_share"`      // of the machine, taken by the hypervisor
	Marks     []string `json:"marks,omitempty"`  // what speaks against the figure
}

// Limits beyond which a figure is marked.
const (
	maxGenerator = 0.95
	maxLag       = 10.0 // ms
	maxOthers    = 0.05
	maxSteal     = 0.05
)

// Judge fills Marks in. lag is the generator's p99 in ms.
func (c *Conditions) Judge(lag float64) {
	mark := func(bad bool, format string, v float64) {
		if bad {
			c.Marks = append(c.Marks, fmt.Sprintf(format, v))
		}
	}
	mark(c.Generator > maxGenerator, "the generator was the limit: it used %.2f of its one core", c.Generator)
	mark(lag > maxLag, "the generator was late: %.1f ms (p99)", lag)
	mark(c.Others > maxOthers, "other programs used %.0f %% of the machine", 100*c.Others)
	mark(c.Steal > maxSteal, "the hypervisor took %.0f %% of the machine", 100*c.Steal)
}

// MachineTime is the processor time of the whole machine since it started, all cores together.
type MachineTime struct{ Busy, Steal, All time.Duration }

// ReadMachineTime reads /proc/stat; it is zero where there is none.
func ReadMachineTime() MachineTime {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	return parseMachineTime(line)
}

// parseMachineTime takes the line of all cores (proc(5)): cpu user nice system idle iowait irq softirq steal, in hundredths of a second.
func parseMachineTime(line string) (m MachineTime) {
	fields := strings.Fields(line)
	for i, field := range fields[min(1, len(fields)):min(9, len(fields))] {
		n, _ := strconv.ParseInt(field, 10, 64)
		t := time.Duration(n) * time.Second / 100
		switch i {
		case 3, 4: // idle
		case 7:
			m.Steal = t
		default:
			m.Busy += t
		}
		m.All += t
	}
	return m
}

// Since is what has passed since from, of which own was ours: the shares of others and of the hypervisor.
func (m MachineTime) Since(from MachineTime, own time.Duration) (others, steal float64) {
	all := (m.All - from.All).Seconds()
	if all <= 0 {
		return 0, 0
	}
	return max((m.Busy-from.Busy-own).Seconds()/all, 0), (m.Steal - from.Steal).Seconds() / all
}
