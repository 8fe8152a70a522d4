package results

import "github.com/millracehq/millrace/bench/internal/contest"

// pick finds one load of a row; nil where it was not put on.
type pick func(Row) *Traffic

func connect(row Row) *Traffic  { return row.Connect }
func requests(row Row) *Traffic { return row.Requests }

// rate is the i-th of Size.Rates.
func rate(i int) pick {
	return func(row Row) *Traffic {
		if i >= len(row.Rates) {
			return nil
		}
		return &row.Rates[i]
	}
}

// of makes a measure of a load. Nothing is measured of a load that was too much.
func (p pick) of(f func(*Traffic) float64) measure {
	return func(row Row) value {
		t := p(row)
		if t == nil || t.GaveUp {
			return value{}
		}
		return value{v: f(t), there: true, marked: len(t.Conditions.Marks) > 0}
	}
}

// cpu is the processor time of one process, us for each that came.
func (p pick) cpu(process string) measure {
	return func(row Row) value {
		if t := p(row); t == nil || t.CPU[process] == 0 {
			return value{}
		}
		return p.of(func(t *Traffic) float64 { return t.CPU[process] })(row)
	}
}

func (p pick) server() measure { return p.cpu(contest.Server) }

func (p pick) p99() measure { return p.of(func(t *Traffic) float64 { return t.P99 }) }

// tooMuch says whether the load was too much for a contestant in some round, and how many deliveries were lost in all.
func (r *Run) tooMuch(name string, p pick) (gaveUp bool, lost int64) {
	for _, row := range r.rows(name) {
		if t := p(row); t != nil {
			gaveUp = gaveUp || t.GaveUp
			lost += t.Lost()
		}
	}
	return gaveUp, lost
}

func bytesPerConn(row Row) value {
	if row.BytesPerConn == nil {
		return value{}
	}
	return value{v: *row.BytesPerConn, there: true}
}

func highest(row Row) value { return row.Highest.value() }
func bursts(row Row) value  { return row.Bursts.value() }

// value is marked when a generator at its limit, or somebody else, may be why no higher rate was reached.
func (p *Peak) value() value {
	if p == nil {
		return value{}
	}
	v := value{v: p.Rate, there: true}
	lowest := 0.0
	for _, s := range p.Steps {
		if s.Rate > p.Rate && (lowest == 0 || s.Rate <= lowest) {
			lowest = s.Rate
			v.marked = s.Conditions.Generator > maxGenerator || s.Conditions.Others > maxOthers || s.Conditions.Steal > maxSteal
		}
	}
	return v
}
