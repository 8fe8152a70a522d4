package store

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/millracehq/millrace/backend/board"
)

// PullDelta is the answer to a pull but for its rows, conflicts and results, which are those after its From.
func PullDelta(id string, head board.Head, since Since) board.Delta {
	d := board.Delta{Board: id, Pull: true, From: since.Seq, To: head.Seq, HLC: head.HLC, Hash: board.FormatHash(head.Hash), GC: head.GC}
	if since.Seq <= 0 || since.Seq < head.GC && since.GC < head.GC || since.Seq > head.Seq {
		d.Reset, d.From = true, 0
	}
	return d
}

// Cut notes that the rows of a pull end with those of a sequence number, because of its limit. Whoever would have to begin anew and has
// something is told to forget it, and no more.
func Cut(d *board.Delta, since Since, last int64) {
	if last <= 0 || last >= d.To {
		return
	}
	if d.Reset && since.Seq > 0 {
		last, d.Rows = 0, nil
	}
	d.More, d.Hash, d.To = true, "", last
	d.Conflicts = slices.DeleteFunc(d.Conflicts, func(c board.Conflict) bool { return c.Seq > last })
}

// Page cuts the answer to a pull to about so many bytes: what has changed first, up to some sequence number, with the promise of
// more. The changes of one mutation stay together.
func Page(d *board.Delta, since Since, size int) error {
	slices.SortStableFunc(d.Rows, func(a, b *board.Row) int { return cmp.Compare(a.Seq, b.Seq) })
	for i, row := range d.Rows {
		data, err := json.Marshal(row)
		if err != nil {
			return err
		}
		if size -= len(data); size >= 0 || i == 0 || row.Seq == d.Rows[i-1].Seq {
			continue
		}
		last := d.Rows[i-1].Seq
		d.Rows = d.Rows[:i]
		Cut(d, since, last)
		return nil
	}
	return nil
}

// InOrder are the rows that were found, in the order in which they were asked for.
func InOrder(keys []board.Key, found []*board.Row) (rows []*board.Row) {
	byKey := make(map[board.Key]*board.Row, len(found))
	for _, r := range found {
		byKey[r.Key] = r
	}
	for _, k := range keys {
		if r := byKey[k]; r != nil {
			rows = append(rows, r)
		}
	}
	return rows
}

// Logged is the entry for those who read the log.
func (e *Entry) Logged() Logged {
	m := board.DecodeMutation(e.Body)
	m.User = e.User
	return Logged{User: e.User, At: time.UnixMilli(e.At).UTC(), Mutation: m, Result: e.Result}
}
