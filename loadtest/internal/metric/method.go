package metric

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Method is what a threshold or a column of the summary asks of a metric.
type Method struct {
	Name       string  // avg, min, max, med, p, count, rate or value
	Percentile float64 // of p: 0 to 100
}

// methods of thresholds by kind, in the order in which messages list them.
func methods(k Kind) []string {
	switch k {
	case KindCounter:
		return []string{"count", "rate"}
	case KindGauge:
		return []string{"value", "avg", "min", "max"}
	case KindRate:
		return []string{"rate"}
	case KindTrend:
		return []string{"avg", "min", "max", "med", "p"}
	}
	panic("BUG: no such kind of metric: " + string(k))
}

// Has reports whether metrics of this kind answer the method.
func (k Kind) Has(m Method) bool { return slices.Contains(methods(k), m.Name) }

// Methods lists what metrics of this kind answer, for messages.
func (k Kind) Methods() string {
	s := strings.Join(methods(k), ", ")
	if k == KindTrend {
		s += "(x)"
	}
	return s
}

// String writes the method as it stands in a threshold: "avg", "p(99.9)".
func (m Method) String() string {
	if m.Name != "p" {
		return m.Name
	}
	return "p(" + strconv.FormatFloat(m.Percentile, 'f', -1, 64) + ")"
}

// ParseMethod reads a method as it stands in a threshold.
func ParseMethod(s string) (Method, error) {
	s = strings.TrimSpace(s)
	if inner, ok := strings.CutPrefix(s, "p("); ok {
		inner, ok = strings.CutSuffix(inner, ")")
		p, err := strconv.ParseFloat(inner, 64)
		if !ok || err != nil || !(p >= 0 && p <= 100) {
			return Method{}, fmt.Errorf("%q is not a percentile: want p(0) to p(100)", s)
		}
		return Method{Name: "p", Percentile: p}, nil
	}
	switch s {
	case "avg", "min", "max", "med", "count", "rate", "value":
		return Method{Name: s}, nil
	}
	return Method{}, fmt.Errorf("%q is not a method: there are avg, min, max, med, p(x), count, rate and value", s)
}

// ParseStat reads a column of the summary of trends: a method of theirs, or count.
func ParseStat(s string) (Method, error) {
	m, err := ParseMethod(s)
	if err == nil && !KindTrend.Has(m) && m.Name != "count" {
		err = fmt.Errorf("%q is not a statistic of trends: there are %s and count", s, KindTrend.Methods())
	}
	return m, err
}

// MinSamples is how many samples the method needs before its answer says anything: for a percentile, ten beyond it, so
// 1,000 for p(99) and 10,000 for p(99.9). With fewer the true percentile may as well be the maximum.
func (m Method) MinSamples() int64 {
	switch {
	case m.Name == "med":
		return 20
	case m.Name == "p" && m.Percentile > 0 && m.Percentile < 100:
		beyond := min(m.Percentile, 100-m.Percentile) / 100
		return int64(math.Ceil(math.Round(10/beyond*1e6) / 1e6))
	}
	return 1
}
