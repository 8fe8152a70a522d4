package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/millracehq/millrace/backend/store"
)

const (
	replicaTimeout = 3 * time.Second
	replicaRest    = 5 * time.Second // after it has failed
)

// replica is a streaming replica, from which rows and logs are read. Whether the user may, and how far the board is, is asked of the
// primary first: a replica that lags would show what was taken from the user, and an old board. Where it is behind the primary's answer, or
// does not answer, the primary is read.
//
//	Pull ─▶ primary: role, seq ─▶ replica: rows, if it is at seq ─▶ else primary: rows
type replica struct {
	pool                 *pgxpool.Pool
	restUntil            atomic.Int64 // unix ns
	used, behind, failed *metrics.Counter
}

// UseReplica has reads that allow it go to a streaming replica of the database. It need not be up. Call it before the store is used.
func (s *Store) UseReplica(ctx context.Context, url string, set *metrics.Set) error {
	pool, err := newPool(ctx, url)
	if err != nil {
		return err
	}
	if err := checkVersion(ctx, pool); err != nil && !isConnect(err) {
		pool.Close()
		return err
	}
	counter := func(result string) *metrics.Counter {
		return set.GetOrCreateCounter(fmt.Sprintf("millrace_boards_replica_reads_total{result=%q}", result))
	}
	s.replica = &replica{pool: pool, used: counter("used"), behind: counter("behind"), failed: counter("failed")}
	return nil
}

func isConnect(err error) bool {
	_, ok := errors.AsType[*pgconn.ConnectError](err)
	return ok
}

var errBehind = errors.New("postgres: the replica is behind")

// fromReplica has f read from the replica, if there is one, and reports whether that has been done.
func (s *Store) fromReplica(ctx context.Context, user, board string, f func(pgx.Tx) error) bool {
	r := s.replica
	if r == nil || time.Now().UnixNano() < r.restUntil.Load() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, replicaTimeout)
	defer cancel()
	err := s.readBoardFrom(ctx, r.pool, user, board, f)
	switch {
	case err == nil:
		r.used.Inc()
		return true
	case errors.Is(err, errBehind) || errors.Is(err, store.ErrNotFound): // a board, or a member, of which it has not heard yet
		r.behind.Inc()
	default:
		r.failed.Inc()
		r.restUntil.Store(time.Now().Add(replicaRest).UnixNano())
	}
	return false
}
