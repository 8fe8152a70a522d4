package swarm

// fan counts down the subscribers that a publication has not reached yet, to tell when the last one has it. It remembers the
// publications of the last ten seconds or so; one that takes longer is not in msg_last_subscriber (it is in the ledger).
type fan struct{ recent []fanned }

type fanned struct {
	k    int64
	left int64
}

// fanPerWriter is how many publications of a virtual user are remembered.
const fanPerWriter = 16

// newFan makes a fan that remembers at least so many publications, within bounds.
func newFan(publications int) fan {
	size := 1024
	for size < publications && size < 1<<20 {
		size *= 2
	}
	f := fan{make([]fanned, size)}
	for i := range f.recent {
		f.recent[i].k = -1
	}
	return f
}

// fanOf is the fan that publication k is in, and its number there.
func (s *Swarm) fanOf(k int64) (f *fan, n int64) {
	if k >= s.plan.total {
		return &s.vuFan, k - s.plan.total
	}
	return &s.fan, k
}

func (f *fan) sent(k, subscribers int64) { f.recent[k%int64(len(f.recent))] = fanned{k, subscribers} }

// heard takes note of a publication of another part of the run, which is not told when it is sent: once one has it.
func (f *fan) heard(k, subscribers int64) {
	if r := &f.recent[k%int64(len(f.recent))]; r.k < k {
		*r = fanned{k, subscribers}
	}
}

// received counts one subscriber down and reports whether it was the last.
func (f *fan) received(k int64) bool {
	r := &f.recent[k%int64(len(f.recent))]
	if r.k != k {
		return false
	}
	r.left--
	return r.left == 0
}
