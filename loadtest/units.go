package loadtest

import "github.com/millracehq/millrace/loadtest/internal/unit"

func formatMS(ms float64) string { return unit.MS(ms) }

func formatBytes(n float64) string { return unit.Size(n) }

func trim(v float64) string { return unit.Trim(v) }
