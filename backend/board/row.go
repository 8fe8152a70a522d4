package board

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
)

// Key names a row of a board.
type Key struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
}

func (k Key) String() string { return k.Kind + " " + k.ID }

// Stamp orders intents: by time, then by client.
type Stamp struct {
	TS     int64  // of the intent: unix ms times 1000, and a counter; never after the server's clock
	Client string // who had it
}

// Less reports whether s comes before o.
func (s Stamp) Less(o Stamp) bool { return s.TS < o.TS || s.TS == o.TS && s.Client < o.Client }

// Register is one value of a row, which is written whole. In JSON: [VALUE, TS, "CLIENT", SEQ].
type Register struct {
	Value Value
	Stamp Stamp
	Seq   int64 // of the mutation that meant this value; what the server moves for its own reasons keeps stamp and seq
}

// MarshalJSON implements [json.Marshaler].
func (r Register) MarshalJSON() ([]byte, error) {
	b, err := r.Value.appendJSON(append(make([]byte, 0, 96), '['))
	if err != nil {
		return nil, err
	}
	b = strconv.AppendInt(append(b, ','), r.Stamp.TS, 10)
	if b, err = appendQuoted(append(b, ','), r.Stamp.Client); err != nil {
		return nil, err
	}
	return append(strconv.AppendInt(append(b, ','), r.Seq, 10), ']'), nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (r *Register) UnmarshalJSON(data []byte) error {
	*r = Register{}
	parts := []any{&r.Value, &r.Stamp.TS, &r.Stamp.Client, &r.Seq} // decoded into what they point at; null leaves it
	if err := json.Unmarshal(data, &parts); err != nil {
		return fmt.Errorf("%.40s is no register: %w", data, err)
	}
	if len(parts) != 4 {
		return fmt.Errorf("%.40s is no register: want [VALUE, TS, \"CLIENT\", SEQ]", data)
	}
	return nil
}

// Row is a row of a board, or the part of it that has changed. Registers of names that this program does not know are
// kept: they are of a newer one.
type Row struct {
	Key
	Seq  int64               `json:"seq"`  // of the last mutation that changed something here
	Regs map[string]Register `json:"regs"` // by group

	// Without names registers that the row has and that are not here, with the mutation that meant each: see [Row.Head]. A register is in one of
	// the two. The hash of such a row says nothing.
	Without map[string]int64 `json:"without,omitempty"`
}

// Clone is a copy that can be changed.
func (r *Row) Clone() *Row {
	c := *r
	c.Regs, c.Without = maps.Clone(r.Regs), maps.Clone(r.Without)
	return &c
}

// Place is where the row stands; the zero Place and false for one that stands nowhere.
func (r *Row) Place() (Place, bool) { return r.Regs[GroupPlace].Value.Place() }

// Life is live, archived or deleted. A row without that register lives as long as what it belongs to.
func (r *Row) Life() string {
	if life := r.Regs[GroupLife].Value.Text(); life != "" {
		return life
	}
	return Live
}

// Head is the state of a board beside its rows.
type Head struct {
	Seq  int64  `json:"seq"`  // of the last mutation
	HLC  int64  `json:"hlc"`  // the board's clock; no stamp is later
	Hash uint64 `json:"hash"` // sum of the hashes of all rows
	GC   int64  `json:"gc"`   // who has seen less than this needs a snapshot: rows have been purged

	Workspace string `json:"-"` // to which the board belongs
}
