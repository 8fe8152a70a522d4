package sqlite

import (
	"context"
	"database/sql"
	_ "embed"
)

// rewards is the tables of package reward, which are in the same file.
//
//go:embed rewards.sql
var rewards string

// Write runs f in a transaction that no other one writes beside: for those who keep more in the same file.
func (s *Store) Write(ctx context.Context, f func(*sql.Tx) error) error { return s.write(ctx, f) }

// Read runs f in a transaction that sees one moment.
func (s *Store) Read(ctx context.Context, f func(*sql.Tx) error) error { return s.read(ctx, f) }
