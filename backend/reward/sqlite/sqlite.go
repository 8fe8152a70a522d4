// Package sqlite is a [reward.Store] and a [reward.Desk] in the file of the boards. SQLite has one writer at a time, so nothing more is
// needed for batches to be counted one after the other.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	sqlite "modernc.org/sqlite"

	"github.com/millracehq/millrace/backend/reward"
	boards "github.com/millracehq/millrace/backend/store/sqlite"
)

// Store is a store in the file of boards.
type Store struct {
	rules *reward.Rules
	db    *boards.Store
	now   func() time.Time
}

// New keeps rewards where boards are kept. now is the clock, default [time.Now].
func New(db *boards.Store, rules *reward.Rules, now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	return &Store{rules: rules, db: db, now: now}
}

// Close implements [reward.Store]: the file is its opener's.
func (*Store) Close() error { return nil }

// sqliteConstraint is SQLite's primary result code for a violated constraint.
const sqliteConstraint = 19

// Count implements [reward.Store].
func (s *Store) Count(ctx context.Context, events []reward.Event) (c reward.Counted, err error) {
	err = s.db.Write(ctx, func(t *sql.Tx) error {
		c, err = reward.Count(&tx{ctx, t}, s.rules, events)
		return err
	})
	if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code()&0xff == sqliteConstraint {
		err = &reward.DataError{Err: e}
	}
	if err != nil {
		return reward.Counted{}, err
	}
	return c, nil
}

// Known implements [reward.Store].
func (s *Store) Known(ctx context.Context, ids []string) (out []bool, err error) {
	out = make([]bool, len(ids))
	err = s.db.Read(ctx, func(t *sql.Tx) error {
		find, err := t.PrepareContext(ctx, "SELECT EXISTS (SELECT 1 FROM reward_facts WHERE id = ?)")
		if err != nil {
			return err
		}
		defer find.Close()
		for i, id := range ids {
			if err := find.QueryRowContext(ctx, id).Scan(&out[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// Rescore implements [reward.Store].
func (s *Store) Rescore(ctx context.Context, rules *reward.Rules, dry bool) (out reward.Rescored, err error) {
	run := s.db.Write
	if dry {
		run = s.db.Read
	}
	err = run(ctx, func(t *sql.Tx) error {
		x := &tx{ctx, t}
		var all reward.Everything
		if all.Facts, err = x.facts("SELECT " + factColumns + " FROM reward_facts"); err != nil {
			return err
		}
		if all.Days, err = x.days("SELECT user_id, day, state FROM reward_days"); err != nil {
			return err
		}
		if all.Users, err = x.users("SELECT user_id, xp, told, state FROM reward_users"); err != nil {
			return err
		}
		var changes *reward.Changes
		if changes, out = reward.Rescore(&all, rules); dry {
			return nil
		}
		return x.Save(changes)
	})
	return out, err
}

// tx is a transaction.
type tx struct {
	ctx context.Context //nolint:containedctx // it lives as long as one call
	sql *sql.Tx
}

const factColumns = "id, unit, ord, kind, user_id, team, subject, whom, at, prio, est, born"

func fields(f *reward.Fact) []any {
	return []any{&f.ID, &f.Unit, &f.Order, &f.Kind, &f.User, &f.Team, &f.Subject, &f.Whom, &f.At, &f.Prio, &f.Est, &f.Born}
}

func (t *tx) facts(query string, args ...any) ([]reward.Fact, error) {
	return collect(t, fields, query, args...)
}

func (t *tx) days(query string, args ...any) (out []*reward.DayState, err error) {
	type row struct {
		reward.DayKey
		state string
	}
	rows, err := collect(t, func(r *row) []any { return []any{&r.User, &r.Day, &r.state} }, query, args...)
	for _, r := range rows {
		d, err := reward.DecodeDay(r.DayKey, r.state)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, err
}

func (t *tx) users(query string, args ...any) (out []*reward.UserState, err error) {
	type row struct {
		name, state string
		xp          reward.XP
		told        int64
	}
	rows, err := collect(t, func(r *row) []any { return []any{&r.name, &r.xp, &r.told, &r.state} }, query, args...)
	for _, r := range rows {
		u, err := reward.DecodeUser(r.name, r.xp, r.told, r.state)
		if err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, err
}

// collect reads all rows of a query.
func collect[T any](t *tx, fields func(*T) []any, query string, args ...any) (out []T, err error) {
	rows, err := t.sql.QueryContext(t.ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var v T
		if err := rows.Scan(fields(&v)...); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// Insert implements [reward.Tx].
func (t *tx) Insert(facts []reward.Fact, likely reward.Keys) (out reward.Found, err error) {
	out.Fresh = make(map[string]bool)
	insert, err := t.sql.PrepareContext(t.ctx, "INSERT INTO reward_facts ("+factColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING")
	if err != nil {
		return out, err
	}
	defer insert.Close()
	for i := range facts {
		res, err := insert.ExecContext(t.ctx, fields(&facts[i])...)
		if err != nil {
			return out, err
		}
		if n, err := res.RowsAffected(); err != nil {
			return out, err
		} else if n == 1 {
			out.Fresh[facts[i].ID] = true
		}
	}
	seen := make(map[string]bool)
	for i := range facts {
		if unit := facts[i].Unit; !seen[unit] {
			seen[unit] = true
			found, err := t.facts("SELECT "+factColumns+" FROM reward_facts WHERE unit = ?", unit)
			if err != nil {
				return out, err
			}
			out.Units = append(out.Units, found...)
		}
	}
	out.State, err = t.Load(likely)
	return out, err
}

// Load implements [reward.Tx].
func (t *tx) Load(keys reward.Keys) (reward.State, error) {
	out := reward.State{Days: make(map[reward.DayKey]*reward.DayState), Users: make(map[string]*reward.UserState)}
	for _, k := range keys.Days {
		found, err := t.days("SELECT user_id, day, state FROM reward_days WHERE user_id = ? AND day = ?", k.User, k.Day)
		if err != nil {
			return out, err
		}
		for _, d := range found {
			out.Days[k] = d
		}
	}
	for _, name := range keys.Users {
		found, err := t.users("SELECT user_id, xp, told, state FROM reward_users WHERE user_id = ?", name)
		if err != nil {
			return out, err
		}
		for _, u := range found {
			out.Users[name] = u
		}
	}
	return out, nil
}

// Save implements [reward.Tx].
func (t *tx) Save(c *reward.Changes) error {
	var err error
	exec := func(query string, args ...any) {
		if err == nil {
			_, err = t.sql.ExecContext(t.ctx, query, args...)
		}
	}
	for _, d := range c.Days {
		exec("INSERT INTO reward_days (user_id, day, state) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state", d.User, d.Day, d.Encode())
	}
	for _, u := range c.Users {
		exec(`INSERT INTO reward_users (user_id, xp, told, state) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET xp = excluded.xp, told = excluded.told, state = excluded.state`, u.User, u.XP, u.Told, u.Encode())
	}
	for _, s := range c.Scores {
		for _, period := range reward.Periods(s.Day) {
			exec(`INSERT INTO reward_scores (team, period, user_id, xp, reached) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT DO UPDATE SET xp = xp + excluded.xp, reached = max(reached, excluded.reached)`, s.Team, period, s.User, s.XP, s.Reached)
		}
	}
	return err
}
