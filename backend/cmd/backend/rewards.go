package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/backend/queue"
	"github.com/millracehq/millrace/backend/reward"
)

const rewardsUsage = `backend rewards counts what users do: points, levels, achievements, leaderboards (docs/REWARDS.md). Any number of these may
run; they share the work through Redis, and each uses as many hands and as large batches as the lag asks for.

usage: backend rewards [flags]
       backend rewards dlq --help      about events that were given up: dead letters
       backend rewards rescore --help  about other rules

`

const rewardsEpilog = `
Each flag but --version is also an environment variable, MILLRACE_REWARDS_TOKEN for --rewards-token; the flag wins.

The backends that serve boards are told with --rewards to hand over what happens; every 30 seconds one of these processes
looks in the boards' own logs for what did not arrive, so that nothing is lost when Redis is. GET /healthz, /readyz and
/metrics, and what docs/REWARDS.md says of /rewards/…, are on --listen. SIGINT and SIGTERM stop reading, finish what
was read, and exit with 0. Other exit codes: 1 when Redis or the database cannot be used, 2 for a mistake on the command line.
`

// rewards is what the command line says of backend rewards.
type rewards struct {
	options
	queue   queue.Config
	token   string
	webhook string
	sentry  string
	every   time.Duration // of the reconciler
}

func (r *rewards) flags() *flag.FlagSet {
	f := flag.NewFlagSet("backend rewards", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	redisFlags(f, &r.queue.Redis.URL, &r.queue.Redis.Prefix, &r.queue.Redis.Partitions)
	f.StringVar(&r.database, "database", "", "`address` of boards and rewards: sqlite:FILE or postgres://USER@HOST/NAME")
	f.StringVar(&r.replica, "database-replica", "", "`address` of a replica of PostgreSQL that leaderboards are read from")
	f.StringVar(&r.listen, "listen", "127.0.0.1:8050", "`host:port` of health, metrics and the API of rewards")
	f.StringVar(&r.token, "rewards-token", "", "`secret` that other applications send with events, and with questions; without one they are refused")
	f.StringVar(&r.queue.Consumer, "consumer", "", "`name` among these processes; one that comes back under its name goes on at once with what it had in hand")
	f.IntVar(&r.queue.MaxHands, "hands", 0, "at most `n` batches at a time; 0: 2, with SQLite 1")
	f.IntVar(&r.queue.Batch, "batch", 500, "`n` events are counted in one transaction")
	f.IntVar(&r.queue.MaxBatch, "max-batch", 2000, "up to `n` when there is lag")
	f.DurationVar(&r.queue.Linger, "linger", 0, "a batch that is not full waits so long (`duration`) for more; 0: 10ms")
	f.IntVar(&r.queue.MaxAttempts, "max-attempts", 7, "an event that cannot be counted `n` times becomes a dead letter")
	f.DurationVar(&r.queue.RetryAfter, "retry-after", 0, "`duration` before its second attempt, twice as long before each one more, up to 5m; 0: 1s")
	f.DurationVar(&r.queue.ClaimAfter, "claim-after", 0, "what another has held for so long (`duration`) is taken over; 0: 30s")
	f.IntVar(&r.queue.DeadLetters, "dead-letters", 10_000, "`n` dead letters are kept of a partition, about; then the oldest go")
	f.DurationVar(&r.every, "reconcile-every", 30*time.Second, "how often (`duration`) boards' logs are searched for what did not arrive; what is younger than a third of it is left alone")
	f.StringVar(&r.webhook, "alert-webhook", "", "`URL` that gets alerts by POST, as JSON")
	f.StringVar(&r.sentry, "sentry-dsn", "", "`DSN` of Sentry, or what understands it, that gets alerts")
	f.TextVar(&r.logLevel, "log-level", slog.LevelInfo, "`level`: debug, info, warn or error")
	f.StringVar(&r.logFormat, "log-format", "text", "`format`: text or json")
	f.BoolVar(&r.version, "version", false, "print the version and exit")
	return f
}

// runRewards is backend rewards and its arguments.
func runRewards(ctx context.Context, args []string, env func(string) (string, bool), stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "dlq" {
		d, f := newRewardsDLQ()
		return d.run(ctx, f, args[1:], env, stdout, stderr)
	}
	if len(args) > 0 && args[0] == "rescore" {
		return runRescore(ctx, args[1:], env, stdout, stderr)
	}
	r := new(rewards)
	f := r.flags()
	err := setFromEnv(f, env, "version")
	if parsed := f.Parse(args); errors.Is(parsed, errHelp) {
		io.WriteString(stdout, rewardsUsage+flagLines(f)+rewardsEpilog)
		return exitOK
	} else if err = errors.Join(err, parsed); parsed == nil {
		err = errors.Join(err, r.check(f))
	}
	switch {
	case r.version:
		fmt.Fprintln(stdout, "backend", version)
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "backend rewards: %v\nbackend rewards --help lists all flags\n", err)
		return exitUsage
	}
	collectLess()
	if err := r.serve(ctx, r.logger(stderr)); err != nil {
		fmt.Fprintf(stderr, "backend rewards: %v\n", err)
		return exitError
	}
	return exitOK
}

