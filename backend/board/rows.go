package board

import (
	"cmp"
	"maps"
	"slices"
)

// Rows is one board as [Rules.Apply] reads it, deleted rows included. Errors are those of what is underneath, and end
// the application of everything.
type Rows interface {
	// Row returns a row, or nil. It is not to be changed.
	Row(Key) (*Row, error)
	// Neighbor returns the first row of a lane after pos, or, if back, the last one before it. "" is beyond all
	// positions. It returns nil at the end of the lane.
	Neighbor(lane, pos string, back bool) (*Row, error)
	// Lane returns all rows of a lane in order.
	Lane(lane string) ([]*Row, error)
}

// Buffer is a board with changes that are not taken yet.
type Buffer struct {
	under   Rows
	changed map[Key]*Row
}

// NewBuffer is a Buffer over rows.
func NewBuffer(under Rows) *Buffer { return &Buffer{under: under, changed: make(map[Key]*Row)} }

// Row implements [Rows].
func (b *Buffer) Row(k Key) (*Row, error) {
	if r, ok := b.changed[k]; ok {
		return r, nil
	}
	return b.under.Row(k)
}

// Neighbor implements [Rows].
func (b *Buffer) Neighbor(lane, pos string, back bool) (*Row, error) {
	under, err := b.under.Neighbor(lane, pos, back)
	for err == nil && under != nil {
		if _, hidden := b.changed[under.Key]; !hidden {
			break
		}
		p, _ := under.Place()
		under, err = b.under.Neighbor(lane, p.Pos, back)
	}
	if err != nil {
		return nil, err
	}
	best := under
	for _, r := range b.changed {
		if beyond(r, lane, pos, back) && (best == nil || closer(r, best, back)) {
			best = r
		}
	}
	return best, nil
}

func beyond(r *Row, lane, pos string, back bool) bool {
	p, ok := r.Place()
	if !ok || p.Lane != lane {
		return false
	}
	if back {
		return pos == "" || p.Pos < pos
	}
	return p.Pos > pos
}

func closer(a, b *Row, back bool) bool {
	pa, _ := a.Place()
	pb, _ := b.Place()
	if back {
		return pa.Pos > pb.Pos
	}
	return pa.Pos < pb.Pos
}

// Lane implements [Rows].
func (b *Buffer) Lane(lane string) ([]*Row, error) {
	under, err := b.under.Lane(lane)
	if err != nil {
		return nil, err
	}
	all := make([]*Row, 0, len(under))
	for _, r := range under {
		if _, hidden := b.changed[r.Key]; !hidden {
			all = append(all, r)
		}
	}
	for _, r := range b.changed {
		if p, ok := r.Place(); ok && p.Lane == lane {
			all = append(all, r)
		}
	}
	SortLane(all)
	return all, nil
}

// Put changes a row, which then belongs to the Buffer.
func (b *Buffer) Put(r *Row) { b.changed[r.Key] = r }

// Changed are the rows that were put, by their keys.
func (b *Buffer) Changed() map[Key]*Row { return b.changed }

// take puts all that o, a Buffer over b, has changed.
func (b *Buffer) take(o *Buffer) { maps.Copy(b.changed, o.changed) }

// SortLane sorts rows by their positions, bytewise, and then by ID, which only clients need: what they have not yet
// heard from the server about may share a position.
func SortLane(rows []*Row) {
	slices.SortFunc(rows, func(a, b *Row) int {
		pa, _ := a.Place()
		pb, _ := b.Place()
		return cmp.Or(cmp.Compare(pa.Pos, pb.Pos), cmp.Compare(a.ID, b.ID))
	})
}

// Table is a board in memory. The zero value is not ready: make one by [NewTable].
type Table struct {
	rows    map[Key]*Row
	missing map[Key]struct{} // rows that lack their bodies
}

// NewTable is an empty Table.
func NewTable() *Table { return &Table{rows: make(map[Key]*Row), missing: make(map[Key]struct{})} }

// Row implements [Rows].
func (t *Table) Row(k Key) (*Row, error) { return t.rows[k], nil }

// Neighbor implements [Rows].
func (t *Table) Neighbor(lane, pos string, back bool) (*Row, error) {
	var best *Row
	for _, r := range t.rows {
		if beyond(r, lane, pos, back) && (best == nil || closer(r, best, back)) {
			best = r
		}
	}
	return best, nil
}

// Lane implements [Rows].
func (t *Table) Lane(lane string) ([]*Row, error) {
	var all []*Row
	for _, r := range t.rows {
		if p, ok := r.Place(); ok && p.Lane == lane {
			all = append(all, r)
		}
	}
	SortLane(all)
	return all, nil
}

// Put sets a row, which then belongs to the Table.
func (t *Table) Put(r *Row) {
	t.rows[r.Key] = r
	if len(r.Without) > 0 {
		t.missing[r.Key] = struct{}{}
	} else {
		delete(t.missing, r.Key)
	}
}

// Delete takes a row out.
func (t *Table) Delete(k Key) {
	delete(t.rows, k)
	delete(t.missing, k)
}

// Len is the number of rows.
func (t *Table) Len() int { return len(t.rows) }

// All are all rows, by kind and ID.
func (t *Table) All() []*Row {
	return slices.SortedFunc(maps.Values(t.rows), func(a, b *Row) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
}

// Hash is the sum of the hashes of all rows. While bodies are missing it says nothing.
func (t *Table) Hash() uint64 {
	var sum uint64
	for _, r := range t.rows {
		sum += r.Hash()
	}
	return sum
}
