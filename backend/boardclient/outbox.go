package boardclient

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/url"
	"sync"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/replica"
)

// Outbox keeps what a user did until the server has said what came of it.
type Outbox interface {
	// Load returns the state of a copy as it was last saved; a State without a client if there is none.
	Load(ctx context.Context, board, user string) (replica.State, error)
	// Save keeps the state. It returns when the state outlives what the outbox promises to outlive.
	Save(ctx context.Context, s replica.State) error
}

// Memory is an Outbox that ends with the process. The zero value is ready.
type Memory struct {
	mu     sync.Mutex
	states map[[2]string]replica.State // Guarded by mu.
}

// Load implements [Outbox].
func (m *Memory) Load(_ context.Context, board, user string) (replica.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.states[[2]string{board, user}], nil
}

// Save implements [Outbox].
func (m *Memory) Save(_ context.Context, s replica.State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.states == nil {
		m.states = make(map[[2]string]replica.State)
	}
	m.states[[2]string{s.Board, s.User}] = s
	return nil
}

// File is an Outbox in a SQLite file: it outlives the process and the machine's power. Each mutation is a record of its own, so that
// a long backlog is not written anew with each edit.
type File struct {
	db *sql.DB
}

const outboxSchema = `
CREATE TABLE IF NOT EXISTS copies (board TEXT, user TEXT, client TEXT NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (board, user)) STRICT;
CREATE TABLE IF NOT EXISTS pending (board TEXT, user TEXT, client TEXT, n INTEGER, body TEXT NOT NULL, PRIMARY KEY (board, user, client, n)) STRICT;
CREATE TABLE IF NOT EXISTS drawer (board TEXT, user TEXT, client TEXT, n INTEGER, body TEXT NOT NULL, PRIMARY KEY (board, user, client, n)) STRICT;`

// OpenFile opens an outbox, and makes it if there is none. Nobody else may use it.
func OpenFile(ctx context.Context, path string) (*File, error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, outboxSchema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &File{db: db}, nil
}

// Close closes the file.
func (f *File) Close() error { return f.db.Close() }

// Load implements [Outbox].
func (f *File) Load(ctx context.Context, boardID, user string) (replica.State, error) {
	s := replica.State{Board: boardID, User: user}
	err := f.db.QueryRowContext(ctx, "SELECT client, next FROM copies WHERE board = ? AND user = ?", boardID, user).Scan(&s.Client, &s.Next)
	if errors.Is(err, sql.ErrNoRows) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	err = f.each(ctx, "pending", s, func(body []byte) error {
		m := new(board.Mutation)
		if err := json.Unmarshal(body, m); err != nil {
			return err
		}
		m.User = user
		s.Pending = append(s.Pending, m)
		return nil
	})
	if err != nil {
		return s, err
	}
	err = f.each(ctx, "drawer", s, func(body []byte) error {
		var r replica.Refused
		err := json.Unmarshal(body, &r)
		s.Drawer = append(s.Drawer, r)
		return err
	})
	return s, err
}

func (f *File) each(ctx context.Context, table string, s replica.State, do func([]byte) error) (err error) {
	rows, err := f.db.QueryContext(ctx, "SELECT body FROM "+table+" WHERE board = ? AND user = ? ORDER BY client, n", s.Board, s.User)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return err
		}
		if err := do(body); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Save implements [Outbox].
func (f *File) Save(ctx context.Context, s replica.State) error {
	tx, err := f.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := save(ctx, tx, s); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func save(ctx context.Context, tx *sql.Tx, s replica.State) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO copies (board, user, client, next) VALUES (?, ?, ?, ?)
		ON CONFLICT (board, user) DO UPDATE SET client = excluded.client, next = excluded.next`, s.Board, s.User, s.Client, s.Next)
	if err != nil {
		return err
	}
	pending := make(map[recordKey]any)
	for _, m := range s.Pending {
		pending[recordKey{m.Client, m.N}] = m
	}
	drawer := make(map[recordKey]any)
	for _, r := range s.Drawer {
		drawer[recordKey{r.Mutation.Client, r.Mutation.N}] = r
	}
	if err := level(ctx, tx, "pending", s, pending); err != nil {
		return err
	}
	return level(ctx, tx, "drawer", s, drawer)
}

type recordKey struct {
	client string
	n      int64
}

// level has a table hold these records: it adds what is missing and takes what is too much.
func level(ctx context.Context, tx *sql.Tx, table string, s replica.State, want map[recordKey]any) error {
	have, err := keys(ctx, tx, table, s)
	if err != nil {
		return err
	}
	for k := range have {
		if want[k] == nil {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE board = ? AND user = ? AND client = ? AND n = ?", s.Board, s.User, k.client, k.n); err != nil {
				return err
			}
		}
	}
	for k, v := range want {
		if have[k] {
			continue
		}
		body, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO "+table+" (board, user, client, n, body) VALUES (?, ?, ?, ?, ?)", s.Board, s.User, k.client, k.n, string(body)); err != nil {
			return err
		}
	}
	return nil
}

func keys(ctx context.Context, tx *sql.Tx, table string, s replica.State) (have map[recordKey]bool, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT client, n FROM "+table+" WHERE board = ? AND user = ?", s.Board, s.User)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	have = make(map[recordKey]bool)
	for rows.Next() {
		var k recordKey
		if err := rows.Scan(&k.client, &k.n); err != nil {
			return nil, err
		}
		have[k] = true
	}
	return have, rows.Err()
}
