// Package replica is a client's copy of a board: what the server has said, and over it what the user has done since. It is
// pure, like package board: somebody else sends, receives, and keeps [Replica.State] where it survives.
//
//	Do ──▶ pending ──Outgoing──▶ server          view = base, then pending, by the rules that the server uses
//	base ◀──Receive── deltas, results ◀── server
//
// A pending mutation leaves when the server has said its result and the base has what came of it, in one step: nothing flickers.
package replica

import (
	"slices"

	"github.com/millracehq/millrace/backend/board"
)

// Replica is a copy of one board for one user. Its methods are for one goroutine at a time.
type Replica struct {
	state   State
	rules   board.Rules
	base    *board.Table
	seq     int64                  // of base; 0: nothing yet
	gc      int64                  // the last purge that base knows of
	partial bool                   // base is the beginning of a pull: nothing fits it but what comes next
	pulled  bool                   // base is not just empty
	hash    string                 // of the board at seq, as the server has said
	results map[int64]board.Result // of pending mutations
	view    *board.Buffer          // nil: to be made anew
	clock   int64
}

// State is what must survive: without it, what the user did is lost. Keep it before a mutation is shown as saved.
type State struct {
	Board   string            `json:"board"`
	User    string            `json:"user"`
	Client  string            `json:"client"`
	Next    int64             `json:"next"` // number of the next mutation
	Pending []*board.Mutation `json:"pending"`
	Drawer  []Refused         `json:"drawer"`
}

// Refused is a mutation that the server has rejected, with the reason. It stays until the user has seen it.
type Refused struct {
	Mutation *board.Mutation `json:"mutation"`
	Result   board.Result    `json:"result"`
}

// New continues from a state. The client must be random and new if the state is: nobody else's, and not one of this user's from
// which anything has been lost.
func New(s State, rules board.Rules) *Replica {
	s.Next = max(s.Next, 1)
	r := &Replica{state: s, rules: rules, base: board.NewTable(), hash: board.FormatHash(0), results: make(map[int64]board.Result)}
	for _, m := range s.Pending {
		r.clock = max(r.clock, m.TS)
	}
	return r
}

// State is what must be kept. Its slices are copies.
func (r *Replica) State() State {
	s := r.state
	s.Pending, s.Drawer = slices.Clone(s.Pending), slices.Clone(s.Drawer)
	return s
}

// Seq is up to where the base is.
func (r *Replica) Seq() int64 { return r.seq }

// GC is the last purge that the base knows of, for a pull.
func (r *Replica) GC() int64 { return r.gc }

// Base are the rows as the server has said. Some may be heads, see [board.Table.Missing].
func (r *Replica) Base() *board.Table { return r.base }

// View are the rows as the user sees them.
func (r *Replica) View() board.Rows { return r.current() }

// Pending is how many mutations have not come to their end.
func (r *Replica) Pending() int { return len(r.state.Pending) }

// Drawer are the mutations that the server has rejected.
func (r *Replica) Drawer() []Refused { return r.state.Drawer }

// Dismiss takes a mutation out of the drawer.
func (r *Replica) Dismiss(n int64) {
	r.state.Drawer = slices.DeleteFunc(r.state.Drawer, func(d Refused) bool { return d.Mutation.N == n })
}

// Do makes a mutation of what the user does at now, unix ms by the best clock at hand. What the rules already refuse, by
// what is known here, is not made: the outcome says why. Otherwise the outcome is what the server is expected to say; its
// changes are for [board.Inverse].
func (r *Replica) Do(now int64, undo int64, ops ...board.Op) board.Outcome {
	if refused := r.blind(ops); refused != nil {
		return board.Outcome{Result: *refused}
	}
	r.clock = max(r.clock+1, now*1000)
	m := &board.Mutation{
		Client: r.state.Client, N: r.state.Next, Schema: board.Schema, Base: r.seq, TS: r.clock, Undo: undo,
		Ops: slices.Clone(ops), User: r.state.User,
	}
	out := r.expect(m)
	if out.Result.Status == board.Rejected {
		return out
	}
	r.state.Next++
	r.state.Pending = append(r.state.Pending, m)
	return out
}

