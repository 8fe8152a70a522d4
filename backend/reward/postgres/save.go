package postgres

import (
	"github.com/jackc/pgx/v5"

	"github.com/millracehq/millrace/backend/reward"
)

// Save implements [reward.Tx], and commits. Rows that are known to be there are updated: to insert them, and see that this cannot be, writes twice as much to the log.
func (t *tx) Save(c *reward.Changes) error {
	b := &pgx.Batch{}
	t.saveDays(b, c.Days)
	t.saveUsers(b, c.Users)
	if n := len(c.Scores); n > 0 {
		teams, days, users := make([]string, n), make([]int64, n), make([]string, n)
		xps, reached := make([]int64, n), make([]int64, n)
		for i, s := range c.Scores {
			teams[i], days[i], users[i], xps[i], reached[i] = s.Team, int64(s.Day), s.User, int64(s.XP), s.Reached
		}
		b.Queue("INSERT INTO reward.score_changes (teams, days, users, xps, reached) VALUES ($1, $2, $3, $4, $5)", teams, days, users, xps, reached)
	}
	b.Queue("COMMIT")
	return t.send(b)
}

func (t *tx) saveDays(b *pgx.Batch, all []*reward.DayState) {
	type rows struct {
		users  []string
		days   []int64
		states []string
	}
	var old, fresh rows
	for _, d := range all {
		to := &fresh
		if t.days[d.DayKey] {
			to = &old
		}
		to.users, to.days, to.states = append(to.users, d.User), append(to.days, int64(d.Day)), append(to.states, d.Encode())
	}
	if len(old.users) > 0 {
		b.Queue(`UPDATE reward.days AS d SET state = k.state FROM unnest($1::text[], $2::bigint[], $3::text[]) AS k (user_id, day, state)
			WHERE d.user_id = k.user_id AND d.day = k.day`, old.users, old.days, old.states)
	}
	if len(fresh.users) > 0 {
		b.Queue(`INSERT INTO reward.days (user_id, day, state) SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[])
			ON CONFLICT (user_id, day) DO UPDATE SET state = excluded.state`, fresh.users, fresh.days, fresh.states)
	}
}

func (t *tx) saveUsers(b *pgx.Batch, all []*reward.UserState) {
	type rows struct {
		users      []string
		xps, tolds []int64
		states     []string
	}
	var old, fresh rows
	for _, u := range all {
		to := &fresh
		if t.users[u.User] {
			to = &old
		}
		to.users, to.xps, to.tolds, to.states = append(to.users, u.User), append(to.xps, int64(u.XP)), append(to.tolds, u.Told), append(to.states, u.Encode())
	}
	if len(old.users) > 0 {
		b.Queue(`UPDATE reward.users AS u SET xp = k.xp, told = k.told, state = k.state
			FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) AS k (user_id, xp, told, state) WHERE u.user_id = k.user_id`, old.users, old.xps, old.tolds, old.states)
	}
	if len(fresh.users) > 0 {
		b.Queue(`INSERT INTO reward.users (user_id, xp, told, state) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[])
			ON CONFLICT (user_id) DO UPDATE SET xp = excluded.xp, told = excluded.told, state = excluded.state`, fresh.users, fresh.xps, fresh.tolds, fresh.states)
	}
}
