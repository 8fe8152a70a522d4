package sim

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

var storeSince = store.Since{} //nolint:gochecknoglobals // a constant

// check compares what was promised with what is, after everything has been healed.
func (w *world) check() {
	server := board.NewTable()
	all := w.pullAll()
	server = all.Apply(server)
	if board.FormatHash(server.Hash()) != all.Hash {
		w.history.fail("the hash of the board is not that of its rows")
	}
	for _, c := range w.clients {
		w.checkCopy(c, server, all)
	}
	w.checkRows(server)
	log, err := w.store.Log(context.Background(), owner, boardID, -1, 1<<30)
	w.must(err)
	w.checkLog(log, all.To)
	w.checkRegisters(log, server)
}

func (w *world) checkCopy(c *client, server *board.Table, all *board.Delta) {
	h := w.history
	if n := c.copy.Pending(); n > 0 || c.copy.Seq() != all.To {
		h.fail("%s has %d pending mutations and is at %d of %d", c.saved.Client, n, c.copy.Seq(), all.To)
		return
	}
	if n := c.copy.Base().Missing(); n > 0 {
		h.fail("%s lacks %d bodies", c.saved.Client, n)
	}
	if a, b := asJSON(c.copy.Base()), asJSON(server); a != b {
		h.fail("%s has another board:\n%s\n%s", c.saved.Client, a, b)
	}
	seen := make(map[string]bool)
	for _, r := range server.All() {
		if r.Kind != board.KindColumn {
			continue
		}
		lane, _ := c.copy.View().Lane(r.ID)
		for _, card := range lane {
			if seen[card.ID] {
				h.fail("card %s is in two columns of %s", card.ID, c.saved.Client)
			}
			seen[card.ID] = true
		}
	}
}

func asJSON(t *board.Table) string {
	rows := t.All()
	for i, r := range rows {
		rows[i] = r.Clone()
		rows[i].Seq = 0 // a patch may be of a later mutation than the row
	}
	b, err := json.Marshal(rows)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// checkRows: no cycles, no position twice, every card in a column that is not deleted.
func (w *world) checkRows(server *board.Table) {
	taken := make(map[board.Place]string)
	for _, r := range server.All() {
		p, ok := r.Place()
		if other := taken[p]; ok && other != "" {
			w.history.fail("%s and %s are both at %v", r.ID, other, p)
		}
		taken[p] = r.ID
		if r.Kind != board.KindCard {
			continue
		}
		column, _ := server.Row(board.Key{Kind: board.KindColumn, ID: p.Lane})
		if column == nil || column.Life() == board.Deleted {
			w.history.fail("card %s is in column %s, which is deleted", r.ID, p.Lane)
		}
		for n, at := 0, r; at != nil; n++ {
			if n > 100 {
				w.history.fail("card %s is its own ancestor", r.ID)
				break
			}
			at, _ = server.Row(board.Key{Kind: board.KindCard, ID: at.Regs[board.GroupParent].Value.Text()})
		}
	}
}

// checkLog: every mutation has come to one end, which is the one that its client was told; sequence numbers have no gap.
func (w *world) checkLog(log []store.Logged, head int64) {
	h := w.history
	logged := make(map[string]map[int64]board.Result)
	var seqs []int64
	for seq := range h.purges {
		seqs = append(seqs, seq)
	}
	for _, e := range log {
		m := e.Mutation
		if _, twice := logged[m.Client][m.N]; twice {
			h.fail("mutation %d of %s was applied twice", m.N, m.Client)
		}
		put(logged, m.Client, m.N, e.Result)
		if e.Result.Seq > 0 {
			seqs = append(seqs, e.Result.Seq)
		}
		w.count(e.Result.Status)
	}
	slices.Sort(seqs)
	for i, seq := range seqs {
		if seq != int64(i)+1 {
			h.fail("sequence number %d is missing", i+1)
			break
		}
	}
	if int64(len(seqs)) != head {
		h.fail("%d sequence numbers, and the board is at %d", len(seqs), head)
	}
	for client, issued := range h.issued {
		for n := range issued {
			result, ok := logged[client][n]
			switch {
			case !ok && !h.revoked[client][n]:
				h.fail("mutation %d of %s was lost", n, client)
			case ok && !h.revoked[client][n] && h.results[client][n].Status != result.Status:
				h.fail("mutation %d of %s was %s, its client was told %q", n, client, result.Status, h.results[client][n].Status)
			case ok && result.Status == board.Rejected && !w.inDrawer(client, n):
				h.fail("mutation %d of %s was rejected and is in no drawer", n, client)
			}
		}
	}
}

func (w *world) inDrawer(client string, n int64) bool {
	for _, c := range w.clients {
		for _, d := range c.copy.Drawer() {
			if d.Mutation.Client == client && d.Mutation.N == n {
				return true
			}
		}
	}
	return false
}

func (w *world) count(s board.Status) {
	c := &w.counts
	switch s {
	case board.Committed:
		c.Committed++
	case board.Merged:
		c.Merged++
	case board.Redirected:
		c.Redirected++
	case board.Superseded:
		c.Superseded++
	case board.Rejected:
		c.Rejected++
	}
}

// write is one time that a title was written.
type write struct {
	m     *board.Mutation
	seq   int64
	value board.Value
}

// checkRegisters looks at titles: each that was written stands, or was overwritten by somebody who had seen it, or is in the
// conflicts; and of those that nobody has seen and overwritten the latest stands.
func (w *world) checkRegisters(log []store.Logged, server *board.Table) {
	writes := make(map[board.Key][]write)
	for _, e := range log {
		if e.Result.Status == board.Rejected {
			continue
		}
		for i := range e.Mutation.Ops {
			o := &e.Mutation.Ops[i]
			v, ok := o.Values["title"]
			if o.Op == board.OpSet && o.Group == "title" {
				v, ok = *o.Value, true
			}
			if ok {
				writes[o.Key()] = append(writes[o.Key()], write{e.Mutation, e.Result.Seq, v})
			}
		}
	}
	for key, all := range writes {
		if w.history.purged[key] {
			continue
		}
		row, _ := server.Row(key)
		if row == nil {
			w.history.fail("%s is gone", key)
			continue
		}
		w.checkTitle(key, all, row.Regs["title"].Value)
	}
}

// knew reports whether the author of later had seen what earlier wrote.
func knew(later, earlier write) bool {
	return later.m.Base >= earlier.seq || later.m.Client == earlier.m.Client && (later.m.N > earlier.m.N || later.m.N == earlier.m.N)
}

func (w *world) checkTitle(key board.Key, all []write, stands board.Value) {
	h := w.history
	var open []write // those that nobody has knowingly overwritten
	for i, a := range all {
		known := false
		for _, b := range all[i+1:] {
			known = known || knew(b, a)
		}
		if !known {
			open = append(open, a)
		}
		if !known && a.value != stands && !h.lost[a.value.String()] {
			h.fail("%s of %s was lost: it neither stands nor is a conflict", a.value, a.m.Client)
		}
	}
	i := slices.IndexFunc(open, func(a write) bool { return a.value == stands })
	if i < 0 {
		h.fail("%s: %s stands, whose successor had seen it", key, stands)
		return
	}
	best := open[i]
	for _, a := range open {
		if h.sure[a.seq] && h.sure[best.seq] && (a.m.TS > best.m.TS || a.m.TS == best.m.TS && a.m.Client > best.m.Client) {
			h.fail("%s: %s of %d stands, and %s of %d was meant later", key, stands, best.m.TS, a.value, a.m.TS)
		}
	}
}
