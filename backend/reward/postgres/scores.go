package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// lockScores has one transaction at a time add to scores, while others count.
const lockScores = "SELECT pg_advisory_xact_lock(7236421)"

// addScores adds to scores what batches have left for it: all of it, so that after it nothing is left of who has committed before. Weeks and months are those of
// [reward.Periods].
const addScores = `WITH taken AS (DELETE FROM reward.score_changes WHERE n > 0 RETURNING teams, days, users, xps, reached),
	each AS (SELECT c.* FROM taken, unnest(taken.teams, taken.days, taken.users, taken.xps, taken.reached) AS c (team, day, user_id, xp, reached)),
	periods AS (SELECT d.day, p.period FROM (SELECT DISTINCT day, (date '1970-01-01' + day::int)::timestamp AS at FROM each) AS d,
		unnest(ARRAY['all', to_char(d.at, 'IYYY-"W"IW'), to_char(d.at, 'YYYY-MM')]) AS p (period))
	INSERT INTO reward.scores AS s (team, period, user_id, xp, reached)
	SELECT e.team COLLATE "C", p.period COLLATE "C", e.user_id COLLATE "C", sum(e.xp)::bigint, max(e.reached) FROM each e JOIN periods p ON p.day = e.day
	GROUP BY 1, 2, 3 ORDER BY 3, 1, 2
	ON CONFLICT (user_id, team, period) DO UPDATE SET xp = s.xp + excluded.xp, reached = greatest(s.reached, excluded.reached)`

const (
	addAfter  = 100 * time.Millisecond // how long more batches are waited for
	addAgain  = time.Second            // after an error
	mostLeft  = 64                     // batches, and one in hand: who counts more adds them to the scores before the answer
	lastAddIn = 5 * time.Second        // when the store is closed
)

// add adds to scores what is left for them.
func (t *tx) add() error {
	b := &pgx.Batch{}
	begin(b)
	b.Queue(lockScores)
	b.Queue(addScores)
	b.Queue("COMMIT")
	return t.send(b)
}

func (s *Store) add(ctx context.Context) error { return s.within(ctx, (*tx).add) }

// keepScores adds to scores what batches of this process leave, and with it what others have left, until ctx is done.
func (s *Store) keepScores(ctx context.Context) {
	defer close(s.done)
	for {
		select {
		case <-s.left:
		case <-ctx.Done():
			if len(s.left) > 0 {
				s.addLast(ctx)
			}
			return
		}
		for wait := addAfter; ; wait = addAgain {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				s.addLast(ctx)
				return
			}
			n := len(s.left)
			if s.add(ctx) == nil {
				for range n { // the others came while it was adding, perhaps too late for it
					<-s.left
				}
				break
			}
		}
	}
}

// addLast may fail: then who counts next does it, or who refreshes leaderboards.
func (s *Store) addLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastAddIn)
	defer cancel()
	_ = s.add(ctx)
}
