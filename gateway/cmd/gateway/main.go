// Command gateway is the Millrace WebSocket gateway. gateway --help says how it is set.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/millracehq/millrace/gateway"
)

var version = "dev" // set by the Makefile

func main() { os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }

// run is main with everything it depends on. Exit codes: 0 stopped as asked, 1 could not run, 2 bad usage.
func run(args, env []string, stdout, stderr io.Writer) int {
	s, err := parse(args, env, stdout, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "gateway: %v\ngateway --help lists the settings\n", err)
		return 2
	case s.version:
		_, _ = fmt.Fprintln(stdout, "millrace gateway", version, runtime.Version())
		return 0
	}
	log := newLogger(s, stderr)
	s.cfg.Logger = log
	ctx, hurry := stopSignals()
	g, err := gateway.New(s.cfg)
	if err != nil {
		log.Error("cannot start", "err", err)
		return 1
	}
	if wanted := g.Loops() + 2; os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), wanted))
	} else if runtime.GOMAXPROCS(0) < wanted {
		log.Warn("GOMAXPROCS is below loops and two: everybody waits for the loops; unset it, or use fewer --loops", "GOMAXPROCS", runtime.GOMAXPROCS(0), "loops", g.Loops())
	}
	context.AfterFunc(hurry, g.Hurry)
	stopReloads := onHangup(func() {
		reload(ctx, g, log, args, env)
		_ = g.ReloadCertificate() // which logs it
	})
	defer stopReloads()
	if err := g.Run(ctx); err != nil && ctx.Err() == nil {
		log.Error("cannot run", "err", err)
		return 1
	}
	return 0
}

// reload has g take up what the settings say now. The command line and the environment are what they were.
func reload(ctx context.Context, g *gateway.Gateway, log *slog.Logger, args, env []string) {
	s, err := parse(args, env, io.Discard, io.Discard)
	if err == nil {
		err = g.Reload(ctx, s.cfg)
	}
	if err != nil {
		log.Error("configuration refused: all goes on as before", "err", err)
	}
}

func newLogger(s settings, w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: s.logLevel}
	if s.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

type settings struct {
	cfg       gateway.Config
	file      string
	logLevel  slog.Level
	logFormat string
	version   bool
}

// parse reads the settings: a flag wins over its environment variable, that over the file, and that over the default.
func parse(args, env []string, stdout, stderr io.Writer) (settings, error) {
	var early, s settings
	if err := early.flags(io.Discard).Parse(args); err != nil && !errors.Is(err, flag.ErrHelp) {
		return s, err
	}
	file := early.file
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "MILLRACE_CONFIG="); ok && file == "" {
			file = v
		}
	}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return s, fmt.Errorf("configuration: %w", err)
		}
		if err := gateway.ParseConfig(text, &s.cfg); err != nil {
			return s, fmt.Errorf("configuration %s: %w", file, err)
		}
	}
	fs := s.flags(stderr)
	if err := setFromEnv(fs, env); err != nil {
		return s, err
	}
	fs.Usage = func() { usage(new(settings).flags(stdout), stdout) } // of its own: the file may hold a secret
	fs.SetOutput(io.Discard)                                         // run says what is wrong, once
	if err := fs.Parse(args); err != nil {
		return s, err
	}
	if fs.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if s.logFormat != "text" && s.logFormat != "json" {
		return s, fmt.Errorf("log-format: %q is neither text nor json", s.logFormat)
	}
	if err := s.cfg.Validate(); err != nil {
		return s, err
	}
	return s, nil
}

// setFromEnv sets each flag that has a variable: MILLRACE_ and its name in capitals, with _ for -.
func setFromEnv(fs *flag.FlagSet, env []string) (err error) {
	fs.VisitAll(func(f *flag.Flag) {
		name := envName(f.Name) + "="
		for _, kv := range env {
			if v, ok := strings.CutPrefix(kv, name); ok && err == nil {
				if e := fs.Set(f.Name, v); e != nil {
					err = fmt.Errorf("%s%s: %w", name, v, e)
				}
			}
		}
	})
	return err
}

func envName(flag string) string {
	return "MILLRACE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func duration(fs *flag.FlagSet, v *time.Duration, name, usage string) {
	fs.DurationVar(v, name, *v, usage)
}
