package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Connect connects to a database whose schema is that of this program, as a user whom row-level security binds: for those who keep more
// in the same database.
func Connect(ctx context.Context, url string) (*pgxpool.Pool, error) {
	pool, err := newPool(ctx, url)
	if err != nil {
		return nil, err
	}
	if err := checkVersion(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}