// check finds mistakes before anything is opened.
func (r *rewards) check(f *flag.FlagSet) error {
	var faults []error
	if f.NArg() > 0 {
		faults = append(faults, fmt.Errorf("unexpected argument %q", f.Arg(0)))
	}
	if r.database == "" {
		faults = append(faults, errors.New("--database: where are the boards, and the rewards? sqlite:FILE or postgres://…"))
	}
	if r.every < time.Second {
		faults = append(faults, fmt.Errorf("--reconcile-every: %v is less than 1s", r.every))
	}
	if r.logFormat != "text" && r.logFormat != "json" {
		faults = append(faults, fmt.Errorf("--log-format: %q is neither text nor json", r.logFormat))
	}
	if _, err := queue.NewNotifier(r.webhook, r.sentry, metrics.NewSet(), slog.New(slog.DiscardHandler)); err != nil {
		faults = append(faults, fmt.Errorf("--alert-webhook, --sentry-dsn: %w", err))
	}
	return errors.Join(append(faults, checkDatabase(r.database), r.queue.Validate())...)
}

// serve works until ctx is done.
func (r *rewards) serve(ctx context.Context, log *slog.Logger) (err error) {
	set := metrics.NewSet()
	kept, err := openRewards(ctx, r.database, r.replica, reward.BuiltIn(), set)
	if err != nil {
		return fmt.Errorf("--database: %w", err)
	}
	defer kept.close()
	notifier, err := queue.NewNotifier(r.webhook, r.sentry, set, log)
	if err != nil {
		return err
	}
	cfg := r.queue
	cfg.Counter, cfg.Metrics, cfg.Logger, cfg.Alert = kept.counter, set, log, notifier.Alert
	if cfg.MaxHands == 0 && isSQLite(r.database) {
		cfg.MaxHands = 1 // it has one writer
	}
	w, err := queue.New(cfg)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", r.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	log.Info("listening", "addr", listener.Addr().String(), "version", version)
	mux := endpoints(w, set, nil)
	who := queue.Bearer(r.token)
	(&queue.API{Add: w.Add, Desk: kept.desk, App: who, User: who}).Mount(mux)
	stop := serveHTTP(listener, mux, log)
	defer stop()
	return r.run(ctx, w, kept, notifier, log)
}

// run runs the worker and what belongs to it; the first error of the worker ends the others.
func (r *rewards) run(ctx context.Context, w *queue.Worker, kept *keptRewards, n *queue.Notifier, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var others sync.WaitGroup
	defer others.Wait()
	defer cancel()
	others.Go(func() { n.Run(ctx) })
	others.Go(func() { refresh(ctx, kept.counter, log) })
	others.Go(func() { w.Reconcile(ctx, queue.Reconciler{Trail: kept.trail, Counter: kept.counter, Every: r.every}) })
	return w.Run(ctx)
}

const (
	refreshEvery = 5 * time.Minute  // how old leaderboards get
	refreshLook  = 20 * time.Second // how often it is looked whether it is time
)

// refresh has leaderboards refreshed; of several processes, by the first that finds them too old.
func refresh(ctx context.Context, counter reward.Store, log *slog.Logger) {
	tick := time.NewTicker(refreshLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if _, err := counter.Refresh(ctx, now.Add(-refreshEvery)); err != nil && ctx.Err() == nil {
				log.Warn("leaderboards were not refreshed", "error", err)
			}
		}
	}
}
