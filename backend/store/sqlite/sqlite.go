// Package sqlite is a [store.Store] in one file, with nothing to install. Several processes may share the file.
//
// There is no row-level security in SQLite: every statement carries the user, and the suite that runs on all stores, and
// compares them, shows that it does. One connection writes; a commit is on disk when it returns (WAL, synchronous=FULL).
package sqlite

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// Migrations.
var (
	//go:embed schema.sql
	schema string
	//go:embed trail.sql
	trailSchema string
)

const readers = 4

// Store is a store in a file.
type Store struct {
	rules  board.Rules
	now    func() time.Time
	writer *sql.DB // one connection
	reader *sql.DB
}

// Open opens a file, and makes it if there is none. The zero Rules are the product's; now is the clock, default [time.Now].
func Open(ctx context.Context, path string, rules board.Rules, now func() time.Time) (*Store, error) {
	if now == nil {
		now = time.Now
	}
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)"
	s := &Store{rules: rules, now: now}
	var err error
	// A transaction that begins as a reader cannot always become a writer; so writers begin as such.
	if s.writer, err = sql.Open("sqlite", dsn+"&_txlock=immediate"); err != nil {
		return nil, err
	}
	s.writer.SetMaxOpenConns(1)
	if s.reader, err = sql.Open("sqlite", dsn+"&_txlock=deferred"); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.reader.SetMaxOpenConns(readers)
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: %s: %w", path, err), s.Close())
	}
	return s, nil
}

// Close implements [store.Store].
func (s *Store) Close() error {
	var err error
	if s.reader != nil {
		err = s.reader.Close()
	}
	return errors.Join(err, s.writer.Close())
}

// migrations are run in order, once each; the number of those that have run is SQLite's user_version.
func migrations() []string { return []string{schema, trailSchema, rewards, searchSchema} }

func (s *Store) migrate(ctx context.Context) error {
	var version int
	// A file that is up to date is not written to: while another backend is busy with it, that would have to wait, and at last fail.
	if err := s.reader.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil || version == len(migrations()) {
		return err
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
			return err
		}
		all := migrations()
		if version > len(all) {
			return fmt.Errorf("the file is of a newer program: version %d, this one knows %d", version, len(all))
		}
		for ; version < len(all); version++ {
			if _, err := tx.ExecContext(ctx, all[version]); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version))
		return err
	})
}

func (s *Store) write(ctx context.Context, f func(*sql.Tx) error) error {
	return inTx(ctx, s.writer, nil, f)
}

func (s *Store) read(ctx context.Context, f func(*sql.Tx) error) error {
	return inTx(ctx, s.reader, &sql.TxOptions{ReadOnly: true}, f)
}

func inTx(ctx context.Context, db *sql.DB, opts *sql.TxOptions, f func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, opts)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// role is what a user may do in a workspace.
func role(ctx context.Context, tx *sql.Tx, user, workspace string) (r store.Role, err error) {
	err = tx.QueryRowContext(ctx, "SELECT role FROM members WHERE workspace = ? AND user_id = ?", workspace, user).Scan(&r)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return r, err
}

// CreateWorkspace implements [store.Store].
func (s *Store) CreateWorkspace(ctx context.Context, user, id, name string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, "INSERT INTO workspaces (id, name) VALUES (?, ?) ON CONFLICT DO NOTHING", id, name)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, store.ErrExists)
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO members (workspace, user_id, role, version) VALUES (?, ?, ?, 1)", id, user, store.Owner)
		return err
	})
}

// SetMember implements [store.Store].
func (s *Store) SetMember(ctx context.Context, user, workspace string, member store.Member) (store.Member, error) {
	err := s.write(ctx, func(tx *sql.Tx) error {
		r, err := role(ctx, tx, user, workspace)
		switch {
		case err != nil:
			return err
		case r == store.None:
			return store.ErrNotFound
		case r != store.Owner:
			return store.ErrDenied
		}
		now := store.Member{User: member.User}
		var owners int
		err = tx.QueryRowContext(ctx, "SELECT role, version FROM members WHERE workspace = ? AND user_id = ?", workspace, member.User).Scan(&now.Role, &now.Version)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if now.Version != member.Version {
			return &store.VersionError{Current: now}
		}
		err = tx.QueryRowContext(ctx, "SELECT count(*) FROM members WHERE workspace = ? AND role = ? AND user_id <> ?", workspace, store.Owner, member.User).Scan(&owners)
		if err != nil {
			return err
		}
		if owners == 0 && member.Role != store.Owner {
			return store.ErrLastOwner
		}
		member.Version++
		_, err = tx.ExecContext(ctx, `INSERT INTO members (workspace, user_id, role, version) VALUES (?, ?, ?, ?)
			ON CONFLICT (workspace, user_id) DO UPDATE SET role = excluded.role, version = excluded.version`,
			workspace, member.User, member.Role, member.Version)
		return err
	})
	if err != nil {
		return store.Member{}, err
	}
	return member, nil
}

