package postgres

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/millracehq/millrace/backend/reward"
)

const (
	replicaTimeout = 3 * time.Second
	replicaRest    = 5 * time.Second // after it did not answer
)

// Leaders implements [reward.Desk]. All of it is one moment, of the replica if there is one and it answers. What it has to replay cancels what it is reading (SQLSTATE
// 40001), and it may be gone: then the primary is read.
func (d *Desk) Leaders(ctx context.Context, user string, q reward.Query) (reward.Leaders, error) {
	q = q.Bound()
	if d.replica != nil && time.Now().UnixNano() >= d.restUntil.Load() {
		out, err := d.replicaLeaders(ctx, user, q)
		if err == nil || errors.Is(err, reward.ErrNotFound) {
			d.used.Inc()
			return out, err
		}
		if ctx.Err() != nil {
			return out, err
		}
		d.failed.Inc()
		if _, answers := errors.AsType[*pgconn.PgError](err); !answers {
			d.restUntil.Store(time.Now().Add(replicaRest).UnixNano())
		}
	}
	return leaders(ctx, d.pool, user, q)
}

func (d *Desk) replicaLeaders(ctx context.Context, user string, q reward.Query) (reward.Leaders, error) {
	ctx, cancel := context.WithTimeout(ctx, replicaTimeout)
	defer cancel()
	return leaders(ctx, d.replica, user, q)
}

func leaders(ctx context.Context, pool *pgxpool.Pool, user string, q reward.Query) (out reward.Leaders, err error) {
	err = pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(pg pgx.Tx) error {
		member := false
		const seen = "SELECT rank, user_id, xp FROM reward.seen_leaders WHERE team = $1 AND period = $2"
		var mine, before, behind []reward.Leader
		b := &pgx.Batch{}
		b.Queue(setUser, user)
		b.Queue("SELECT EXISTS (SELECT FROM app.members WHERE workspace = $1 AND user_id = $2 AND role <> ''), (SELECT at FROM reward.refreshed)", q.Team, user).
			QueryRow(func(row pgx.Row) error { return row.Scan(&member, &out.AsOf) })
		if q.Limit > 0 {
			b.Queue(seen+" ORDER BY rank LIMIT "+strconv.Itoa(q.Limit), q.Team, q.Period).Query(into(&out.Top, scanLeader))
		}
		if q.Around > 0 {
			b.Queue(seen+" AND user_id = $3", q.Team, q.Period, user).Query(into(&mine, scanLeader))
		}
		if err := pg.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		if !member {
			return reward.ErrNotFound
		}
		if len(mine) == 0 {
			return nil
		}
		limit := " LIMIT " + strconv.Itoa(q.Around)
		b = &pgx.Batch{}
		b.Queue(seen+" AND rank < $3 ORDER BY rank DESC"+limit, q.Team, q.Period, mine[0].Rank).Query(into(&before, scanLeader))
		b.Queue(seen+" AND rank > $3 ORDER BY rank"+limit, q.Team, q.Period, mine[0].Rank).Query(into(&behind, scanLeader))
		if err := pg.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		out.Around = reward.SortLeaders(slices.Concat(before, mine, behind))
		return nil
	})
	if err != nil {
		return reward.Leaders{}, err
	}
	return out, nil
}

func scanLeader(row pgx.CollectableRow) (l reward.Leader, err error) {
	return l, row.Scan(&l.Rank, &l.User, &l.XP)
}
