// Package postgres is a [store.Store] in PostgreSQL, for any number of backends.
//
// Who may see and change what is decided by the database: row-level security on every table, by the user that each
// transaction sets with set_config(…, true), which ends with it. So it works through PgBouncer in transaction mode; and a
// statement that forgets the user sees nothing. The tables belong to another role (see [Migrate]).
//
// Statements are sent together where none needs another's answer: a commit of any number of mutations is four exchanges, and one
// more for each row or neighbor that their operations did not name. No prepared statements are used, unless the address says
// so (default_query_exec_mode=cache_statement): PgBouncer before 1.21 cannot have them.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

const (
	maxTries   = 5 // of a transaction that others got in the way of
	retryAfter = 5 * time.Millisecond
)

// Store is a store in PostgreSQL.
type Store struct {
	rules board.Rules
	now   func() time.Time
	pool  *pgxpool.Pool

	replica *replica // nil: none
}

// Open connects to a database whose schema is that of this program. The zero Rules are the product's; now is the clock,
// default [time.Now].
func Open(ctx context.Context, url string, rules board.Rules, now func() time.Time) (*Store, error) {
	pool, err := newPool(ctx, url)
	if err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	s := &Store{rules: rules, now: now, pool: pool}
	if err := checkVersion(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	return s, nil
}

func newPool(ctx context.Context, url string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	if cfg.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement && !asksForStatements(url) {
		cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return pool, nil
}

func checkVersion(ctx context.Context, pool *pgxpool.Pool) error {
	var version int
	var free bool // of row-level security
	err := pool.QueryRow(ctx, "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user").Scan(&free)
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	if free {
		return errors.New("postgres: this user bypasses row-level security: log in as another one, which has been granted millrace_app or, to count rewards, millrace_rewards")
	}
	err = pool.QueryRow(ctx, "SELECT count(*) FROM app.migrations").Scan(&version)
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fmt.Errorf("postgres: %w: run `backend migrate up` as the owner, and grant millrace_app to this user", e)
	}
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	if version != Version() {
		return fmt.Errorf("postgres: the schema is version %d, this program needs %d: run `backend migrate up`", version, Version())
	}
	return nil
}

// Close implements [store.Store].
func (s *Store) Close() error {
	s.pool.Close()
	if s.replica != nil {
		s.replica.pool.Close()
	}
	return nil
}

// as runs f in a transaction of a user, again when others got in the way.
func (s *Store) as(ctx context.Context, pool *pgxpool.Pool, user string, opts pgx.TxOptions, f func(pgx.Tx) error) error {
	for try := 1; ; try++ {
		err := pgx.BeginTxFunc(ctx, pool, opts, func(tx pgx.Tx) error {
			if user != "" {
				if _, err := tx.Exec(ctx, setUser, user); err != nil {
					return err
				}
			}
			return f(tx)
		})
		if err == nil || try == maxTries || !passing(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Duration(try*try) * retryAfter):
		}
	}
}

const setUser = "SELECT set_config('app.user_id', $1, true)"

// setBoard has the transaction see no other board.
const setBoard = "SELECT set_config('app.board_id', $1, true)"

// setTrace has the transaction be known by its trace: in pg_stat_activity, and in each line of the log (%a) about it.
const setTrace = "SELECT set_config('application_name', $1, true)"

// passing reports whether the same transaction may go well the next time: serialization and deadlock, somebody else's insertion of the
// same, a right that was taken between two statements.
func passing(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == "40001" || e.Code == "40P01" || e.Code == "23505" || e.Code == "42501")
}

func (s *Store) write(ctx context.Context, user string, f func(pgx.Tx) error) error {
	return s.as(ctx, s.pool, user, pgx.TxOptions{}, f)
}

// read sees one moment in all its statements.
func (s *Store) read(ctx context.Context, user string, f func(pgx.Tx) error) error {
	return s.as(ctx, s.pool, user, reading(), f)
}

func reading() pgx.TxOptions {
	return pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
}

// readBoard is read on one board.
func (s *Store) readBoard(ctx context.Context, user, board string, f func(pgx.Tx) error) error {
	return s.readBoardFrom(ctx, s.pool, user, board, f)
}

func (s *Store) readBoardFrom(ctx context.Context, pool *pgxpool.Pool, user, board string, f func(pgx.Tx) error) error {
	return s.as(ctx, pool, "", reading(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, setUser+", set_config('app.board_id', $2, true)", user, board); err != nil {
			return err
		}
		return f(tx)
	})
}

func role(ctx context.Context, tx pgx.Tx, user, workspace string) (r store.Role, err error) {
	err = tx.QueryRow(ctx, "SELECT role FROM app.members WHERE workspace = $1 AND user_id = $2", workspace, user).Scan(&r)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return r, err
}

// CreateWorkspace implements [store.Store].
func (s *Store) CreateWorkspace(ctx context.Context, user, id, name string) error {
	return s.write(ctx, user, func(tx pgx.Tx) error {
		var made bool
		if err := tx.QueryRow(ctx, "SELECT app.create_workspace($1, $2)", id, name).Scan(&made); err != nil {
			return err
		}
		if !made {
			return store.ErrExists
		}
		return nil
	})
}

