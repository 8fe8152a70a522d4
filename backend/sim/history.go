package sim

import (
	"context"
	"fmt"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/replica"
)

// history is what clients did and what they were told.
type history struct {
	issued   map[string]map[int64]*board.Mutation
	results  map[string]map[int64]board.Result // as told
	revoked  map[string]map[int64]bool         // put into a drawer because the right was gone: it may have taken effect all the same
	purged   map[board.Key]bool
	purges   map[int64]bool // sequence numbers
	lost     map[string]bool
	sure     map[int64]bool // mutations whose time the server took as it was
	failures []string
}

func newHistory() *history {
	return &history{
		issued: make(map[string]map[int64]*board.Mutation), results: make(map[string]map[int64]board.Result), revoked: make(map[string]map[int64]bool),
		purged: make(map[board.Key]bool), purges: make(map[int64]bool), lost: make(map[string]bool), sure: make(map[int64]bool),
	}
}

func (h *history) fail(format string, args ...any) {
	if len(h.failures) < 5 {
		h.failures = append(h.failures, fmt.Sprintf(format, args...))
	}
}

func put[V any](m map[string]map[int64]V, client string, n int64, v V) {
	if m[client] == nil {
		m[client] = make(map[int64]V)
	}
	m[client][n] = v
}

func (h *history) issue(m *board.Mutation) {
	if h.issued[m.Client][m.N] != nil {
		h.fail("%s made mutation %d twice", m.Client, m.N)
	}
	put(h.issued, m.Client, m.N, m)
}

func (h *history) told(r board.ClientResult) {
	if before, ok := h.results[r.Client][r.N]; ok && before.Status != r.Status {
		h.fail("mutation %d of %s was %s and is %s now", r.N, r.Client, before.Status, r.Status)
	}
	put(h.results, r.Client, r.N, r.Result)
}

func (h *history) revoke(c *replica.Replica) {
	s := c.State()
	for _, m := range s.Pending {
		put(h.revoked, s.Client, m.N, true)
	}
}

func (h *history) purge(d *board.Delta) {
	h.purges[d.To] = true
	for _, k := range d.Purged {
		h.purged[k] = true
	}
}

// committed looks at the board right after a commit, when it can be seen whether anchors were respected.
func (w *world) committed(mutations []*board.Mutation, d *board.Delta) {
	h := w.history
	for _, c := range d.Conflicts {
		h.lost[c.Lost.Value.String()] = true
	}
	w.counts.Conflicts += len(d.Conflicts)
	seq := d.From
	for i, r := range d.Results {
		switch {
		case r.Status == board.Gap || r.Status == board.Rejected:
			continue
		case r.Seq <= d.From:
			w.counts.Repeats++
			continue
		}
		if seq++; r.Seq != seq {
			h.fail("mutation %d of %s has sequence number %d after %d", r.N, r.Client, r.Seq, seq-1)
		}
		if mutations[i].TS <= w.now*1000 {
			h.sure[r.Seq] = true
		}
	}
	if seq != d.To {
		h.fail("the board went from %d to %d with the last result at %d", d.From, d.To, seq)
	}
	w.checkAnchors(mutations, d)
}

func (w *world) checkAnchors(mutations []*board.Mutation, d *board.Delta) {
	last := len(d.Results) - 1
	r := d.Results[last]
	if r.Seq != d.To || d.From == d.To {
		return
	}
	ops := mutations[last].Ops
	o := ops[len(ops)-1]
	if o.After == "" || o.After == o.ID || o.Op != board.OpMove && o.Op != board.OpPut {
		return
	}
	place := func(id string) (board.Register, board.Place) {
		for _, row := range w.pullAll().Rows {
			if row.Kind == board.KindCard && row.ID == id {
				p, _ := row.Place()
				return row.Regs[board.GroupPlace], p
			}
		}
		return board.Register{}, board.Place{}
	}
	reg, self := place(o.ID)
	if reg.Seq != r.Seq {
		return // a later intent stands
	}
	_, anchor := place(o.After)
	if anchor.Lane != self.Lane {
		return
	}
	if self.Pos <= anchor.Pos {
		w.history.fail("card %s at %s does not stand behind %s at %s", o.ID, self.Pos, o.After, anchor.Pos)
	}
	for _, row := range w.pullAll().Rows {
		if p, ok := row.Place(); ok && p.Lane == self.Lane && row.ID != o.ID && p.Pos > anchor.Pos && p.Pos <= self.Pos {
			w.history.fail("card %s is between %s and its anchor %s", row.ID, o.ID, o.After)
		}
	}
}

// pullAll is the whole board as the server has it.
func (w *world) pullAll() *board.Delta {
	d, err := w.store.Pull(context.Background(), owner, boardID, storeSince)
	w.must(err)
	return &d
}
