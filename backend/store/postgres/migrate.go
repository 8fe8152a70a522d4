package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed *.sql
var files embed.FS

// migrations are the names of the files, in order: the version is how many have run. They are only ever added.
func migrations() []string {
	return []string{
		"0001_boards.sql", "0002_conflicts_go.sql", "0003_one_board.sql", "0004_trail.sql", "0005_rewards.sql", "0006_search.sql", "0007_score_changes.sql",
		"0008_score_parts.sql",
	}
}

// Version is the version of the schema that this program needs.
func Version() int { return len(migrations()) }

// before makes where the version is kept.
const before = `
CREATE SCHEMA IF NOT EXISTS app;
REVOKE ALL ON SCHEMA app FROM PUBLIC;
CREATE TABLE IF NOT EXISTS app.migrations (version int PRIMARY KEY, name text NOT NULL, at timestamptz NOT NULL DEFAULT now());
ALTER TABLE app.migrations ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.migrations FORCE ROW LEVEL SECURITY;
DO $$ BEGIN
	IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = 'app.migrations'::regclass AND polname = 'owner') THEN
		CREATE POLICY owner ON app.migrations TO CURRENT_USER USING (true) WITH CHECK (true);
	END IF;
END $$`

// Migrate brings the schema of a database up to this program's, as the owner of the tables, directly and not through PgBouncer.
// It returns the names of what was run. Several at once wait for each other; each migration happens whole or not at all.
func Migrate(ctx context.Context, url string) (ran []string, err error) {
	return migrate(ctx, url, Version())
}

// migrate stops at a version.
func migrate(ctx context.Context, url string, to int) (ran []string, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	for {
		name, err := migrateOne(ctx, conn, to)
		if err != nil || name == "" {
			return ran, err
		}
		ran = append(ran, name)
	}
}

func migrateOne(ctx context.Context, conn *pgx.Conn, to int) (name string, err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback(ctx))
		}
	}()
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(7236418)"); err != nil {
		return "", err
	}
	if err := script(ctx, conn, before); err != nil {
		return "", err
	}
	var version int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM app.migrations").Scan(&version); err != nil {
		return "", err
	}
	all := migrations()
	if version > len(all) {
		return "", fmt.Errorf("postgres: the database is at version %d, of a newer program; this one knows %d", version, len(all))
	}
	if version < to {
		name = all[version]
		text, err := files.ReadFile(name)
		if err != nil {
			return "", err
		}
		if err := script(ctx, conn, string(text)); err != nil {
			return "", fmt.Errorf("postgres: %s: %w", name, err)
		}
		if _, err := tx.Exec(ctx, "INSERT INTO app.migrations (version, name) VALUES ($1, $2)", version+1, name); err != nil {
			return "", err
		}
	}
	return name, tx.Commit(ctx)
}

// script runs several statements in the transaction that is open.
func script(ctx context.Context, conn *pgx.Conn, text string) error {
	_, err := conn.PgConn().Exec(ctx, text).ReadAll()
	return err
}

// Status is the version of a database's schema; 0 for one without.
func Status(ctx context.Context, url string) (version int, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, fmt.Errorf("postgres: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	err = conn.QueryRow(ctx, "SELECT count(*) FROM app.migrations").Scan(&version)
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && (e.Code == "42P01" || e.Code == "3F000") {
		return 0, nil // no such table, no such schema
	}
	return version, err
}
