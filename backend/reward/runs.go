package reward

import "slices"

// Runs is a set of days: rows of days one after the other, in order and with days between them.
type Runs [][2]Day // first and last

// Add adds a day, and reports whether it was not there.
func (r *Runs) Add(d Day) bool {
	i, _ := slices.BinarySearchFunc(*r, d, func(run [2]Day, d Day) int { return int(run[1] - d) }) // the first run that ends at d or later
	if i < len(*r) && (*r)[i][0] <= d {
		return false
	}
	before := i > 0 && (*r)[i-1][1] == d-1
	after := i < len(*r) && (*r)[i][0] == d+1
	switch {
	case before && after:
		(*r)[i-1][1] = (*r)[i][1]
		*r = slices.Delete(*r, i, i+1)
	case before:
		(*r)[i-1][1] = d
	case after:
		(*r)[i][0] = d
	default:
		*r = slices.Insert(*r, i, [2]Day{d, d})
	}
	return true
}

// Longest is the length of the longest run.
func (r Runs) Longest() (n int64) {
	for _, run := range r {
		n = max(n, int64(run[1]-run[0])+1)
	}
	return n
}

// Last is the length of the last run, and its last day.
func (r Runs) Last() (n int64, last Day) {
	if len(r) == 0 {
		return 0, 0
	}
	run := r[len(r)-1]
	return int64(run[1]-run[0]) + 1, run[1]
}

// bonus is what streaks are worth: the n-th day of a run adds n-1 times what its era says, for at most so many days.
func (r Runs) bonus(rules *Rules) (sum XP) {
	for _, run := range r {
		for d := run[0]; d <= run[1]; {
			era, last := rules.Era(d), run[1]
			if i := slices.IndexFunc(rules.Eras, func(e Era) bool { return e.From > d }); i >= 0 {
				last = min(last, rules.Eras[i].From-1)
			}
			sum += era.StreakXP * XP(rising(int64(d-run[0]), int64(last-run[0]), era.StreakDays))
			d = last + 1
		}
	}
	return sum
}

// rising is the sum of min(i, most) for i from a to b.
func rising(a, b, most int64) int64 {
	if a > b {
		return 0
	}
	if a >= most {
		return (b - a + 1) * most
	}
	if b <= most {
		return (a + b) * (b - a + 1) / 2
	}
	return rising(a, most, most) + (b-most)*most
}