// Members implements [store.Store].
func (s *Store) Members(ctx context.Context, user, workspace string) (out []store.Member, err error) {
	err = s.read(ctx, func(tx *sql.Tx) error {
		if r, err := role(ctx, tx, user, workspace); err != nil || r == store.None {
			return errors.Join(err, store.ErrNotFound)
		}
		rows, err := tx.QueryContext(ctx, "SELECT user_id, role, version FROM members WHERE workspace = ? AND role <> '' ORDER BY user_id", workspace)
		if err != nil {
			return err
		}
		out, err = collect(rows, func(m *store.Member) []any { return []any{&m.User, &m.Role, &m.Version} })
		return err
	})
	return out, err
}

// collect reads all rows of a query.
func collect[T any](rows *sql.Rows, fields func(*T) []any) (out []T, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var v T
		if err := rows.Scan(fields(&v)...); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// CreateBoard implements [store.Store].
func (s *Store) CreateBoard(ctx context.Context, user, workspace, id, title string) (b store.Board, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		r, err := role(ctx, tx, user, workspace)
		switch {
		case err != nil:
			return err
		case r == store.None:
			return store.ErrNotFound
		case !r.Edits():
			return store.ErrDenied
		}
		res, err := tx.ExecContext(ctx, "INSERT INTO boards (id, workspace, title, version) VALUES (?, ?, ?, 1) ON CONFLICT DO NOTHING", id, workspace, title)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, store.ErrExists)
		}
		b, err = oneBoard(ctx, tx, user, id)
		return err
	})
	return b, err
}

const selectBoards = `SELECT b.id, b.workspace, b.title, b.version, b.seq, b.hash, m.role
	FROM boards b JOIN members m ON m.workspace = b.workspace AND m.user_id = ? AND m.role <> ''`

func oneBoard(ctx context.Context, tx *sql.Tx, user, id string) (store.Board, error) {
	all, err := boards(ctx, tx, selectBoards+" WHERE b.id = ?", user, id)
	if err != nil {
		return store.Board{}, err
	}
	if len(all) == 0 {
		return store.Board{}, store.ErrNotFound
	}
	return all[0], nil
}

func boards(ctx context.Context, tx *sql.Tx, query string, args ...any) ([]store.Board, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	type found struct {
		store.Board
		hash int64
	}
	all, err := collect(rows, func(f *found) []any {
		return []any{&f.ID, &f.Workspace, &f.Title, &f.Version, &f.Seq, &f.hash, &f.Role}
	})
	var out []store.Board
	for _, f := range all {
		f.Hash = board.FormatHash(uint64(f.hash))
		out = append(out, f.Board)
	}
	return out, err
}

// Rename implements [store.Store].
func (s *Store) Rename(ctx context.Context, user, id, title string, version int64) (b store.Board, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		now, err := oneBoard(ctx, tx, user, id)
		switch {
		case err != nil:
			return err
		case !now.Role.Edits():
			return store.ErrDenied
		case now.Version != version:
			return &store.VersionError{Current: now}
		}
		if _, err := tx.ExecContext(ctx, "UPDATE boards SET title = ?, version = version + 1 WHERE id = ?", title, id); err != nil {
			return err
		}
		b, err = oneBoard(ctx, tx, user, id)
		return err
	})
	return b, err
}

// Boards implements [store.Store].
func (s *Store) Boards(ctx context.Context, user string) (out []store.Board, err error) {
	err = s.read(ctx, func(tx *sql.Tx) error {
		out, err = boards(ctx, tx, selectBoards+" ORDER BY b.id", user)
		return err
	})
	return out, err
}

// Board implements [store.Store].
func (s *Store) Board(ctx context.Context, user, id string) (b store.Board, err error) {
	err = s.read(ctx, func(tx *sql.Tx) error {
		b, err = oneBoard(ctx, tx, user, id)
		return err
	})
	return b, err
}
