package metric

import (
	"maps"
	"slices"
)

// Rate is a share: passes out of a total.
type Rate struct{ passes, total, takenPasses, takenTotal int64 }

// Add enters one outcome.
func (r *Rate) Add(pass bool) {
	r.total++
	if pass {
		r.passes++
	}
}

// Set replaces both numbers.
func (r *Rate) Set(passes, total int64) { r.passes, r.total = passes, total }

// Passes is the number that passed.
func (r *Rate) Passes() int64 { return r.passes }

// Share is passes out of total, 0 when the total is 0.
func (r *Rate) Share() float64 {
	if r.total == 0 {
		return 0
	}
	return float64(r.passes) / float64(r.total)
}

func (r *Rate) take() Sample {
	s := Sample{N: r.total - r.takenTotal, Passes: r.passes - r.takenPasses}
	r.takenPasses, r.takenTotal = r.passes, r.total
	return s
}

func (r *Rate) add(s Sample, _ Source) { r.passes, r.total = r.passes+s.Passes, r.total+s.N }

// Kind implements [Metric].
func (r *Rate) Kind() Kind { return KindRate }

// Samples implements [Metric].
func (r *Rate) Samples() int64 { return r.total }

// Read implements [Metric].
func (r *Rate) Read(Method, float64) float64 { return r.Share() }

// Checks is a rate split by the names of checks.
type Checks struct {
	Rate
	by map[string]*Rate
}

// NewChecks makes a rate without checks.
func NewChecks() *Checks { return &Checks{by: make(map[string]*Rate)} }

// Add enters one outcome of one check.
func (c *Checks) Add(check string, pass bool) {
	c.Rate.Add(pass)
	c.Of(check).Add(pass)
}

// Of is the part of one check; it is made when it is not there yet.
func (c *Checks) Of(check string) *Rate {
	r := c.by[check]
	if r == nil {
		r = &Rate{}
		c.by[check] = r
	}
	return r
}

// Names lists the checks that have been made, sorted.
func (c *Checks) Names() []string {
	names := slices.Sorted(maps.Keys(c.by))
	return slices.DeleteFunc(names, func(n string) bool { return c.by[n].total == 0 })
}

func (c *Checks) take() Sample {
	s := c.Rate.take()
	for name, r := range c.by {
		if part := r.take(); part.N > 0 {
			if s.Parts == nil {
				s.Parts, s.PartPasses = make(map[string]int64), make(map[string]int64)
			}
			s.Parts[name], s.PartPasses[name] = part.N, part.Passes
		}
	}
	return s
}

func (c *Checks) add(s Sample, from Source) {
	c.Rate.add(s, from)
	for name, n := range s.Parts {
		c.Of(name).add(Sample{N: n, Passes: s.PartPasses[name]}, from)
	}
}
