package main

// search finds the highest rate at which try succeeds: it doubles from start, or halves where that fails already, and then bisects until
// the highest good rate and the lowest bad one are less than precision apart. 0 says that nothing succeeded within a sixteenth of start.
func search(start, end, precision float64, try func(rate float64) (bool, error)) (best float64, err error) {
	good, bad := 0.0, 0.0
	for at := start; good == 0 || bad == 0; {
		ok, err := try(at)
		if err != nil {
			return good, err
		}
		if ok {
			good = at
			at *= 2
		} else {
			bad = at
			at /= 2
		}
		if at > end || at < start/16 {
			return good, nil
		}
	}
	for bad/good > precision {
		middle := (good + bad) / 2
		ok, err := try(middle)
		if err != nil {
			return good, err
		}
		if ok {
			good = middle
		} else {
			bad = middle
		}
	}
	return good, nil
}
