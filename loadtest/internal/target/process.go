package target

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
)

// ticksPerSecond is the unit of CPU times in /proc: 100 on every Linux (sysconf(_SC_CLK_TCK)).
const ticksPerSecond = 100

// processSource reads a process of this machine.
type processSource struct {
	dir   string
	start string // tells it from a later process with the same id
}

func openProcess(text string) (source, string, error) {
	n, err := pid(text)
	if err != nil {
		return nil, "", err
	}
	return &processSource{dir: "/proc/" + strconv.Itoa(n)}, "pid-" + text, nil
}

func (p *processSource) close() {}

func (p *processSource) read(context.Context) (readings, error) {
	stat, err := os.ReadFile(p.dir + "/stat")
	if errors.Is(err, os.ErrNotExist) {
		return readings{}, fmt.Errorf("there is no such process (%s)", p.dir)
	}
	if err != nil {
		return readings{}, err
	}
	cpu, start, err := parseStat(stat)
	if err != nil {
		return readings{}, err
	}
	if p.start == "" {
		p.start = start
	}
	if p.start != start {
		return readings{}, fmt.Errorf("it has ended; %s is another process now", p.dir)
	}
	statm, err := os.ReadFile(p.dir + "/statm")
	if err != nil {
		return readings{}, err
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return readings{}, errors.New("statm has no resident size")
	}
	pages, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return readings{}, fmt.Errorf("statm: %w", err)
	}
	return readings{values: map[string]float64{
		"server_cpu": float64(cpu) / ticksPerSecond,
		"server_rss": float64(pages * os.Getpagesize()),
	}}, nil
}

// parseStat reads utime and stime, in ticks, and the start time of proc(5)'s stat. The name in it may have blanks and parentheses.
func parseStat(stat []byte) (ticks int64, start string, err error) {
	const utime, stime, starttime = 14 - 3, 15 - 3, 22 - 3 // behind the name, which is the second field
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= starttime {
		return 0, "", errors.New("stat has too few fields")
	}
	user, err := strconv.ParseInt(string(fields[utime]), 10, 64)
	if err != nil {
		return 0, "", fmt.Errorf("stat: %w", err)
	}
	system, err := strconv.ParseInt(string(fields[stime]), 10, 64)
	if err != nil {
		return 0, "", fmt.Errorf("stat: %w", err)
	}
	return user + system, string(fields[starttime]), nil
}

func sortedKeys[V any](m map[float64]V) []float64 { return slices.Sorted(maps.Keys(m)) }