// expect applies a mutation to the view. Rows in memory give no errors.
func (r *Replica) expect(m *board.Mutation) board.Outcome {
	copied := *m
	head := board.Head{Seq: r.seq + m.N, HLC: r.clock}
	out, err := r.rules.Apply(r.current(), &head, &copied, 0)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return out
}

// current is the view. It is made when somebody looks: many deltas may come before that.
func (r *Replica) current() *board.Buffer {
	if r.view != nil {
		return r.view
	}
	r.view = board.NewBuffer(r.base)
	for _, m := range r.state.Pending {
		if result, ok := r.results[m.N]; !ok || result.Seq > r.seq {
			r.expect(m)
		}
	}
	return r.view
}

// Outgoing are the mutations to send, in order, at most limit. Those that were sent and have no result are among them:
// the server knows them.
func (r *Replica) Outgoing(limit int) []*board.Mutation {
	var out []*board.Mutation
	for _, m := range r.state.Pending {
		if _, done := r.results[m.N]; !done && len(out) < limit {
			out = append(out, m)
		}
	}
	return out
}

// Need is what a copy lacks after a delta.
type Need int

// Needs.
const (
	Nothing Need = iota
	Pull         // something is missing: pull since [Replica.Seq], [Replica.GC]
	Lost         // the user has no right to the board any more: see [Replica.Revoked]
	Reload       // the copy differs from the server's: [Replica.Forget], and pull. This must not happen: count it
)

// Receive takes what the server says: a publication, the answer to a pull or to mutations.
func (r *Replica) Receive(d *board.Delta) Need {
	for _, result := range d.Results {
		switch {
		case result.Client != r.state.Client:
		case result.Code == board.CodeNoBoard:
			return Lost
		default:
			r.result(result.Result)
		}
	}
	need := Nothing
	switch {
	case d.Reset && d.More && d.To == 0:
		r.Forget()
		need = Pull
	case r.fits(d):
		r.base = d.Apply(r.base)
		r.seq, r.gc, r.hash, r.partial, r.pulled, r.view = d.To, max(r.gc, d.GC), d.Hash, d.More, true, nil
		r.clock = max(r.clock, d.HLC)
		switch {
		case d.More:
			need = Pull
		case r.diverged():
			need = Reload
		}
	case d.To > r.seq || r.partial:
		need = Pull
	case d.To == r.seq && d.Hash != "" && d.Hash != r.hash:
		need = Reload
	}
	r.settle()
	return need
}

func (r *Replica) fits(d *board.Delta) bool {
	if r.partial || d.Reset && d.More {
		return d.Pull && d.From == r.seq && d.Fits(r.seq)
	}
	return d.Fits(r.seq)
}

// Forget drops the base, to pull it anew. What is pending stays.
func (r *Replica) Forget() {
	r.base, r.seq, r.gc, r.partial, r.pulled, r.hash, r.view = board.NewTable(), 0, 0, false, false, board.FormatHash(0), nil
}

func (r *Replica) result(result board.Result) {
	if result.Status == board.Gap {
		return // it will be sent again, with what is before it
	}
	for _, m := range r.state.Pending {
		if m.N == result.N {
			r.results[m.N] = result
			r.view = nil
		}
	}
}

// settle lets go of what has come to its end.
func (r *Replica) settle() {
	r.state.Pending = slices.DeleteFunc(r.state.Pending, func(m *board.Mutation) bool {
		result, ok := r.results[m.N]
		if !ok || result.Seq > r.seq {
			return false
		}
		if result.Status == board.Rejected {
			r.state.Drawer = append(r.state.Drawer, Refused{m, result})
		}
		delete(r.results, m.N)
		r.view = nil
		return true
	})
}

// Revoked says that the user has no right to the board any more: the copy is forgotten, what was pending is in the drawer.
// client is the name of a new copy, in case the right comes back.
func (r *Replica) Revoked(client string) {
	for _, m := range r.state.Pending {
		result, ok := r.results[m.N]
		switch {
		case !ok:
			result = board.Result{N: m.N, Status: board.Rejected, Code: board.CodeDenied, Text: "you have no access to this board any more"}
		case result.Status != board.Rejected:
			continue // it took effect
		}
		r.state.Drawer = append(r.state.Drawer, Refused{m, result})
	}
	r.state.Client, r.state.Next, r.state.Pending = client, 1, nil
	clear(r.results)
	r.Forget()
}
