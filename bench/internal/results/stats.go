package results

import "slices"

// value is one figure of one row. It is not there where it was not measured, and marked where something speaks against it.
type value struct {
	v      float64
	there  bool
	marked bool
}

// measure takes one figure off a row.
type measure func(Row) value

// summary is the figure of several rounds.
type summary struct {
	median, low, high float64
	rounds            int // 0: it was never measured
	marked            bool
}

// summarize takes the rounds against which nothing speaks; where there are none, all, and is marked.
func summarize(values []value) summary {
	pick := func(marked bool) (list []float64) {
		for _, v := range values {
			if v.there && v.marked == marked {
				list = append(list, v.v)
			}
		}
		return list
	}
	list, marked := pick(false), false
	if len(list) == 0 {
		list, marked = pick(true), true
	}
	if len(list) == 0 {
		return summary{}
	}
	slices.Sort(list)
	return summary{median: median(list), low: list[0], high: list[len(list)-1], rounds: len(list), marked: marked}
}

// median of a sorted list that is not empty.
func median(list []float64) float64 {
	n := len(list)
	return (list[(n-1)/2] + list[n/2]) / 2
}

// rows of one contestant, by round.
func (r *Run) rows(name string) map[int]Row {
	found := make(map[int]Row)
	for _, row := range r.Rows {
		if row.Contestant == name {
			found[row.Round] = row
		}
	}
	return found
}

// over summarizes a measure over the rounds.
func (r *Run) over(name string, m measure) summary {
	var values []value
	for _, row := range r.rows(name) {
		values = append(values, m(row))
	}
	return summarize(values)
}

// ratio summarizes a measure relative to another contestant's in the same round: what disturbs a round disturbs both.
func (r *Run) ratio(name, to string, m measure) summary {
	var values []value
	base := r.rows(to)
	for round, row := range r.rows(name) {
		a, b := m(row), m(base[round])
		values = append(values, value{v: a.v / b.v, there: a.there && b.there && b.v != 0, marked: a.marked || b.marked})
	}
	return summarize(values)
}
