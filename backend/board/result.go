package board

// Status is how a mutation ended, from best to worst.
type Status string

// Ends of mutations. Each mutation has one, for ever.
const (
	Committed  Status = "committed"  // as it was meant
	Merged     Status = "merged"     // a text was merged with one that somebody else wrote
	Redirected Status = "redirected" // into another column, since the one that was meant is deleted
	Superseded Status = "superseded" // at least partly: somebody else's later intent stands
	Rejected   Status = "rejected"   // without effect
)

// Gap is no end: mutations before this one have not arrived, so it was not looked at. Send again, from [Result.Next] on.
const Gap Status = "gap"

var statusRank = map[Status]int{Committed: 0, Merged: 1, Redirected: 2, Superseded: 3, Rejected: 4}

// Result is what a mutation came to.
type Result struct {
	N      int64    `json:"n"`
	Seq    int64    `json:"seq,omitempty"` // 0 if rejected
	Status Status   `json:"status"`
	Code   string   `json:"code,omitempty"`   // of a rejection
	Text   string   `json:"text,omitempty"`   // of a rejection, for people
	Next   int64    `json:"next,omitempty"`   // of a gap: the number that is wanted
	Hidden []string `json:"hidden,omitempty"` // rows that were changed though they are deleted: they can be restored with the change
}

// Conflict is a value that lost against another of which its author knew nothing, or the other way round.
type Conflict struct {
	Seq   int64    `json:"seq"` // of the mutation that brought it about
	Row   Key      `json:"row"`
	Group string   `json:"group"`
	Kept  Register `json:"kept"`
	Lost  Register `json:"lost"` // its seq is that of the conflict if it was never stored
}

// Change is a register before and after a mutation. Of a new row, or a register that was not there, Before is the zero Register.
type Change struct {
	Key    Key
	Group  string
	Before Register
	After  Register
}

// Outcome is all that comes of a mutation.
type Outcome struct {
	Result    Result
	Changes   []Change
	Conflicts []Conflict
}

// worsen notes the status of one operation.
func (r *Result) worsen(s Status) {
	if statusRank[s] > statusRank[r.Status] {
		r.Status = s
	}
}
