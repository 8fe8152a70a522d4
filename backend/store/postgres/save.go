package postgres

import (
	"encoding/json"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// saver queues statements, of which each takes any number of rows.
type saver struct {
	batch *pgx.Batch
	board string
	err   error // the first one of writing JSON
}

func (s *saver) queue(sql string, args ...any) { s.batch.Queue(sql, args...) }

func (s *saver) json(v any) string {
	b, err := json.Marshal(v)
	if s.err == nil {
		s.err = err
	}
	return string(b)
}

// mustChangeOne fails when row-level security hid the board: then the right to change it was taken since it was looked up, and the
// next try will see that.
func mustChangeOne(tag pgconn.CommandTag) error {
	if tag.RowsAffected() != 1 {
		return &pgconn.PgError{Code: "42501", Message: "the board cannot be changed any more"}
	}
	return nil
}

func (s *saver) rows(rows []*board.Row) {
	if len(rows) == 0 {
		return
	}
	n := len(rows)
	kinds, ids, regs := make([]string, n), make([]string, n), make([]string, n)
	seqs, lanes, poss, placed := make([]int64, n), make([]string, n), make([]string, n), make([]bool, n)
	for i, r := range rows {
		p, ok := r.Place()
		kinds[i], ids[i], seqs[i], regs[i] = r.Kind, r.ID, r.Seq, s.json(r.Regs)
		lanes[i], poss[i], placed[i] = p.Lane, p.Pos, ok
	}
	s.queue(`INSERT INTO app.board_rows (board, kind, id, seq, lane, pos, regs)
		SELECT $1, kind, id, seq, CASE WHEN placed THEN lane END, CASE WHEN placed THEN pos END, regs
		FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bool[], $8::text[]) AS r (kind, id, seq, lane, pos, placed, regs)
		ON CONFLICT (board, kind, id) DO UPDATE SET seq = excluded.seq, lane = excluded.lane, pos = excluded.pos, regs = excluded.regs`,
		s.board, kinds, ids, seqs, lanes, poss, placed, regs)
}

func (s *saver) purge(keys []board.Key) {
	if len(keys) == 0 {
		return
	}
	kinds, ids := make([]string, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		kinds[i], ids[i] = k.Kind, k.ID
	}
	s.queue("DELETE FROM app.board_rows WHERE board = $1 AND (kind, id) IN (SELECT * FROM unnest($2::text[], $3::text[]))", s.board, kinds, ids)
}

func (s *saver) conflicts(conflicts []board.Conflict) {
	if len(conflicts) == 0 {
		return
	}
	seqs, bodies := make([]int64, len(conflicts)), make([]string, len(conflicts))
	for i, c := range conflicts {
		seqs[i], bodies[i] = c.Seq, s.json(c)
	}
	s.queue(`INSERT INTO app.conflicts (board, seq, i, body)
		SELECT $1, seq, i, body FROM unnest($2::bigint[], $3::text[]) WITH ORDINALITY AS c (seq, body, i)`, s.board, seqs, bodies)
}

// log writes the entries of one user.
func (s *saver) log(entries []store.Entry) {
	n := len(entries)
	clients, ns, seqs, ats := make([]string, n), make([]int64, n), make([]int64, n), make([]int64, n)
	bodies, results, deeds := make([]string, n), make([]string, n), make([]string, n)
	for i, e := range entries {
		clients[i], ns[i], seqs[i], ats[i], bodies[i], results[i] = e.Client, e.N, e.Result.Seq, e.At, string(e.Body), s.json(e.Result)
		if len(e.Deeds) > 0 {
			deeds[i] = s.json(e.Deeds)
		}
	}
	s.queue(`INSERT INTO app.mutations (board, user_id, client, n, seq, at, body, result, deeds)
		SELECT $1, $2, client, n, NULLIF(seq, 0), at, body, result, NULLIF(deeds, '')
		FROM unnest($3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::text[], $9::text[]) AS e (client, n, seq, at, body, result, deeds)`,
		s.board, entries[0].User, clients, ns, seqs, ats, bodies, results, deeds)
}
