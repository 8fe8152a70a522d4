package loadtest

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// formatMS writes milliseconds in the unit that suits them, with at most two decimals: 874.62µs, 6ms, 1.5s, 2m5s.
func formatMS(ms float64) string {
	switch {
	case ms == 0:
		return "0s"
	case ms < 0.001:
		return trim(ms*1e6) + "ns"
	case ms < 1:
		return trim(ms*1e3) + "µs"
	case ms < 1e3:
		return trim(ms) + "ms"
	case ms < 60e3:
		return trim(ms/1e3) + "s"
	}
	minutes := math.Floor(ms / 60e3)
	return trim(minutes) + "m" + trim((ms-minutes*60e3)/1e3) + "s"
}

// formatBytes writes bytes in SI units.
func formatBytes(n float64) string {
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

// trim writes a number with at most two decimals.
func trim(v float64) string {
	s := strconv.FormatFloat(v, 'f', 2, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}
