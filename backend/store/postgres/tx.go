package postgres

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// tx is a transaction on one board. What Prepare has fetched is answered from memory.
type tx struct {
	ctx     context.Context //nolint:containedctx // it lives as long as one call
	pg      pgx.Tx
	board   string
	user    string // as whom statements run now
	roles   map[string]store.Role
	head    *board.Head // nil: nobody sees the board
	rows    map[board.Key]*board.Row
	clients map[string]store.Client
}

// Prepare asks for the users' roles, and then, as one who may change the board if there is such a one, locks it and fetches what
// is known to be wanted.
func (t *tx) Prepare(w store.Wanted) error {
	t.roles, t.rows, t.clients = make(map[string]store.Role), make(map[board.Key]*board.Row), make(map[string]store.Client)
	roles := &pgx.Batch{}
	roles.Queue(setBoard, t.board)
	if trace := store.Trace(t.ctx); trace != "" {
		roles.Queue(setTrace, trace)
	}
	for _, user := range w.Users {
		if user == "" {
			continue
		}
		roles.Queue(setUser, user)
		roles.Queue(`SELECT m.role FROM app.members m JOIN app.boards b ON b.workspace = m.workspace WHERE b.id = $1 AND m.user_id = $2`, t.board, user).
			QueryRow(func(row pgx.Row) error {
				var r store.Role
				err := row.Scan(&r)
				if errors.Is(err, pgx.ErrNoRows) {
					return nil
				}
				t.roles[user] = r
				return err
			})
	}
	if err := t.send(roles); err != nil {
		return err
	}
	for user, r := range t.roles {
		if r != store.None && (t.user == "" || r.Edits() && !t.roles[t.user].Edits()) {
			t.user = user
		}
	}
	if t.user == "" {
		return nil
	}
	return t.fetch(w)
}

func (t *tx) send(b *pgx.Batch) error {
	if b.Len() == 0 {
		return nil
	}
	return t.pg.SendBatch(t.ctx, b).Close()
}

func (t *tx) fetch(w store.Wanted) error {
	lock := " FOR UPDATE"
	if !t.roles[t.user].Edits() {
		lock = "" // a viewer cannot lock it, and need not
	}
	b := &pgx.Batch{}
	b.Queue(setUser, t.user)
	b.Queue("SELECT seq, hlc, hash, gc, workspace FROM app.boards WHERE id = $1"+lock, t.board).QueryRow(func(row pgx.Row) error {
		var h board.Head
		var hash int64
		err := row.Scan(&h.Seq, &h.HLC, &hash, &h.GC, &h.Workspace)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		h.Hash = uint64(hash)
		t.head = &h
		return err
	})
	if len(w.Clients) > 0 {
		for _, id := range w.Clients {
			t.clients[id] = store.Client{} // unless it is found
		}
		b.Queue("SELECT client, user_id, last FROM app.clients WHERE board = $1 AND client = ANY ($2::text[])", t.board, w.Clients).Query(func(rows pgx.Rows) error {
			var id string
			var c store.Client
			_, err := pgx.ForEachRow(rows, []any{&id, &c.User, &c.Last}, func() error {
				t.clients[id] = c
				return nil
			})
			return err
		})
	}
	if len(w.Keys) > 0 {
		for _, k := range w.Keys {
			t.rows[k] = nil // unless it is found
		}
		kinds, ids := columns(w.Keys)
		b.Queue(rowsByKey, t.board, kinds, ids).Query(func(rows pgx.Rows) error {
			found, err := pgx.CollectRows(rows, scanRow)
			for _, r := range found {
				t.rows[r.Key] = r
			}
			return err
		})
	}
	return t.send(b)
}

func scanRow(row pgx.CollectableRow) (*board.Row, error) {
	r := new(board.Row)
	var regs []byte
	if err := row.Scan(&r.Kind, &r.ID, &r.Seq, &regs); err != nil {
		return nil, err
	}
	return r, json.Unmarshal(regs, &r.Regs)
}

func (t *tx) Head() (board.Head, error) {
	if t.head == nil {
		return board.Head{}, store.ErrNotFound
	}
	return *t.head, nil
}

