package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/millracehq/millrace/backend/reward"
)

// CountAlone counts an event as a program would that writes each one by itself: all of its rows in one transaction, whose commit waits for the disk.
func (s *Store) CountAlone(ctx context.Context, e reward.Event) (c reward.Counted, err error) {
	err = s.within(ctx, func(t *tx) error {
		c, err = reward.Count(alone{t}, s.rules, []reward.Event{e})
		return err
	})
	return c, err
}

type alone struct{ *tx }

func (t alone) Save(c *reward.Changes) error {
	b := &pgx.Batch{}
	t.saveDays(b, c.Days)
	t.saveUsers(b, c.Users)
	for _, s := range c.Scores {
		b.Queue("WITH each AS (SELECT $1::text AS user_id, $2::text AS team, $3::bigint AS day, $4::bigint AS xp, $5::bigint AS reached), "+addEach,
			s.User, s.Team, int64(s.Day), int64(s.XP), s.Reached)
	}
	b.Queue("SELECT set_config('synchronous_commit', 'on', true)")
	b.Queue("COMMIT")
	return t.send(b)
}
