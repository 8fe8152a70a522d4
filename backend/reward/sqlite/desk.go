package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/millracehq/millrace/backend/reward"
)

// Account implements [reward.Desk].
func (s *Store) Account(ctx context.Context, user string) (a reward.Account, err error) {
	err = s.db.Read(ctx, func(t *sql.Tx) error {
		a, _, err = s.account(&tx{ctx, t}, user)
		return err
	})
	return a, err
}

func (s *Store) account(t *tx, user string) (a reward.Account, p reward.Purse, err error) {
	found, err := t.users("SELECT user_id, xp, told, state FROM reward_users WHERE user_id = ?", user)
	if err != nil {
		return a, p, err
	}
	u := reward.NewUser(user)
	if len(found) > 0 {
		u = found[0]
	}
	a, p = u.Account(s.rules), reward.NewPurse()
	err = t.sql.QueryRowContext(t.ctx, "SELECT spent, claimed, privacy, version FROM reward_purses WHERE user_id = ?", user).
		Scan(&p.Spent, &p.Claimed, &p.Privacy, &p.Version)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	p.Fill(&a)
	return a, p, err
}

// change changes a purse, if it is of that version.
func (s *Store) change(ctx context.Context, user string, version int64, f func(*tx, *reward.Account, *reward.Purse) error) (out reward.Account, err error) {
	err = s.db.Write(ctx, func(t *sql.Tx) error {
		x := &tx{ctx, t}
		a, p, err := s.account(x, user)
		if err != nil {
			return err
		}
		if err := f(x, &a, &p); err != nil {
			return err
		}
		if p.Version != version {
			return &reward.VersionError{Current: a}
		}
		p.Version++
		_, err = t.ExecContext(ctx, `INSERT INTO reward_purses (user_id, spent, claimed, privacy, version) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET spent = excluded.spent, claimed = excluded.claimed, privacy = excluded.privacy, version = excluded.version`,
			user, p.Spent, p.Claimed, p.Privacy, p.Version)
		p.Fill(&a)
		out = a
		return err
	})
	return out, err
}

// SetPrivacy implements [reward.Desk].
func (s *Store) SetPrivacy(ctx context.Context, user string, privacy reward.Privacy, version int64) (reward.Account, error) {
	return s.change(ctx, user, version, func(_ *tx, _ *reward.Account, p *reward.Purse) error {
		p.Privacy = privacy
		return nil
	})
}

// Redeem implements [reward.Desk].
func (s *Store) Redeem(ctx context.Context, user string, r reward.Redemption, version int64) (reward.Account, error) {
	if err := r.Check(); err != nil {
		return reward.Account{}, err
	}
	return s.change(ctx, user, version, func(t *tx, a *reward.Account, p *reward.Purse) error {
		res, err := t.sql.ExecContext(ctx, "INSERT INTO reward_redeemed (user_id, id, item, cost, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
			user, r.ID, r.Item, r.Cost, s.now().UnixMilli())
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, reward.ErrTaken)
		}
		if p.Version != version {
			return nil // which is said then
		}
		return p.Redeem(a, r.Cost)
	})
}

// Claim implements [reward.Desk].
func (s *Store) Claim(ctx context.Context, user string, level, version int64) (reward.Account, error) {
	return s.change(ctx, user, version, func(_ *tx, a *reward.Account, p *reward.Purse) error {
		if p.Version != version {
			return nil
		}
		return p.Claim(a, level)
	})
}

// Refresh implements [reward.Store].
func (s *Store) Refresh(ctx context.Context, since time.Time) (did bool, err error) {
	err = s.db.Write(ctx, func(t *sql.Tx) error {
		var at int64
		if err := t.QueryRowContext(ctx, "SELECT at FROM reward_refreshed").Scan(&at); err != nil {
			return err
		}
		if at >= since.UnixMilli() {
			return nil
		}
		now := s.now()
		periods := reward.Periods(reward.DayOf(now.UnixMilli()))
		if _, err := t.ExecContext(ctx, "DELETE FROM reward_leaders"); err != nil {
			return err
		}
		if _, err := t.ExecContext(ctx, `INSERT INTO reward_leaders (team, period, rank, user_id, xp)
			SELECT s.team, s.period, row_number() OVER (PARTITION BY s.team, s.period ORDER BY s.xp DESC, s.reached, s.user_id), s.user_id, s.xp
			FROM reward_scores s JOIN members m ON m.workspace = s.team AND m.user_id = s.user_id AND m.role <> ''
			LEFT JOIN reward_purses p ON p.user_id = s.user_id
			WHERE s.xp > 0 AND coalesce(p.privacy, 'public') <> 'out' AND s.period IN (?, ?, ?)`, periods[0], periods[1], periods[2]); err != nil {
			return err
		}
		did = true
		_, err := t.ExecContext(ctx, "UPDATE reward_refreshed SET at = ?", now.UnixMilli())
		return err
	})
	return did && err == nil, err
}

// Leaders implements [reward.Desk].
func (s *Store) Leaders(ctx context.Context, user string, q reward.Query) (out reward.Leaders, err error) {
	q = q.Bound()
	err = s.db.Read(ctx, func(t *sql.Tx) error {
		x := &tx{ctx, t}
		var at int64
		err := t.QueryRowContext(ctx, `SELECT r.at FROM reward_refreshed r, members m WHERE m.workspace = ? AND m.user_id = ? AND m.role <> ''`, q.Team, user).Scan(&at)
		if errors.Is(err, sql.ErrNoRows) {
			return reward.ErrNotFound
		}
		if err != nil {
			return err
		}
		out.AsOf = time.UnixMilli(at)
		seen := func(more string, args ...any) ([]reward.Leader, error) {
			return collect(x, func(l *reward.Leader) []any { return []any{&l.Rank, &l.User, &l.XP} },
				`SELECT l.rank, l.user_id, l.xp FROM reward_leaders l LEFT JOIN reward_purses p ON p.user_id = l.user_id
				WHERE l.team = ? AND l.period = ? AND (coalesce(p.privacy, 'public') = 'public' OR p.privacy = 'private' AND l.user_id = ?)`+more,
				append([]any{q.Team, q.Period, user}, args...)...)
		}
		if q.Limit > 0 {
			if out.Top, err = seen(" ORDER BY l.rank LIMIT ?", q.Limit); err != nil {
				return err
			}
		}
		if q.Around == 0 {
			return nil
		}
		mine, err := seen(" AND l.user_id = ?", user)
		if err != nil || len(mine) == 0 {
			return err
		}
		before, err := seen(" AND l.rank < ? ORDER BY l.rank DESC LIMIT ?", mine[0].Rank, q.Around)
		if err != nil {
			return err
		}
		behind, err := seen(" AND l.rank > ? ORDER BY l.rank LIMIT ?", mine[0].Rank, q.Around)
		out.Around = reward.SortLeaders(slices.Concat(before, mine, behind))
		return err
	})
	return out, err
}