func (t *tx) Role(user string) (store.Role, error) { return t.roles[user], nil }

func (t *tx) Client(id string) (c store.Client, err error) {
	c, ok := t.clients[id]
	if ok {
		return c, nil
	}
	err = t.pg.QueryRow(t.ctx, "SELECT user_id, last FROM app.clients WHERE board = $1 AND client = $2", t.board, id).Scan(&c.User, &c.Last)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	t.clients[id] = c
	return c, err
}

func (t *tx) Result(client string, n int64) (r board.Result, err error) {
	var text []byte
	err = t.pg.QueryRow(t.ctx, "SELECT result FROM app.mutations WHERE board = $1 AND client = $2 AND n = $3", t.board, client, n).Scan(&text)
	if err != nil {
		return r, notFound(err)
	}
	return r, json.Unmarshal(text, &r)
}

func (t *tx) query(where string, args ...any) ([]*board.Row, error) {
	rows, err := t.pg.Query(t.ctx, "SELECT kind, id, seq, regs FROM app.board_rows WHERE board = $1 AND "+where, append([]any{t.board}, args...)...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanRow)
}

func (t *tx) first(where string, args ...any) (*board.Row, error) {
	rows, err := t.query(where, args...)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[0], nil
}

func (t *tx) Row(k board.Key) (*board.Row, error) {
	if r, ok := t.rows[k]; ok {
		return r, nil
	}
	r, err := t.first("kind = $2 AND id = $3", k.Kind, k.ID)
	if err == nil {
		t.rows[k] = r
	}
	return r, err
}

func (t *tx) Neighbor(lane, pos string, back bool) (*board.Row, error) {
	switch {
	case !back:
		return t.first("lane = $2 AND pos > $3 ORDER BY pos LIMIT 1", lane, pos)
	case pos == "":
		return t.first("lane = $2 ORDER BY pos DESC LIMIT 1", lane)
	default:
		return t.first("lane = $2 AND pos < $3 ORDER BY pos DESC LIMIT 1", lane, pos)
	}
}

func (t *tx) Lane(lane string) ([]*board.Row, error) { return t.query("lane = $2 ORDER BY pos", lane) }

func (t *tx) Before(at int64) (seq int64, err error) {
	err = t.pg.QueryRow(t.ctx, "SELECT seq FROM app.mutations WHERE board = $1 AND seq > 0 AND at < $2 ORDER BY seq DESC LIMIT 1", t.board, at).Scan(&seq)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return seq, err
}

func (t *tx) All() ([]*board.Row, error) { return t.query("true ORDER BY kind, id") }

// Save sends everything at once: what belongs to a user as that user, the rest as one who may change the board.
func (t *tx) Save(c *store.Changes) error {
	s := &saver{batch: &pgx.Batch{}, board: t.board}
	if len(c.Rows)+len(c.Purged) > 0 || c.Head.Seq != t.head.Seq {
		s.queue(setUser, t.user)
		s.batch.Queue("UPDATE app.boards SET seq = $2, hlc = $3, hash = $4, gc = $5 WHERE id = $1", t.board, c.Head.Seq, c.Head.HLC, int64(c.Head.Hash), c.Head.GC).
			Exec(mustChangeOne)
		s.rows(c.Rows)
		s.purge(c.Purged)
		s.conflicts(c.Conflicts)
	}
	if c.Resolved > 0 {
		s.queue(setUser, t.user)
		s.queue("DELETE FROM app.conflicts WHERE board = $1 AND seq <= $2", t.board, c.Resolved)
	}
	byUser := make(map[string][]store.Entry)
	for _, e := range c.Log {
		byUser[e.User] = append(byUser[e.User], e)
	}
	for user, entries := range byUser {
		s.queue(setUser, user)
		s.log(entries)
		for id, client := range c.Clients {
			if client.User == user {
				s.queue(`INSERT INTO app.clients (board, client, user_id, last) VALUES ($1, $2, $3, $4)
					ON CONFLICT (board, client) DO UPDATE SET last = excluded.last`, t.board, id, user, client.Last)
			}
		}
	}
	if s.err != nil {
		return s.err
	}
	return t.send(s.batch)
}
