package main

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of processor time in /proc: USER_HZ is 100 on every Linux that Go runs on.
const tick = time.Second / 100

// machineTime is the processor time of the whole machine, all cores together.
type machineTime struct{ busy, all time.Duration }

// readMachine reads the first line of /proc/stat (proc(5)): user nice system idle iowait irq softirq steal.
func readMachine() (m machineTime) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return m
	}
	line, _, _ := strings.Cut(string(b), "\n")
	for i, field := range strings.Fields(line)[1:] {
		if i == 8 { // guest time, which is in user already
			break
		}
		n, _ := strconv.ParseInt(field, 10, 64)
		m.all += time.Duration(n) * tick
		if i != 3 && i != 4 {
			m.busy += time.Duration(n) * tick
		}
	}
	return m
}

func (m machineTime) since(from machineTime) machineTime {
	return machineTime{m.busy - from.busy, m.all - from.all}
}

// others is the share of the machine that was used by anybody else than own.
func (m machineTime) others(own time.Duration) float64 {
	if m.all <= 0 {
		return 0
	}
	return max(m.busy-own, 0).Seconds() / m.all.Seconds()
}
