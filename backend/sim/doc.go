// Package sim runs clients, a network and a server of boards in one goroutine, by a seed, with everything going wrong that can, and checks what
// was promised.
//
//	replica.Replica ×N ──▶ links that drop, repeat, reorder, are cut in one direction ──▶ store.Commit (memory) ──▶ publications
//
// What goes wrong: links; clients that crash and have only their state; a server that dies before a commit, after it, before it publishes, before it
// answers; clocks a day off; users who lose their rights and get them back; purges; positions that get long. At the end everything is
// healed, and within a bounded number of exchanges all must agree. The same seed gives the same run, and a failing one is made smaller.
//
// The checks know nothing of how the merge works: they look at what clients were told, the log, and the rows.
package sim

import "github.com/millracehq/millrace/backend/board"

// Trouble is what may go wrong, as a set.
type Trouble uint

// Troubles.
const (
	Links   Trouble = 1 << iota // drop, repeat, reorder, cut
	Crashes                     // of clients and of the server
	Skew                        // clocks up to a day off
	Purges                      // of deleted rows
	Rights                      // taken and given back
	Crowd                       // many insertions at one spot
	all     = 1<<iota - 1
)

var troubleNames = []string{"links", "crashes", "skew", "purges", "rights", "crowd"}

// Fault is a mistake that is built in, to see whether the checks find it.
type Fault struct {
	Rules      board.Rules // of the server
	EarlyReply bool        // results are told before the commit
}

// Config is one run.
type Config struct {
	Seed    uint64
	Clients int // default 4
	Steps   int // default 300
	Without Trouble
	Fault   Fault
}

// Counts are what happened in a run.
type Counts struct {
	Steps, Mutations, Committed, Merged, Redirected, Superseded, Rejected int
	Conflicts, Repeats, Dropped, Duplicated, Cuts                         int
	ClientCrashes, ServerCrashes, Purged, Revocations, Pulls              int
	Bodies, Blind                                                         int // fetched; edits that were refused since the body was not there
}