// SetMember implements [store.Store].
func (s *Store) SetMember(ctx context.Context, user, workspace string, member store.Member) (store.Member, error) {
	out := member
	err := s.write(ctx, user, func(tx pgx.Tx) error {
		r, err := role(ctx, tx, user, workspace)
		switch {
		case err != nil:
			return err
		case r == store.None:
			return store.ErrNotFound
		case r != store.Owner:
			return store.ErrDenied
		}
		// All owners are locked, in order, so that two of them cannot take each other's part at the same time.
		rows, err := tx.Query(ctx, `SELECT user_id, role, version FROM app.members
			WHERE workspace = $1 AND (role = 'owner' OR user_id = $2) ORDER BY user_id FOR UPDATE`, workspace, member.User)
		if err != nil {
			return err
		}
		known, err := pgx.CollectRows(rows, scanMember)
		if err != nil {
			return err
		}
		now, owners, mine := store.Member{User: member.User}, 0, false
		for _, m := range known {
			if m.User == member.User {
				now = m
			} else if m.Role == store.Owner {
				owners++
			}
			mine = mine || m.User == user && m.Role == store.Owner
		}
		switch {
		case !mine:
			return store.ErrDenied // until a moment ago
		case now.Version != member.Version:
			return &store.VersionError{Current: now}
		case owners == 0 && member.Role != store.Owner:
			return store.ErrLastOwner
		}
		out.Version = member.Version + 1
		_, err = tx.Exec(ctx, `INSERT INTO app.members (workspace, user_id, role, version) VALUES ($1, $2, $3, $4)
			ON CONFLICT (workspace, user_id) DO UPDATE SET role = excluded.role, version = excluded.version`,
			workspace, member.User, string(member.Role), out.Version)
		return err
	})
	if err != nil {
		return store.Member{}, err
	}
	return out, nil
}

func scanMember(row pgx.CollectableRow) (m store.Member, err error) {
	return m, row.Scan(&m.User, &m.Role, &m.Version)
}

// Members implements [store.Store].
func (s *Store) Members(ctx context.Context, user, workspace string) (out []store.Member, err error) {
	err = s.read(ctx, user, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "SELECT user_id, role, version FROM app.members WHERE workspace = $1 AND role <> '' ORDER BY user_id", workspace)
		if err != nil {
			return err
		}
		if out, err = pgx.CollectRows(rows, scanMember); err == nil && len(out) == 0 {
			return store.ErrNotFound
		}
		return err
	})
	return out, err
}

// CreateBoard implements [store.Store].
func (s *Store) CreateBoard(ctx context.Context, user, workspace, id, title string) (b store.Board, err error) {
	err = s.write(ctx, user, func(tx pgx.Tx) error {
		r, err := role(ctx, tx, user, workspace)
		switch {
		case err != nil:
			return err
		case r == store.None:
			return store.ErrNotFound
		case !r.Edits():
			return store.ErrDenied
		}
		tag, err := tx.Exec(ctx, "INSERT INTO app.boards (id, workspace, title, version) VALUES ($1, $2, $3, 1) ON CONFLICT DO NOTHING", id, workspace, title)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return store.ErrExists
		}
		b, err = oneBoard(ctx, tx, user, id)
		return err
	})
	return b, err
}

// selectBoards does not say whose: that is row-level security's to say. It asks for the role.
const selectBoards = `SELECT b.id, b.workspace, b.title, b.version, b.seq, b.hash, m.role
	FROM app.boards b JOIN app.members m ON m.workspace = b.workspace AND m.user_id = $1`

func scanBoard(row pgx.CollectableRow) (b store.Board, err error) {
	var hash int64
	err = row.Scan(&b.ID, &b.Workspace, &b.Title, &b.Version, &b.Seq, &hash, &b.Role)
	b.Hash = board.FormatHash(uint64(hash))
	return b, err
}

func oneBoard(ctx context.Context, tx pgx.Tx, user, id string) (store.Board, error) {
	rows, err := tx.Query(ctx, selectBoards+" WHERE b.id = $2", user, id)
	if err != nil {
		return store.Board{}, err
	}
	b, err := pgx.CollectExactlyOneRow(rows, scanBoard)
	return b, notFound(err)
}

func notFound(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return store.ErrNotFound
	}
	return err
}

// Rename implements [store.Store].
func (s *Store) Rename(ctx context.Context, user, id, title string, version int64) (b store.Board, err error) {
	err = s.write(ctx, user, func(tx pgx.Tx) error {
		// The version is part of the statement, so that of two at the same time one changes nothing.
		tag, err := tx.Exec(ctx, "UPDATE app.boards SET title = $1, version = version + 1 WHERE id = $2 AND version = $3", title, id, version)
		if err != nil {
			return err
		}
		if b, err = oneBoard(ctx, tx, user, id); err != nil || tag.RowsAffected() == 1 {
			return err
		}
		if !b.Role.Edits() {
			return store.ErrDenied
		}
		return &store.VersionError{Current: b}
	})
	if err != nil {
		return store.Board{}, err
	}
	return b, nil
}

// Boards implements [store.Store].
func (s *Store) Boards(ctx context.Context, user string) (out []store.Board, err error) {
	err = s.read(ctx, user, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectBoards+" ORDER BY b.id", user)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, scanBoard)
		return err
	})
	return out, err
}

// Board implements [store.Store].
func (s *Store) Board(ctx context.Context, user, id string) (b store.Board, err error) {
	err = s.read(ctx, user, func(tx pgx.Tx) error {
		b, err = oneBoard(ctx, tx, user, id)
		return err
	})
	return b, err
}
