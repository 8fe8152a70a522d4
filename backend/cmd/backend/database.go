package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/reward"
	rewardpostgres "github.com/millracehq/millrace/backend/reward/postgres"
	rewardsqlite "github.com/millracehq/millrace/backend/reward/sqlite"
	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/backend/store/postgres"
	"github.com/millracehq/millrace/backend/store/sqlite"
)

const (
	sqliteScheme   = "sqlite:"
	connectTimeout = 10 * time.Second
)

// openStore opens the boards of an address that checkDatabase has let pass.
func openStore(ctx context.Context, address, replica string, set *metrics.Set) (store.Store, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if path, ok := strings.CutPrefix(address, sqliteScheme); ok {
		return sqlite.Open(ctx, path, board.Rules{}, nil)
	}
	s, err := postgres.Open(ctx, address, board.Rules{}, nil)
	if err != nil || replica == "" {
		return s, err
	}
	if err := s.UseReplica(ctx, replica, set); err != nil {
		return nil, errors.Join(fmt.Errorf("replica: %w", err), s.Close())
	}
	return s, nil
}

func isSQLite(address string) bool { return strings.HasPrefix(address, sqliteScheme) }

// keptRewards is what `backend rewards` has in a database.
type keptRewards struct {
	counter reward.Store
	desk    reward.Desk
	trail   store.Trail
	close   func()
}

// openRewards opens the rewards of an address that checkDatabase has let pass; replica may be "".
func openRewards(ctx context.Context, address, replica string, rules *reward.Rules, set *metrics.Set) (*keptRewards, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if path, ok := strings.CutPrefix(address, sqliteScheme); ok {
		boards, err := sqlite.Open(ctx, path, board.Rules{}, nil)
		if err != nil {
			return nil, err
		}
		s := rewardsqlite.New(boards, rules, nil)
		return &keptRewards{s, s, boards, func() { boards.Close() }}, nil
	}
	boards, err := postgres.Open(ctx, address, board.Rules{}, nil)
	if err != nil {
		return nil, err
	}
	counter, err := rewardpostgres.Open(ctx, address, rules)
	if err != nil {
		boards.Close()
		return nil, err
	}
	desk, err := rewardpostgres.OpenDesk(ctx, address, replica, rules)
	if err != nil {
		boards.Close()
		counter.Close()
		return nil, err
	}
	counter.Watch(set)
	desk.Watch(set)
	return &keptRewards{counter, desk, boards, func() {
		boards.Close()
		counter.Close()
		desk.Close()
	}}, nil
}

func migrateUsage() string {
	return `backend migrate brings the tables of boards in PostgreSQL up to what this program needs. (A SQLite file is brought up by itself.)

usage: backend migrate up|status --database postgres://OWNER@HOST/NAME

OWNER owns the tables and may create a role (CREATEROLE), at least the first time. Backends must log in as somebody else: grant
millrace_app to that user. Connect to PostgreSQL itself and not to PgBouncer. --database is also MILLRACE_DATABASE.

up runs what is missing and says what it ran; each migration happens whole or not at all, and several at once wait for each
other. status exits with 0 when nothing is missing, else with 1.
`
}

// runMigrate is backend migrate.
func runMigrate(ctx context.Context, args []string, env func(string) (string, bool), stdout, stderr io.Writer) int {
	var address string
	f := flag.NewFlagSet("migrate", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&address, "database", "", "")
	err := setFromEnv(f, env)
	do := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		do, args = args[0], args[1:]
	}
	err = errors.Join(err, f.Parse(args))
	if errors.Is(err, errHelp) {
		io.WriteString(stdout, migrateUsage())
		return exitOK
	}
	switch {
	case err != nil:
	case f.NArg() > 0 || do != "up" && do != "status":
		err = errors.New("say up or status, and nothing else")
	case !strings.HasPrefix(address, "postgres"):
		err = errors.Join(fmt.Errorf("--database: %q is not postgres://…", address), checkDatabase(address))
	}
	if err != nil {
		fmt.Fprintf(stderr, "backend migrate: %v\nbackend migrate --help explains it\n", err)
		return exitUsage
	}
	if do == "up" {
		err = migrateUp(ctx, address, stdout)
	} else {
		err = migrateStatus(ctx, address, stdout)
	}
	if err != nil {
		fmt.Fprintf(stderr, "backend migrate: %v\n", err)
		return exitError
	}
	return exitOK
}

func migrateUp(ctx context.Context, address string, stdout io.Writer) error {
	ran, err := postgres.Migrate(ctx, address)
	for _, name := range ran {
		fmt.Fprintln(stdout, "ran", name)
	}
	if err == nil {
		fmt.Fprintf(stdout, "version %d\n", postgres.Version())
	}
	return err
}

func migrateStatus(ctx context.Context, address string, stdout io.Writer) error {
	version, err := postgres.Status(ctx, address)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "version %d of %d\n", version, postgres.Version())
	if version != postgres.Version() {
		return errors.New("not up to date: run backend migrate up")
	}
	return nil
}
