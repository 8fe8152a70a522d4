// Command pollserver is the baseline of the scenario polling-baseline: it answers GET /poll?channel=CHANNEL&after=POSITION with what has
// been published, from the streams of an installation. See package polling.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/millracehq/millrace/gateway/stream/redis"
	"github.com/millracehq/millrace/loadtest/internal/polling"
)

const usage = `Usage: pollserver [flags]

Answers GET /poll?channel=CHANNEL&after=POSITION with the publications of a channel, for the scenario polling-baseline:
what HTTP polling costs and how late it is, beside the gateway on the same streams. GET /readyz says when it has begun.

      --listen ADDR    (default 127.0.0.1:8090)
      --redis URL      of one server (default redis://127.0.0.1:6379/0)
      --partitions N   of the installation (default 64)
`

const (
	connectWait = 10 * time.Second
	stopWait    = 2 * time.Second
	headerWait  = 5 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main; exit codes: 0 stopped as asked, 1 could not run, 2 bad usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("pollserver", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	listen := fs.String("listen", "127.0.0.1:8090", "")
	url := fs.String("redis", "redis://127.0.0.1:6379/0", "")
	partitions := fs.Int("partitions", 0, "")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return 0
	case err == nil && fs.NArg() > 0:
		err = fmt.Errorf("%q is not a flag", fs.Arg(0))
	}
	if err != nil {
		fmt.Fprintf(stderr, "pollserver: %v (pollserver --help)\n", err)
		return 2
	}
	if err := serve(ctx, *listen, redis.Config{URL: *url, Partitions: *partitions}, stderr); err != nil {
		fmt.Fprintf(stderr, "pollserver: %v\n", err)
		return 1
	}
	return 0
}

// serve follows the streams and answers until ctx ends or one of the two fails.
func serve(ctx context.Context, listen string, cfg redis.Config, stderr io.Writer) error {
	client, err := redis.New(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	if client.Cluster() {
		return errors.New("--redis: the baseline reads from one server, not from a Cluster")
	}
	if err := client.Connect(ctx, connectWait); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	board, began := new(polling.Board), make(chan struct{})
	mux := http.NewServeMux()
	mux.Handle("/poll", board)
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-began:
			fmt.Fprintln(w, "ok")
		default:
			http.Error(w, "the streams are not read yet", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/debug/gc", func(w http.ResponseWriter, _ *http.Request) {
		debug.FreeOSMemory() // collects first
		fmt.Fprintln(w, "ok")
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: headerWait}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(l)
		cancel()
	}()
	fmt.Fprintf(stderr, "pollserver: http://%s/poll\n", l.Addr())
	err = polling.Follow(ctx, client, board, func() { close(began) })
	closing, done := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
	defer done()
	if e := server.Shutdown(closing); errors.Is(e, context.DeadlineExceeded) {
		_ = server.Close() // connections that are kept and not idle
	}
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}
