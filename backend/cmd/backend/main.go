// Command backend is a complete backend of Millrace: package worker with the namespace "echo", task boards where there is
// a database, and HTTP endpoints for health and metrics. See backend --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/backend/queue"
	"github.com/millracehq/millrace/backend/service"
	"github.com/millracehq/millrace/backend/worker"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
)

// version is set by the linker.
var version = "dev"

// Exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, env func(string) (string, bool), stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "dlq" {
		d, f := newDLQ()
		return d.run(ctx, f, args[1:], env, stdout, stderr)
	}
	if len(args) > 0 && args[0] == "migrate" {
		return runMigrate(ctx, args[1:], env, stdout, stderr)
	}
	if len(args) > 0 && args[0] == "rewards" {
		return runRewards(ctx, args[1:], env, stdout, stderr)
	}
	o, err := parseOptions(args, env)
	switch {
	case errors.Is(err, errHelp):
		io.WriteString(stdout, usage())
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "backend: %v\nbackend --help lists all flags\n", err)
		return exitUsage
	case o.version:
		fmt.Fprintln(stdout, "backend", version)
		return exitOK
	}
	collectLess()
	if err := serve(ctx, o, o.logger(stderr)); err != nil {
		fmt.Fprintf(stderr, "backend: %v\n", err)
		return exitError
	}
	return exitOK
}

// collectLess is GOGC=400 if nobody says otherwise. What a backend or a worker keeps is some MB, and what a batch makes is as much: with Go's 100 it would collect several times
// a batch. That is a tenth of what a request costs a backend, and at 5,000 events a second the time to the ledger is three times as long (docs/REWARDS.md).
func collectLess() {
	if _, ok := os.LookupEnv("GOGC"); !ok {
		debug.SetGCPercent(400)
	}
}

// serve works until ctx is done.
func serve(ctx context.Context, o *options, log *slog.Logger) error {
	set := metrics.NewSet()
	cfg := o.worker
	cfg.Logger, cfg.Metrics = log, set
	w, err := worker.New(cfg)
	if err != nil {
		return err
	}
	w.Handle("echo", echo)
	w.Handle(worker.Any, others)
	var boardsAPI http.Handler
	if o.database != "" {
		boards, err := openStore(ctx, o.database, o.replica, set)
		if err != nil {
			return fmt.Errorf("--database: %w", err)
		}
		defer boards.Close()
		cfg := service.Config{Store: boards, Metrics: set, Logger: log, Together: o.together, Keep: o.keep}
		if o.rewards {
			f, stop, err := feedRewards(ctx, o, set, log)
			if err != nil {
				return err
			}
			defer stop()
			cfg.Committed = f.Committed
			w.Handle(queue.Namespace, ownChannel)
		}
		service.New(cfg).Register(w)
		if o.tokens.any() {
			a, stop, err := newAPI(ctx, &o.tokens, o.worker, boards, set, log)
			if err != nil {
				return err
			}
			defer stop()
			boardsAPI = a
		}
	}

	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	log.Info("listening", "addr", listener.Addr().String(), "version", version)
	stop := serveHTTP(listener, endpoints(w, set, boardsAPI), log)
	defer stop()
	return w.Run(ctx)
}

// feedRewards has what commits bring about handed to the rewards, until stop is called.
func feedRewards(ctx context.Context, o *options, set *metrics.Set, log *slog.Logger) (f *queue.Feeder, stop func(), err error) {
	client, err := redis.New(redis.Config{URL: o.worker.Redis, Prefix: o.worker.Prefix, Partitions: o.worker.Partitions, Conns: 2})
	if err != nil {
		return nil, nil, err
	}
	f = queue.NewFeeder(client, set, log)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // until the last handler has committed
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }()
	return f, func() {
		cancel()
		<-done
		client.Close()
	}, nil
}

// ownChannel lets each user listen to the own channel of rewards, and to no other.
func ownChannel(_ context.Context, e *worker.Event) error {
	if e.Kind == stream.KindSub && e.Channel == queue.Channel(e.User) {
		e.Grant(grantFor)
	}
	e.Deny(403, "rewards are told to the user alone")
	e.ReplyError(404, "ask the API of rewards")
	return nil
}

// others allows everybody to be connected, where the gateway asks that, and nothing else.
func others(_ context.Context, e *worker.Event) error {
	switch {
	case e.Kind == stream.KindOpen:
		e.Grant(grantFor)
	case e.Channel != "":
		e.ReplyError(404, "no backend for this namespace")
		e.Deny(404, "no backend for this namespace")
	}
	return nil
}

// grantFor is how long gateways remember what is granted here.
const grantFor = time.Minute

// echo answers a request with its own body, publishes a publication to its own channel, and allows everybody to subscribe.
func echo(_ context.Context, e *worker.Event) error {
	switch e.Kind {
	case stream.KindReq:
		e.Reply(e.Data)
	case stream.KindPub:
		e.Publish(e.Channel, e.Data)
	case stream.KindSub:
		e.Grant(grantFor)
	default:
	}
	return nil
}
