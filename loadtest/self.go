package loadtest

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

// selfUsage reads what this program uses while the run goes on, so that a report shows whether it grows.
type selfUsage struct {
	at  time.Time
	cpu time.Duration
}

// selfInterval is the shortest time that a share of the CPU is said for: the clock of CPU time has steps of up to 10 ms.
const selfInterval = 500 * time.Millisecond

// read enters a reading. What [judge] finds for the steady phase as a whole replaces it at the end.
func (u *selfUsage) read(m *swarm.Metrics) {
	now, cpu := time.Now(), selfCPU()
	if span := now.Sub(u.at); u.at.IsZero() || span >= selfInterval {
		if !u.at.IsZero() {
			m.GeneratorCPU.Set((cpu - u.cpu).Seconds() / span.Seconds())
		}
		u.at, u.cpu = now, cpu
	}
	if n := residentBytes("/proc/self/statm"); n > 0 {
		m.GeneratorResident.Set(float64(n))
	}
}

// selfCPU is the CPU time of this process.
func selfCPU() time.Duration {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// residentBytes reads a statm file (proc(5)): its second field counts pages. 0 when it cannot be read.
func residentBytes(file string) int {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(string(fields[1]))
	return pages * os.Getpagesize()
}
