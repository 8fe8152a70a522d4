package board

import (
	"cmp"
	"maps"
	"slices"
)

// Delta takes a copy of a board from one sequence number to another. It is what is published after a commit, the answer to a
// pull and, with Reset, a whole board.
type Delta struct {
	Board     string         `json:"board"`
	Reset     bool           `json:"reset,omitempty"` // Rows are the whole board, or its beginning: forget what you have
	More      bool           `json:"more,omitempty"`  // of a pull: there is more behind To, pull again; no hash
	Pull      bool           `json:"pull,omitempty"`  // the answer to a pull
	GC        int64          `json:"gc,omitempty"`    // the last purge, as far as it is known here
	From      int64          `json:"from"`            // it fits a copy that is at From or later
	To        int64          `json:"to"`
	HLC       int64          `json:"hlc"`
	Hash      string         `json:"hash"` // of the board at To, see [FormatHash]
	Rows      []*Row         `json:"rows,omitempty"`
	Purged    []Key          `json:"purged,omitempty"`
	Results   []ClientResult `json:"results,omitempty"`
	Conflicts []Conflict     `json:"conflicts,omitempty"`

	Records []Record `json:"-"` // of a commit: what it has brought about for the first time
}

// ClientResult is a result with the client whose it is.
type ClientResult struct {
	Client string `json:"client"`
	Result
	Private bool `json:"-"` // for its sender alone, who has shown no right to this client's name: others must not believe it
}

// Add notes what a mutation has changed: the registers in Rows are those at To.
func (d *Delta) Add(client string, o Outcome) {
	d.Results = append(d.Results, ClientResult{Client: client, Result: o.Result})
	d.Conflicts = append(d.Conflicts, o.Conflicts...)
	for _, c := range o.Changes {
		i := slices.IndexFunc(d.Rows, func(r *Row) bool { return r.Key == c.Key })
		if i < 0 {
			i = len(d.Rows)
			d.Rows = append(d.Rows, &Row{Key: c.Key, Regs: make(map[string]Register)})
		}
		d.Rows[i].Seq = o.Result.Seq
		d.Rows[i].Regs[c.Group] = c.After
	}
}

// Fits reports whether the delta can be applied to a copy that is at seq: nothing is missing in between, and it has news. A whole
// board may be as old as the copy, which it then repairs, and not older: such an answer was overtaken by others.
func (d *Delta) Fits(seq int64) bool {
	if d.Reset {
		return d.To >= seq
	}
	return d.From <= seq && seq < d.To
}

// Apply applies the delta to a copy that it fits. The rows of the table are not changed but replaced.
func (d *Delta) Apply(t *Table) *Table {
	if d.Reset {
		t = NewTable()
	}
	for _, patch := range d.Rows {
		if patch == nil {
			continue
		}
		old := t.rows[patch.Key]
		if old == nil {
			old = new(Row)
		}
		t.Put(old.Patched(patch))
	}
	for _, k := range d.Purged {
		t.Delete(k)
	}
	return t
}

// Collect lists the rows that can be purged: those that were deleted by a mutation up to a sequence number, whatever its client says of the
// time, and what belongs to them. Columns stay, since they say where late cards go.
func Collect(rows []*Row, upTo int64) []Key {
	gone := make(map[Key]bool)
	for _, r := range rows {
		if life := r.Regs[GroupLife]; r.Kind != KindColumn && r.Life() == Deleted && life.Seq <= upTo {
			gone[r.Key] = true
		}
	}
	for _, r := range rows {
		card := ""
		switch r.Kind {
		case KindItem:
			p, _ := r.Place()
			card = p.Lane
		case KindComment:
			card = r.Regs[GroupCard].Value.Text()
		case KindMark:
			card, _, _ = splitMark(r.ID)
		}
		if gone[Key{KindCard, card}] {
			gone[r.Key] = true
		}
	}
	return slices.SortedFunc(maps.Keys(gone), func(a, b Key) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) })
}
