package metric

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Threshold is one promise about one metric, in k6's grammar:
//
//	assertion = method op number
//	method    = avg | min | max | med | p(x) | count | rate | value
//	op        = > | >= | < | <= | == | === | !=
//
// The number has the unit of the metric: milliseconds for trends.
type Threshold struct {
	Metric      string // name, with {tag:value} when it is about a part of it
	Source      string // the assertion as it was written
	Method      Method
	Op          string
	Bound       float64
	AbortOnFail bool          // end the run when it is crossed
	AbortDelay  time.Duration // but not before this much of the steady phase is over
}

// operators in the order in which they are tried: the longest first.
func operators() []string { return []string{"===", "==", "!=", ">=", "<=", ">", "<"} }

// ParseThreshold reads one assertion about a metric.
func ParseThreshold(name, source string) (Threshold, error) {
	fail := func(err error) (Threshold, error) {
		return Threshold{}, fmt.Errorf("threshold %q of %s: %w", source, name, err)
	}
	at := strings.IndexAny(source, "><=!")
	if at < 0 {
		return fail(errors.New("no comparison in it: want METHOD OP NUMBER, such as p(99)<50"))
	}
	method, err := ParseMethod(source[:at])
	if err != nil {
		return fail(err)
	}
	for _, op := range operators() {
		rest, ok := strings.CutPrefix(source[at:], op)
		if !ok {
			continue
		}
		bound, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
		if err != nil {
			return fail(fmt.Errorf("%q is not a number", strings.TrimSpace(rest)))
		}
		return Threshold{Metric: name, Source: source, Method: method, Op: op, Bound: bound}, nil
	}
	return fail(errors.New("no such comparison: there are > >= < <= == === !="))
}

// holds compares a measured value with the bound.
func (t Threshold) holds(v float64) bool {
	switch t.Op {
	case ">":
		return v > t.Bound
	case ">=":
		return v >= t.Bound
	case "<":
		return v < t.Bound
	case "<=":
		return v <= t.Bound
	case "==", "===":
		return v == t.Bound
	case "!=":
		return v != t.Bound
	}
	panic("BUG: no such comparison: " + t.Op)
}

// further says whether a is further on the wrong side than b.
func (t Threshold) further(a, b float64) bool {
	if t.Op == ">" || t.Op == ">=" {
		return a < b
	}
	return a > b
}

// Outcome is what a threshold came to.
type Outcome string

// The outcomes. A threshold is inconclusive when its bound lies within the confidence interval of what was measured: another run may as well
// end the other way.
const (
	Passed       Outcome = "pass"
	Inconclusive Outcome = "inconclusive"
	Failed       Outcome = "fail"
)

func (o Outcome) worse(than Outcome) bool {
	rank := map[Outcome]int{Passed: 0, Inconclusive: 1, Failed: 2}
	return rank[o] > rank[than]
}

// Verdict is the answer to one threshold.
type Verdict struct {
	OK        bool // Outcome is Passed
	Outcome   Outcome
	Value     float64 // what was measured, in the metric's unit
	Known     bool    // false: there was not enough evidence, and Why says what was missing
	Interval  bool    // Low and High are there
	Low, High float64 // 95 % confidence interval of Value
	Why       string  // empty when OK
}

// Check judges the threshold. What was not measured does not pass: no samples, or fewer than a percentile needs
// ([Method.MinSamples]), is a failure that says so. (k6 passes a threshold without samples, even against a dead server.)
func (t Threshold) Check(e Entry, seconds float64) Verdict {
	v := Verdict{Outcome: Failed, Value: e.Metric.Read(t.Method, seconds)}
	switch n := e.evidence(); {
	case n == 0:
		v.Why = "no samples"
		return v
	case n < t.Method.MinSamples():
		v.Why = fmt.Sprintf("%d samples, %s needs %d", n, t.Method, t.Method.MinSamples())
		return v
	}
	v.Known = true
	if trend, ok := e.Metric.(*Trend); ok {
		v.Low, v.High, v.Interval = trend.Interval(t.Method)
	}
	holds := t.holds(v.Value)
	switch {
	case v.Interval && (t.holds(v.Low) != holds || t.holds(v.High) != holds):
		v.Outcome, v.Why = Inconclusive, "within the confidence interval: run longer, or again"
	case holds:
		v.OK, v.Outcome = true, Passed
	default:
		v.Why = "crossed"
	}
	return v
}
