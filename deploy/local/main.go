// Program local runs the whole system on one machine: what `make run` starts.
//
//	local ─┬─ Redis      embedded (miniredis, in memory), unless --redis names a real one
//	       ├─ backend-1  bin/backend   127.0.0.1:8000
//	       ├─ rewards-1  bin/backend   127.0.0.1:8050
//	       └─ gateway-1  bin/gateway   127.0.0.1:8080, admin 127.0.0.1:9090
//
// It starts what was asked for, waits until each part says that it is ready, starts again what died, and stops
// gateways, backends and Redis in this order. Its children die with it, however it ends. It is for one machine and
// for trying things: it keeps nothing on disk and is no way to run a service.
package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	cfg, err := parseFlags(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintf(os.Stderr, "local: %v\n", err)
		os.Exit(2)
	}
	ctx, kill := stopSignals()
	if err := runWithBoards(ctx, kill, cfg, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "local: %v\n", err)
		os.Exit(1)
	}
}

//go:embed gateway.yaml
var gatewayYAML []byte

// runWithBoards is run with a file for boards where no database was named, with their namespaces where the gateways have no
// configuration, and with a new secret for tokens. They go with Redis, which keeps nothing either.
func runWithBoards(ctx, kill context.Context, cfg config, stdout io.Writer) error {
	dir, err := os.MkdirTemp("", "millrace")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if cfg.database == "" {
		cfg.database = "sqlite:" + filepath.Join(dir, "boards.db")
	}
	if cfg.gatewayConfig == "" {
		cfg.gatewayConfig = filepath.Join(dir, "gateway.yaml")
		if err := os.WriteFile(cfg.gatewayConfig, gatewayYAML, 0o600); err != nil {
			return err
		}
	}
	cfg.secret = rand.Text() + rand.Text()
	return run(ctx, kill, cfg, stdout)
}

// oneWish is how long further signals are taken for the same one: timeout(1), among others, sends each twice.
const oneWish = time.Second

// stopSignals gives two contexts: the first ends with the first SIGINT, SIGTERM or SIGHUP (stop in order), the other
// with the second (kill).
func stopSignals() (stop, kill context.Context) {
	stop, cancelStop := context.WithCancel(context.Background())
	kill, cancelKill := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-signals
		cancelStop()
		<-time.After(oneWish)
		for len(signals) > 0 {
			<-signals
		}
		<-signals
		cancelKill()
	}()
	return stop, kill
}

func parseFlags(args []string, stderr io.Writer) (config, error) {
	exe, err := os.Executable()
	if err != nil {
		return config{}, err
	}
	cfg := config{timing: defaultTiming}
	f := flag.NewFlagSet("local", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&cfg.bin, "bin", filepath.Dir(exe), "`directory` of the programs gateway and backend")
	f.IntVar(&cfg.gateways, "gateways", 1, "how many gateways to start")
	f.IntVar(&cfg.backends, "backends", 1, "how many backends to start")
	f.IntVar(&cfg.rewards, "rewards", 1, "how many processes to start that count what happens on boards")
	f.StringVar(&cfg.redis, "redis", "", "use the Redis at this `URL` (redis://host:port/db) instead of an embedded one")
	f.StringVar(&cfg.database, "database", "", "`address` of the backends' task boards, sqlite:FILE or postgres://…; by default a file that goes when everything stops")
	f.StringVar(&cfg.host, "host", "127.0.0.1", "`address` on which the gateways take clients, with credentials or without; everything else stays on loopback")
	f.StringVar(&cfg.gatewayConfig, "config", "", "configuration `file` of the gateways")
	f.BoolVar(&cfg.signIn, "sign-in", false, "gateways want a token, which the backends give to whoever names a user; by default everybody is the user anonymous there")
	f.IntVar(&cfg.gatewayPort, "gateway-port", 8080, "port of the first gateway; the next ones follow")
	f.IntVar(&cfg.adminPort, "admin-port", 9090, "admin port of the first gateway; the next ones follow")
	f.IntVar(&cfg.backendPort, "backend-port", 8000, "port of the first backend; the next ones follow")
	f.IntVar(&cfg.rewardsPort, "rewards-port", 8050, "port of the first process of rewards; the next ones follow")
	f.IntVar(&cfg.redisPort, "redis-port", 6379, "port of the embedded Redis; the next free one when it is taken")
	if err := f.Parse(args); err != nil {
		return config{}, err
	}
	if f.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return cfg, cfg.validate()
}
