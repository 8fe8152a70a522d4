package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

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

// tx is a transaction that counts.
type tx struct {
	ctx context.Context //nolint:containedctx // it lives as long as one call
	pg  pgx.Tx
}

func (t *tx) send(b *pgx.Batch) error { return t.pg.SendBatch(t.ctx, b).Close() }

const factColumns = "id, unit, ord, kind, user_id, team, subject, whom, at, prio, est, born"

func scanFact(row pgx.CollectableRow) (f reward.Fact, err error) {
	return f, row.Scan(&f.ID, &f.Unit, &f.Order, &f.Kind, &f.User, &f.Team, &f.Subject, &f.Whom, &f.At, &f.Prio, &f.Est, &f.Born)
}

func scanDay(row pgx.CollectableRow) (*reward.DayState, error) {
	var k reward.DayKey
	var state string
	if err := row.Scan(&k.User, &k.Day, &state); err != nil {
		return nil, err
	}
	return reward.DecodeDay(k, state)
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
func (t *tx) Insert(facts []reward.Fact) (map[string]bool, []reward.Fact, error) {
	var ids, units []string
	var found []reward.Fact
	b := &pgx.Batch{}
	b.Queue(settings)
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
	b.Queue("SELECT "+factColumns+" FROM reward.facts WHERE unit = ANY ($1::text[])", units).Query(into(&found, scanFact))
	if err := t.send(b); err != nil {
		return nil, nil, err
	}
	fresh := make(map[string]bool, len(ids))
	for _, id := range ids {
		fresh[id] = true
	}
	return fresh, found, nil
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
func (t *tx) Load(keys []reward.DayKey, names []string) (map[reward.DayKey]*reward.DayState, map[string]*reward.UserState, error) {
	users, numbers := make([]string, len(keys)), make([]int64, len(keys))
	for i, k := range keys {
		users[i], numbers[i] = k.User, int64(k.Day)
	}
	var foundDays []*reward.DayState
	var foundUsers []*reward.UserState
	b := &pgx.Batch{}
	b.Queue("SELECT d.user_id, d.day, d.state FROM unnest($1::text[], $2::bigint[]) AS k (u, d) JOIN reward.days d ON d.user_id = k.u AND d.day = k.d", users, numbers).
		Query(into(&foundDays, scanDay))
	b.Queue("SELECT user_id, xp, told, state FROM reward.users WHERE user_id = ANY ($1::text[])", names).Query(into(&foundUsers, scanUser))
	if err := t.send(b); err != nil {
		return nil, nil, err
	}
	outDays, outUsers := make(map[reward.DayKey]*reward.DayState), make(map[string]*reward.UserState)
	for _, d := range foundDays {
		outDays[d.DayKey] = d
	}
	for _, u := range foundUsers {
		outUsers[u.User] = u
	}
	return outDays, outUsers, nil
}

// Save implements [reward.Tx].
func (t *tx) Save(c *reward.Changes) error {
	b := &pgx.Batch{}
	if n := len(c.Days); n > 0 {
		users, days, states := make([]string, n), make([]int64, n), make([]string, n)
		for i, d := range c.Days {
			users[i], days[i], states[i] = d.User, int64(d.Day), d.Encode()
		}
		b.Queue(`INSERT INTO reward.days (user_id, day, state) SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[])
			ON CONFLICT (user_id, day) DO UPDATE SET state = excluded.state`, users, days, states)
	}
	if n := len(c.Users); n > 0 {
		users, xps, tolds, states := make([]string, n), make([]int64, n), make([]int64, n), make([]string, n)
		for i, u := range c.Users {
			users[i], xps[i], tolds[i], states[i] = u.User, int64(u.XP), u.Told, u.Encode()
		}
		b.Queue(`INSERT INTO reward.users (user_id, xp, told, state) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[])
			ON CONFLICT (user_id) DO UPDATE SET xp = excluded.xp, told = excluded.told, state = excluded.state`, users, xps, tolds, states)
	}
	if n := len(c.Scores); n > 0 {
		teams, periods, users := make([]string, n), make([]string, n), make([]string, n)
		xps, reached := make([]int64, n), make([]int64, n)
		for i, s := range c.Scores {
			teams[i], periods[i], users[i], xps[i], reached[i] = s.Team, s.Period, s.User, int64(s.XP), s.Reached
		}
		b.Queue(`INSERT INTO reward.scores AS s (team, period, user_id, xp, reached)
			SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
			ON CONFLICT (team, period, user_id) DO UPDATE SET xp = s.xp + excluded.xp, reached = greatest(s.reached, excluded.reached)`,
			teams, periods, users, xps, reached)
	}
	return t.send(b)
}
