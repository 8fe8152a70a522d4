package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/millracehq/millrace/backend/reward"
)

// settings are the transaction's. Everything is looked up by index and with plans that do not depend on how large a batch is: what the planner takes for better while
// tables are young reads them whole. And the lock is not held until the disk has it: see flush.
const settings = `SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
	set_config('plan_cache_mode', 'force_generic_plan', true), set_config('synchronous_commit', 'off', true)`

// lock has one transaction at a time count. Facts are inserted before: others do not see them, and who has the lock waits for none of them, so that this costs nobody else
// time. What comes behind the lock sees all that those have committed who had it before.
const lock = "SELECT pg_advisory_xact_lock(7236420)"

// flush makes durable what was committed before: it is a transaction of its own, whose commit waits for the disk (and for synchronous replicas, if there are any) while
// the next batch is counted.
const flush = "SELECT pg_logical_emit_message(true, 'millrace', '')"

// tx is a transaction that counts. It is begun by the first exchange and committed by the last one, so that there is none for either.
type tx struct {
	ctx  context.Context //nolint:containedctx // it lives as long as one call
	conn *pgx.Conn

	days  map[reward.DayKey]bool // that have a row
	users map[string]bool        // that have one
}

// within has f run a transaction on a connection, and ends it if f has not. (A connection that is still in one is closed by the pool.)
func (s *Store) within(ctx context.Context, f func(*tx) error) error {
	return s.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		t := &tx{ctx: ctx, conn: c.Conn(), days: make(map[reward.DayKey]bool), users: make(map[string]bool)}
		err := f(t)
		if t.open() {
			_, _ = t.conn.Exec(ctx, "ROLLBACK")
		}
		return err
	})
}

// open reports whether the transaction has begun and has not ended.
func (t *tx) open() bool { return !t.conn.IsClosed() && t.conn.PgConn().TxStatus() != 'I' }

func (t *tx) send(b *pgx.Batch) error { return t.conn.SendBatch(t.ctx, b).Close() }

// begin queues what a transaction begins with.
func begin(b *pgx.Batch) {
	b.Queue("BEGIN")
	b.Queue(settings)
}

const factColumns = "id, unit, ord, kind, user_id, team, subject, whom, at, prio, est, born"

func scanFact(row pgx.CollectableRow) (f reward.Fact, err error) {
	return f, row.Scan(&f.ID, &f.Unit, &f.Order, &f.Kind, &f.User, &f.Team, &f.Subject, &f.Whom, &f.At, &f.Prio, &f.Est, &f.Born)
}

// scanDay reads a day, which has a row then.
func (t *tx) scanDay(row pgx.CollectableRow) (*reward.DayState, error) {
	var k reward.DayKey
	var state string
	if err := row.Scan(&k.User, &k.Day, &state); err != nil {
		return nil, err
	}
	t.days[k] = true
	return reward.DecodeDay(k, state)
}

// scanUser reads a user, who has a row then.
func (t *tx) scanUser(row pgx.CollectableRow) (*reward.UserState, error) {
	u, err := scanUser(row)
	if err == nil {
		t.users[u.User] = true
	}
	return u, err
}

func scanUser(row pgx.CollectableRow) (*reward.UserState, error) {
	var name, state string
	var xp reward.XP
	var told int64
	if err := row.Scan(&name, &xp, &told, &state); err != nil {
		return nil, err
	}
	return reward.DecodeUser(name, xp, told, state)
}

// into collects the rows of a queued query.
func into[T any](to *[]T, scan pgx.RowToFunc[T]) func(pgx.Rows) error {
	return func(rows pgx.Rows) (err error) {
		*to, err = pgx.CollectRows(rows, scan)
		return err
	}
}

// Insert implements [reward.Tx]. The facts are sorted by ID, so that of two transactions with the same facts one waits for the other, and never each for each.
func (t *tx) Insert(facts []reward.Fact, likely reward.Keys) (out reward.Found, err error) {
	var ids, units []string
	b := &pgx.Batch{}
	begin(b)
	b.Queue("INSERT INTO reward.facts ("+factColumns+`)
		SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[])
		ON CONFLICT (id) DO NOTHING RETURNING id`, columns(facts)...).Query(into(&ids, pgx.RowTo[string]))
	b.Queue(lock)
	seen := make(map[string]bool, len(facts))
	for i := range facts {
		if unit := facts[i].Unit; !seen[unit] {
			seen[unit] = true
			units = append(units, unit)
		}
	}
	b.Queue("SELECT "+factColumns+" FROM reward.facts WHERE unit = ANY ($1::text[])", units).Query(into(&out.Units, scanFact))
	known := t.look(b, likely)
	if err := t.send(b); err != nil {
		return out, err
	}
	out.Fresh = make(map[string]bool, len(ids))
	for _, id := range ids {
		out.Fresh[id] = true
	}
	out.State = known()
	return out, nil
}

// columns are the facts as arrays, in the order of factColumns.
func columns(facts []reward.Fact) []any {
	texts, numbers := make([][]string, 7), make([][]int64, 5)
	for i := range facts {
		f := &facts[i]
		for j, text := range []string{f.ID, f.Unit, f.Kind, f.User, f.Team, f.Subject, f.Whom} {
			texts[j] = append(texts[j], text)
		}
		for j, n := range []int64{f.Order, f.At, f.Prio, f.Est, f.Born} {
			numbers[j] = append(numbers[j], n)
		}
	}
	return []any{
		texts[0], texts[1], numbers[0], texts[2], texts[3], texts[4], texts[5], texts[6], numbers[1], numbers[2], numbers[3], numbers[4],
	}
}

// Load implements [reward.Tx].
func (t *tx) Load(keys reward.Keys) (reward.State, error) {
	b := &pgx.Batch{}
	known := t.look(b, keys)
	if err := t.send(b); err != nil {
		return reward.State{}, err
	}
	return known(), nil
}

// look queues what reads days and users; what it returns is to be called when that was sent.
func (t *tx) look(b *pgx.Batch, keys reward.Keys) func() reward.State {
	var days []*reward.DayState
	var users []*reward.UserState
	if n := len(keys.Days); n > 0 {
		names, numbers := make([]string, n), make([]int64, n)
		for i, k := range keys.Days {
			names[i], numbers[i] = k.User, int64(k.Day)
		}
		b.Queue("SELECT d.user_id, d.day, d.state FROM unnest($1::text[], $2::bigint[]) AS k (u, d) JOIN reward.days d ON d.user_id = k.u AND d.day = k.d", names, numbers).
			Query(into(&days, t.scanDay))
	}
	if len(keys.Users) > 0 {
		b.Queue("SELECT user_id, xp, told, state FROM reward.users WHERE user_id = ANY ($1::text[])", keys.Users).Query(into(&users, t.scanUser))
	}
	return func() reward.State {
		out := reward.State{Days: make(map[reward.DayKey]*reward.DayState, len(days)), Users: make(map[string]*reward.UserState, len(users))}
		for _, d := range days {
			out.Days[d.DayKey] = d
		}
		for _, u := range users {
			out.Users[u.User] = u
		}
		return out
	}
}
