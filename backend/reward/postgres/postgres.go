// Package postgres is a [reward.Store] and a [reward.Desk] in the database of the boards, for any number of workers and backends.
//
// [Store] logs in as a member of millrace_rewards, which may count and sees no board; [Desk] as a backend does, bound by row-level
// security to the user who asks. A batch of any number of events is one transaction of two exchanges: insert, lock, read the
// units, and the days and users that are likely to change; write and commit. One between them reads what else is needed, and one after them waits for the disk, when the
// lock is gone. Each statement takes arrays, in the order of the keys. Scores are added to behind that, by a goroutine of the Store: see scores.go. One batch is counted at a time (an advisory lock of the transaction, so it works through PgBouncer): that is
// what makes a unit, to which several users' events belong, one that two batches never look at with half of the facts each.
package postgres

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/millracehq/millrace/backend/reward"
	boards "github.com/millracehq/millrace/backend/store/postgres"
)

// Store counts.
type Store struct {
	// Immutable after Open.
	rules *reward.Rules
	pool  *pgxpool.Pool
	stop  context.CancelFunc
	done  chan struct{} // closed when keepScores has ended

	left chan struct{} // batches of which keepScores does not know yet
}

// Open connects to a database that has been migrated.
func Open(ctx context.Context, url string, rules *reward.Rules) (*Store, error) {
	pool, err := boards.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	s := &Store{rules: rules, pool: pool, done: make(chan struct{}), left: make(chan struct{}, mostLeft)}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	go s.keepScores(ctx)
	return s, nil
}

// Watch has a set say how many batches wait for being added to scores. It is called once.
func (s *Store) Watch(set *metrics.Set) {
	set.NewGauge("millrace_rewards_scores_waiting", func() float64 { return float64(len(s.left)) })
}

// Close implements [reward.Store].
func (s *Store) Close() error {
	s.stop()
	<-s.done
	s.pool.Close()
	return nil
}

// Count implements [reward.Store].
func (s *Store) Count(ctx context.Context, events []reward.Event) (c reward.Counted, err error) {
	err = s.within(ctx, func(t *tx) error {
		c, err = reward.Count(t, s.rules, events)
		if e, ok := errors.AsType[*pgconn.PgError](err); ok && ofData(e) {
			err = &reward.DataError{Err: e}
		}
		if err != nil {
			return err
		}
		if t.open() { // nothing was new
			if _, err := t.conn.Exec(ctx, "ROLLBACK"); err != nil {
				return err
			}
		}
		return s.settle(t)
	})
	if err != nil {
		return reward.Counted{}, err
	}
	return c, nil
}

// settle has what was counted added to scores, soon or else now, and waits for the disk.
func (s *Store) settle(t *tx) error {
	select {
	case s.left <- struct{}{}:
	default:
		if err := t.add(); err != nil {
			return err
		}
	}
	_, err := t.conn.Exec(t.ctx, flush)
	return err
}

// ofData reports whether the same rows would meet the error again: of a value, of a constraint, of a limit (SQLSTATE classes 22, 23
// and 54).
func ofData(e *pgconn.PgError) bool {
	return strings.HasPrefix(e.Code, "22") || strings.HasPrefix(e.Code, "23") || strings.HasPrefix(e.Code, "54")
}

// Known implements [reward.Store].
func (s *Store) Known(ctx context.Context, ids []string) ([]bool, error) {
	rows, err := s.pool.Query(ctx, "SELECT id FROM reward.facts WHERE id = ANY ($1::text[])", ids)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	if _, err := s.pool.Exec(ctx, flush); err != nil { // it may be of a batch that the disk does not have yet
		return nil, err
	}
	known := make(map[string]bool, len(found))
	for _, id := range found {
		known[id] = true
	}
	out := make([]bool, len(ids))
	for i, id := range ids {
		out[i] = known[id]
	}
	return out, nil
}

// Refresh implements [reward.Store]. It runs on the primary; replicas get what it has made.
func (s *Store) Refresh(ctx context.Context, since time.Time) (did bool, err error) {
	err = s.within(ctx, func(t *tx) error {
		if err := t.add(); err != nil { // what a worker has left that died behind its batch
			return err
		}
		return t.conn.QueryRow(ctx, "SELECT reward.refresh($1::timestamptz)", since).Scan(&did)
	})
	return did, err
}

// Rescore implements [reward.Store].
func (s *Store) Rescore(ctx context.Context, rules *reward.Rules, dry bool) (out reward.Rescored, err error) {
	err = s.within(ctx, func(t *tx) error {
		var all reward.Everything
		b := &pgx.Batch{}
		begin(b)
		b.Queue(lock)
		b.Queue("SELECT " + factColumns + " FROM reward.facts").Query(into(&all.Facts, scanFact))
		b.Queue("SELECT user_id, day, state FROM reward.days").Query(into(&all.Days, t.scanDay))
		b.Queue("SELECT user_id, xp, told, state FROM reward.users").Query(into(&all.Users, t.scanUser))
		if err := t.send(b); err != nil {
			return err
		}
		var changes *reward.Changes
		if changes, out = reward.Rescore(&all, rules); dry {
			return nil
		}
		if err := t.Save(changes); err != nil {
			return err
		}
		return s.settle(t)
	})
	return out, err
}
