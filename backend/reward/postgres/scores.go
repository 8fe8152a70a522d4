package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// lockScores has one transaction at a time add to scores, while others count.
const lockScores = "SELECT pg_advisory_xact_lock(7236421)"

// addScores adds to scores what batches have left for it: all of it, so that after it nothing is left of who has committed before.
const addScores = `WITH taken AS (DELETE FROM reward.score_changes WHERE n > 0 RETURNING teams, days, users, xps, reached),
	each AS (SELECT c.* FROM taken, unnest(taken.users, taken.teams, taken.days, taken.xps, taken.reached) AS c (user_id, team, day, xp, reached)), ` + addEach

// addEach adds to scores what is in each. The stretch that a day lies in begins with a Monday or with the first of a month, whichever is nearer. What is known to be there is
// updated, see [tx.Save].
const addEach = `dated AS (SELECT *, date '1970-01-01' + day::int AS date FROM each),
	sums AS MATERIALIZED (SELECT user_id COLLATE "C" AS user_id, team COLLATE "C" AS team, date + 1 - least(extract(isodow FROM date), extract(day FROM date))::int AS first,
		sum(xp)::bigint AS xp, max(reached) AS reached FROM dated GROUP BY 1, 2, 3 ORDER BY 1, 2, 3),
	found AS MATERIALIZED (SELECT n.*, s.ctid AS place FROM sums n
		LEFT JOIN reward.scores s ON s.user_id = n.user_id AND s.team = n.team AND s.first = n.first),
	known AS (UPDATE reward.scores s SET xp = s.xp + f.xp, reached = greatest(s.reached, f.reached) FROM found f WHERE s.ctid = f.place)
	INSERT INTO reward.scores (user_id, team, first, xp, reached) SELECT user_id, team, first, xp, reached FROM found WHERE place IS NULL`

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
