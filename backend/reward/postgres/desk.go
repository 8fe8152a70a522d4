package postgres

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/millracehq/millrace/backend/reward"
	boards "github.com/millracehq/millrace/backend/store/postgres"
)

// Desk is a [reward.Desk].
type Desk struct {
	// Immutable after Watch.
	rules   *reward.Rules
	pool    *pgxpool.Pool
	replica *pgxpool.Pool // of which leaderboards are read; nil: none

	// Set by Watch.
	used, failed *metrics.Counter // reads of the replica

	restUntil atomic.Int64 // unix ns: the replica does not answer
}

// OpenDesk connects to a database that has been migrated, as backends do, and to a replica, if its address is not "".
func OpenDesk(ctx context.Context, url, replica string, rules *reward.Rules) (*Desk, error) {
	pool, err := boards.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	d := &Desk{rules: rules, pool: pool}
	d.Watch(metrics.NewSet())
	if replica != "" {
		if d.replica, err = boards.Connect(ctx, replica); err != nil {
			pool.Close()
			return nil, err
		}
	}
	return d, nil
}

// Watch has reads of the replica counted in a set. It is called before the desk is used.
func (d *Desk) Watch(set *metrics.Set) {
	d.used = set.GetOrCreateCounter(`millrace_rewards_replica_reads_total{result="used"}`)
	d.failed = set.GetOrCreateCounter(`millrace_rewards_replica_reads_total{result="failed"}`)
}

// Close ends it.
func (d *Desk) Close() {
	if d.replica != nil {
		d.replica.Close()
	}
	d.pool.Close()
}

const setUser = "SELECT set_config('app.user_id', $1, true)"

// Account implements [reward.Desk].
func (d *Desk) Account(ctx context.Context, user string) (a reward.Account, err error) {
	err = pgx.BeginTxFunc(ctx, d.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(pg pgx.Tx) error {
		a, _, err = d.account(ctx, pg, user, "")
		return err
	})
	return a, err
}

// account reads an account; more is what follows the query of the purse.
func (d *Desk) account(ctx context.Context, pg pgx.Tx, user, more string) (a reward.Account, p reward.Purse, err error) {
	u := reward.NewUser(user)
	p = reward.NewPurse()
	b := &pgx.Batch{}
	b.Queue(setUser, user)
	b.Queue("SELECT spent, claimed, privacy, version FROM reward.purses WHERE user_id = $1"+more, user).QueryRow(func(row pgx.Row) error {
		return ifAny(row.Scan(&p.Spent, &p.Claimed, &p.Privacy, &p.Version))
	})
	b.Queue("SELECT user_id, xp, told, state FROM reward.users WHERE user_id = $1", user).Query(func(rows pgx.Rows) error {
		found, err := pgx.CollectRows(rows, scanUser)
		if len(found) > 0 {
			u = found[0]
		}
		return err
	})
	if err := pg.SendBatch(ctx, b).Close(); err != nil {
		return a, p, err
	}
	a = u.Account(d.rules)
	p.Fill(&a)
	return a, p, nil
}

func ifAny(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

// change changes a purse, if it is of that version. The version is part of what is written, too, so of two at the same time one
// changes nothing.
func (d *Desk) change(ctx context.Context, user string, version int64, f func(pgx.Tx, *reward.Account, *reward.Purse) error) (out reward.Account, err error) {
	err = pgx.BeginFunc(ctx, d.pool, func(pg pgx.Tx) error {
		a, p, err := d.account(ctx, pg, user, " FOR UPDATE")
		if err != nil {
			return err
		}
		if err := f(pg, &a, &p); err != nil {
			return err
		}
		if p.Version != version {
			return &reward.VersionError{Current: a}
		}
		var tag pgconn.CommandTag
		if version == 0 {
			tag, err = pg.Exec(ctx, `INSERT INTO reward.purses (user_id, spent, claimed, privacy, version) VALUES ($1, $2, $3, $4, 1)
				ON CONFLICT DO NOTHING`, user, p.Spent, p.Claimed, string(p.Privacy))
		} else {
			tag, err = pg.Exec(ctx, `UPDATE reward.purses SET spent = $2, claimed = $3, privacy = $4, version = version + 1
				WHERE user_id = $1 AND version = $5`, user, p.Spent, p.Claimed, string(p.Privacy), version)
		}
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			a, _, err := d.account(ctx, pg, user, "")
			return errors.Join(err, &reward.VersionError{Current: a})
		}
		p.Version++
		p.Fill(&a)
		out = a
		return nil
	})
	return out, err
}

// SetPrivacy implements [reward.Desk].
func (d *Desk) SetPrivacy(ctx context.Context, user string, privacy reward.Privacy, version int64) (reward.Account, error) {
	return d.change(ctx, user, version, func(_ pgx.Tx, _ *reward.Account, p *reward.Purse) error {
		p.Privacy = privacy
		return nil
	})
}

// Redeem implements [reward.Desk].
func (d *Desk) Redeem(ctx context.Context, user string, r reward.Redemption, version int64) (reward.Account, error) {
	if err := r.Check(); err != nil {
		return reward.Account{}, err
	}
	return d.change(ctx, user, version, func(pg pgx.Tx, a *reward.Account, p *reward.Purse) error {
		tag, err := pg.Exec(ctx, "INSERT INTO reward.redeemed (user_id, id, item, cost) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING", user, r.ID, r.Item, int64(r.Cost))
		switch {
		case err != nil:
			return err
		case tag.RowsAffected() == 0:
			return reward.ErrTaken
		case p.Version != version:
			return nil // which is said then
		}
		return p.Redeem(a, r.Cost)
	})
}

// Claim implements [reward.Desk].
func (d *Desk) Claim(ctx context.Context, user string, level, version int64) (reward.Account, error) {
	return d.change(ctx, user, version, func(_ pgx.Tx, a *reward.Account, p *reward.Purse) error {
		if p.Version != version {
			return nil
		}
		return p.Claim(a, level)
	})
}
