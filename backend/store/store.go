// Package store keeps boards: their rows, the log of their mutations, who may see them.
//
//	service ──▶ Store ── memory    for tests and the simulator
//	                 ├── sqlite    in one file: the default
//	                 └── postgres  many backends at once, row-level security
//
// What a board's mutations come to is package board's affair, in what order and how often [Apply]'s; a store brings rows
// and a transaction. The suite of package storetest says what all of them must do.
//
// Every method names the user it works for, and none shows or changes what that user has no right to. What a user cannot see
// does not exist for them: [ErrNotFound].
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millracehq/millrace/backend/board"
)

// Role is what a member of a workspace may do.
type Role string

// Roles. Each may do what the next one may.
const (
	Owner  Role = "owner"  // decides who is a member
	Editor Role = "editor" // changes boards
	Viewer Role = "viewer" // sees them
	None   Role = ""
)

// Edits reports whether the role may change boards.
func (r Role) Edits() bool { return r == Owner || r == Editor }

// Valid reports whether there is such a role; None is one.
func (r Role) Valid() bool { return r == Owner || r == Editor || r == Viewer || r == None }

var (
	// ErrNotFound says that it does not exist, or not for this user.
	ErrNotFound = errors.New("not found")
	// ErrDenied says that the user sees it and may not do this.
	ErrDenied = errors.New("no right to do this")
	// ErrExists says that the ID is taken.
	ErrExists = errors.New("the ID is taken")
	// ErrLastOwner says that a workspace would be left without an owner.
	ErrLastOwner = errors.New("a workspace keeps at least one owner")
)

// VersionError says that something has been changed since the caller looked at it.
type VersionError struct {
	Current any // what it is now: a [Member] or a [Board]
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("changed meanwhile, it is now %+v", e.Current)
}

// Member is a user's part in a workspace.
type Member struct {
	User    string `json:"user"`
	Role    Role   `json:"role"`
	Version int64  `json:"version"` // counts changes, from 1; 0: not yet a member
}

// Board is what there is to know of a board without its rows.
type Board struct {
	ID        string `json:"id"`
	Workspace string `json:"workspace"`
	Title     string `json:"title"`
	Version   int64  `json:"version"` // of the title, from 1
	Seq       int64  `json:"seq"`
	Hash      string `json:"hash"`
	Role      Role   `json:"role"` // of the user who asks
}

// Since is what a client has of a board.
type Since struct {
	Seq    int64  // 0: nothing
	GC     int64  // the last purge that it knows of
	Client string // whose results are wanted, may be ""
	N      int64  // results after this one
	Limit  int    // of rows, about: what a mutation has changed stays together; 0: none
}

// Logged is an entry of a board's log.
type Logged struct {
	User     string          `json:"user"`
	At       time.Time       `json:"at"`
	Mutation *board.Mutation `json:"mutation"`
	Result   board.Result    `json:"result"`
}

// Store keeps boards. Methods may be called concurrently. An error that is none of this package's is one of the
// database: try again.
type Store interface {
	// CreateWorkspace makes a workspace, of which the user is the owner. ErrExists.
	CreateWorkspace(ctx context.Context, user, id, name string) error
	// Workspaces lists those that the user is a member of, by ID.
	Workspaces(ctx context.Context, user string) ([]Workspace, error)
	// SetMember gives somebody a role, or takes it ([None]). member.Version is what the caller knows of them.
	// ErrNotFound, ErrDenied, *VersionError, ErrLastOwner.
	SetMember(ctx context.Context, user, workspace string, member Member) (Member, error)
	// Members lists the members of a workspace by user. ErrNotFound.
	Members(ctx context.Context, user, workspace string) ([]Member, error)
	// CreateBoard makes an empty board. ErrNotFound (no such workspace), ErrDenied, ErrExists.
	CreateBoard(ctx context.Context, user, workspace, id, title string) (Board, error)
	// Rename changes a board's title. version is what the caller knows. ErrNotFound, ErrDenied, *VersionError.
	Rename(ctx context.Context, user, id, title string, version int64) (Board, error)
	// Boards lists the boards that the user sees, by ID.
	Boards(ctx context.Context, user string) ([]Board, error)
	// Board is one of them. ErrNotFound.
	Board(ctx context.Context, user, id string) (Board, error)

	// Commit applies mutations of any users to a board, in this order, in one transaction. What comes back is durable. Each
	// has a result in the delta, repeated ones the one that they had, [board.CodeNoBoard] for strangers. An error means that
	// none has taken effect, or that this is not known: the same call does no harm.
	Commit(ctx context.Context, id string, mutations []*board.Mutation) (board.Delta, error)
	// Pull is what a client lacks of a board: changed rows, or all of them when it has nothing or too old a copy;
	// conflicts; results. ErrNotFound.
	Pull(ctx context.Context, user, id string, since Since) (board.Delta, error)
	// Rows are those of some keys that there are, in the order of the keys, and the sequence number of the board as of which they are so. Keys
	// are UTF-8 without U+0000. ErrNotFound (no such board).
	Rows(ctx context.Context, user, id string, keys []board.Key) (rows []*board.Row, seq int64, err error)
	// Log lists the entries with a sequence number after one, oldest first, at most limit. ErrNotFound.
	Log(ctx context.Context, user, id string, after int64, limit int) ([]Logged, error)
	// History lists the entries of the log that are [About] a row, newest first, of the limit entries before a sequence number that may
	// be; 0: of all. next is where to go on, 0: that was all. ErrNotFound (no such board).
	History(ctx context.Context, user, id string, row board.Key, before int64, limit int) (entries []Logged, next int64, err error)
	// Conflicts lists those of a board, newest first, at most limit behind a spot. ErrNotFound.
	Conflicts(ctx context.Context, user, id string, behind Spot, limit int) ([]Lost, error)
	// Search finds texts on all boards that the user sees.
	Search(ctx context.Context, user string, q Query) ([]Hit, error)
	// Collect purges rows of a board that were deleted before a time, and conflicts that came about before it, as a user who may edit
	// it. ErrNotFound, ErrDenied.
	Collect(ctx context.Context, user, id string, before time.Time) (board.Delta, error)
	// Close ends it.
	Close() error
}
