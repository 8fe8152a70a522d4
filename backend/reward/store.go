package reward

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Store keeps what users have earned. Methods may be called concurrently. Each error of Count is a [*DataError], which the
// same event would meet again, or one that passes: of the database, of the network, of ctx.
type Store interface {
	// Count counts events in one transaction, each ID once whenever and however often it comes. What comes back is durable. An
	// error says that none was counted, or that this is not known: the same call does no harm.
	Count(ctx context.Context, events []Event) (Counted, error)
	// Known says of each ID whether it was counted.
	Known(ctx context.Context, ids []string) ([]bool, error)
	// Rescore computes everything anew from the facts, by other rules or, to see that nothing is wrong, by the same; and writes
	// it, unless dry. It holds up counting meanwhile.
	Rescore(ctx context.Context, rules *Rules, dry bool) (Rescored, error)
	// Refresh makes leaderboards show what is so now, if nobody has since a time. It reports whether it did.
	Refresh(ctx context.Context, since time.Time) (bool, error)
	// Close ends it.
	Close() error
}

// Desk is what users ask for. Each method names who asks, and shows nothing to whom it does not concern.
type Desk interface {
	// Account is what a user has; the zero Account but for the level for who has nothing.
	Account(ctx context.Context, user string) (Account, error)
	// SetPrivacy decides who sees a user on leaderboards. version is what the caller knows. *VersionError.
	SetPrivacy(ctx context.Context, user string, p Privacy, version int64) (Account, error)
	// Redeem spends points, once for each id. *VersionError, ErrPoor, ErrTaken.
	Redeem(ctx context.Context, user string, r Redemption, version int64) (Account, error)
	// Claim takes what the levels up to this one grant, once; ErrTaken if there are none to take. *VersionError.
	Claim(ctx context.Context, user string, level, version int64) (Account, error)
	// Leaders is a part of a team's leaderboard. ErrNotFound if the user is not a member.
	Leaders(ctx context.Context, user string, q Query) (Leaders, error)
}

var (
	// ErrNotFound says that it does not exist, or not for this user.
	ErrNotFound = errors.New("not found")
	// ErrPoor says that there are not enough points.
	ErrPoor = errors.New("not enough points")
	// ErrTaken says that this was done before.
	ErrTaken = errors.New("taken already")
)

// VersionError says that an account has been changed since the caller looked at it.
type VersionError struct{ Current Account }

func (e *VersionError) Error() string {
	return fmt.Sprintf("changed meanwhile, it is at version %d now", e.Current.Version)
}

// Counted is what a batch came to.
type Counted struct {
	Fresh      int // events that were counted
	Duplicates int // events that had been counted before
	Gains      []Gain
}

// Gain is what a batch changed for one user.
type Gain struct {
	User    string   `json:"user"`
	XP      XP       `json:"xp"`    // gained; negative for what was taken back
	Total   XP       `json:"total"` // now
	Level   int64    `json:"level"`
	LevelUp bool     `json:"level_up,omitempty"` // a level that the user never had before
	Unlocks []Unlock `json:"unlocks,omitempty"`
	Event   string   `json:"-"` // ID of the last event that led to it
	At      int64    `json:"-"` // unix ms when that happened
}

// Unlock is a tier of an achievement that was unlocked.
type Unlock struct {
	Key   string `json:"key"`
	Title string `json:"title"`
	Tier  int    `json:"tier"` // from 1
}

// Privacy is who sees a user on leaderboards.
type Privacy string

// Privacies.
const (
	Public  Privacy = "public"  // the team
	Private Privacy = "private" // the user alone, with the rank
	Out     Privacy = "out"     // nobody: the user does not compete
)

// Valid reports whether there is such a privacy.
func (p Privacy) Valid() bool { return p == Public || p == Private || p == Out }

// Account is what a user has.
type Account struct {
	User     string           `json:"user"`
	XP       XP               `json:"xp"`      // total
	Spent    XP               `json:"spent"`   // of it, redeemed
	Level    int64            `json:"level"`   // from 1
	Next     XP               `json:"next"`    // total at which the next one begins
	Claimed  int64            `json:"claimed"` // levels whose grants were taken
	Streak   int64            `json:"streak"`  // days in a row, up to the last active day
	Longest  int64            `json:"longest"`
	LastDay  Day              `json:"last_day"`
	Counters map[string]int64 `json:"counters,omitempty"`
	Tiers    map[string]int   `json:"tiers,omitempty"` // unlocked, by achievement
	Privacy  Privacy          `json:"privacy"`
	Version  int64            `json:"version"` // of privacy, spent and claimed; 0: as by default
}

// Redemption is points that are spent.
type Redemption struct {
	ID   string // who asks again with the same has spent once
	Item string
	Cost XP // more than 0
}

// Check says what is wrong with it.
func (r *Redemption) Check() error {
	if r.ID == "" || len(r.ID) > MaxText || len(r.Item) > MaxText || r.Cost <= 0 {
		return errors.New("redeem: id of 1 to 512 bytes, item of up to 512, cost over 0")
	}
	return nil
}

// Query asks for a part of a leaderboard.
type Query struct {
	Team   string
	Period string // see [Periods]
	Limit  int    // from the top, up to [MaxLeaders]; 0: none
	Around int    // so many before and behind the user, up to [MaxLeaders]
}

// MaxLeaders is the most that a query can ask for.
const MaxLeaders = 100

// Leaders is a part of a leaderboard: of more XP, else of who had them earlier, else of the lesser name.
type Leaders struct {
	Top    []Leader  `json:"top,omitempty"`
	Around []Leader  `json:"around,omitempty"` // the user among them
	AsOf   time.Time `json:"as_of"`
}

// Leader is one place.
type Leader struct {
	Rank int64  `json:"rank"` // from 1, among those who compete
	User string `json:"user"`
	XP   XP     `json:"xp"`
}

// PeriodAll is the period that never ends.
const PeriodAll = "all"

// Periods are those that a day belongs to: all, its ISO week, 2026-W48, and its month, 2026-11.
func Periods(d Day) [3]string {
	t := d.Time()
	year, week := t.ISOWeek()
	return [3]string{PeriodAll, fmt.Sprintf("%04d-W%02d", year, week), t.Format("2006-01")}
}
