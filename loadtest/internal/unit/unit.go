// Package unit writes quantities for people.
package unit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The units of metrics.
const (
	Milliseconds = "ms"
	Bytes        = "bytes"
	Cores        = "cores" // CPU time per time
	Share        = "share" // 0 to 1
	Number       = "number"
	PerSecond    = "per second"
	BytesRate    = "bytes per second"
)

// Format writes v in a unit.
func Format(v float64, unit string) string {
	switch unit {
	case Milliseconds:
		return MS(v)
	case Bytes:
		return Size(v)
	case BytesRate:
		return Size(v) + "/s"
	case PerSecond:
		return Compact(v) + "/s"
	case Share:
		return Trim(v*100) + "%"
	}
	return Compact(v)
}

// MS writes milliseconds in the unit that suits them, with at most two decimals: 874.62µs, 6ms, 1.5s, 2m5s.
func MS(ms float64) string {
	switch {
	case ms == 0:
		return "0s"
	case ms < 0.001:
		return Trim(ms*1e6) + "ns"
	case ms < 1:
		return Trim(ms*1e3) + "µs"
	case ms < 1e3:
		return Trim(ms) + "ms"
	case ms < 60e3:
		return Trim(ms/1e3) + "s"
	}
	minutes := math.Floor(ms / 60e3)
	return Trim(minutes) + "m" + Trim((ms-minutes*60e3)/1e3) + "s"
}

// Size writes bytes in SI units.
func Size(n float64) string {
	for _, unit := range []string{"B", "kB", "MB", "GB"} {
		if n < 1000 {
			if unit == "B" {
				return fmt.Sprintf("%.0f B", n)
			}
			return fmt.Sprintf("%.1f %s", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.1f TB", n)
}

// Compact writes a number in few places: 0.25, 1800, 12.5k, 3M.
func Compact(v float64) string {
	switch a := math.Abs(v); {
	case a >= 999.5e6:
		return Trim(v/1e9) + "G"
	case a >= 999.5e3:
		return Trim(v/1e6) + "M"
	case a >= 9999.5:
		return Trim(v/1e3) + "k"
	case a >= 99.5:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return Trim(v)
}

// Trim writes a number with at most two decimals.
func Trim(v float64) string {
	s := strconv.FormatFloat(v, 'f', 2, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}
