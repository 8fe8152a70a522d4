package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/millracehq/millrace/backend/service"
	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/backend/worker"
	"github.com/millracehq/millrace/gateway/stream"
)

var errHelp = flag.ErrHelp

// options are what the command line and the environment say.
type options struct {
	worker    worker.Config
	database  string
	replica   string
	together  int
	keep      time.Duration
	rewards   bool
	tokens    tokens
	listen    string
	logLevel  slog.Level
	logFormat string
	version   bool
}

// envPrefix makes MILLRACE_LOG_LEVEL of log-level.
const envPrefix = "MILLRACE_"

func envName(flagName string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

func (o *options) flags() *flag.FlagSet {
	f := flag.NewFlagSet("backend", flag.ContinueOnError)
	f.SetOutput(io.Discard) // run prints the error
	streamFlags(f, &o.worker.Redis, &o.worker.Prefix, &o.worker.Partitions, &o.worker.Group)
	f.StringVar(&o.database, "database", "", "`address` of the boards: sqlite:FILE or postgres://USER@HOST/NAME; without one there are no boards")
	f.StringVar(&o.replica, "database-replica", "", "`address` of a streaming replica of the database, postgres://USER@HOST/NAME, for reads that allow it")
	f.IntVar(&o.together, "commit-together", service.DefaultTogether, "mutations of one board that were there at once are committed together, at most `n`; 1: each request by itself")
	f.DurationVar(&o.keep, "keep-deleted", service.DefaultKeep, "`duration` for which boards keep what was deleted, and conflicts")
	f.BoolVar(&o.rewards, "rewards", false, "hand what happens on boards over to the rewards: see backend rewards --help")
	f.StringVar(&o.listen, "listen", "127.0.0.1:8000", "`host:port` of /healthz, /readyz, /metrics and the HTTP API of boards")
	o.tokens.flags(f)
	f.IntVar(&o.worker.Concurrency, "concurrency", 4, "`n` partitions are worked on at a time")
	f.IntVar(&o.worker.MaxAttempts, "max-attempts", 5, "an entry whose handler fails `n` times becomes a dead letter")
	f.IntVar(&o.worker.DeadLetters, "dead-letters", 10_000, "`n` dead letters are kept of a partition, about; then the oldest go")
	f.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "`level`: debug, info, warn or error")
	f.StringVar(&o.logFormat, "log-format", "text", "`format`: text or json")
	f.BoolVar(&o.version, "version", false, "print the version and exit")
	return f
}

// streamFlags say where the entries are and who shares them.
func streamFlags(f *flag.FlagSet, redis, prefix *string, partitions *int, group *string) {
	redisFlags(f, redis, prefix, partitions)
	f.StringVar(group, "group", stream.DefaultGroup, "`name` of the consumer group, shared by the backends that share the work")
}

// redisFlags say where the entries are.
func redisFlags(f *flag.FlagSet, redis, prefix *string, partitions *int) {
	f.StringVar(redis, "redis", "redis://127.0.0.1:6379/0", "`address` of the streams: redis:// rediss:// redis+sentinel:// redis+cluster://")
	f.StringVar(prefix, "prefix", stream.DefaultPrefix, "`name` before the first ':' of all keys in Redis")
	f.IntVar(partitions, "partitions", stream.DefaultPartitions, "how many partitions the installation was made with; `n` must be the same for all programs")
}

// flagLines are the flags for a help text.
func flagLines(f *flag.FlagSet) string {
	var b strings.Builder
	f.VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		if _, isBool := f.Value.(interface{ IsBoolFlag() bool }); !isBool {
			text += fmt.Sprintf(" (default %s)", f.DefValue)
		}
		fmt.Fprintf(&b, "  %-22s %s\n", strings.TrimSpace("--"+f.Name+" "+strings.ToUpper(value)), text)
	})
	return b.String()
}

func usage() string {
	return `backend answers what clients of Millrace request and publish in the namespace "echo": a request gets its own body
back, a publication goes to everyone on its channel. With --database it also keeps task boards, in the namespaces
"board" and "workspace"; and where there are keys for tokens (--jwt-secret, --jwt-key, --jwks), the HTTP API of boards under
/v1/, which /openapi.json describes.

usage: backend [flags]
       backend dlq --help      about entries that were given up: dead letters
       backend rewards --help  about points for what users do
       backend migrate --help  about the tables of boards in PostgreSQL

` + flagLines(new(options).flags()) + `
Each flag but --version is also an environment variable, MILLRACE_LOG_LEVEL for --log-level; the flag wins.

GET /readyz answers 200 while Redis is connected and being read, otherwise 503 and the reason. SIGINT and SIGTERM stop
reading, finish what was read, and exit with 0. Other exit codes: 1 when Redis does not answer within 10 seconds or has
another number of partitions, 2 for a mistake on the command line.
`
}

// parseOptions reads the environment, then args. All faults are reported at once.
func parseOptions(args []string, env func(string) (string, bool)) (*options, error) {
	o := new(options)
	f := o.flags()
	var faults []error
	if err := setFromEnv(f, env, "version"); err != nil {
		faults = append(faults, err)
	}
	if err := f.Parse(args); err != nil {
		return nil, errors.Join(append(faults, err)...)
	}
	if f.NArg() > 0 {
		faults = append(faults, fmt.Errorf("unexpected argument %q", f.Arg(0)))
	}
	if err := checkDatabase(o.database); err != nil {
		faults = append(faults, err)
	}
	if o.replica != "" && (!strings.HasPrefix(o.database, "postgres") || !strings.HasPrefix(o.replica, "postgres")) {
		faults = append(faults, errors.New("--database-replica: it and --database must be postgres://…"))
	}
	if o.together < 1 || o.together > store.MaxBatch {
		faults = append(faults, fmt.Errorf("--commit-together: %d is not in 1 to %d", o.together, store.MaxBatch))
	}
	if o.keep <= 0 {
		faults = append(faults, fmt.Errorf("--keep-deleted: %v is not over 0", o.keep))
	}
	if err := o.tokens.check(o.database, o.listen); err != nil {
		faults = append(faults, err)
	}
	if o.logFormat != "text" && o.logFormat != "json" {
		faults = append(faults, fmt.Errorf("--log-format: %q is neither text nor json", o.logFormat))
	}
	if err := o.worker.Validate(); err != nil {
		faults = append(faults, err)
	}
	return o, errors.Join(faults...)
}

// setFromEnv sets flags, but those, from the environment.
func setFromEnv(f *flag.FlagSet, env func(string) (string, bool), but ...string) error {
	var faults []error
	f.VisitAll(func(fl *flag.Flag) {
		value, ok := env(envName(fl.Name))
		if !ok || slices.Contains(but, fl.Name) {
			return
		}
		if err := fl.Value.Set(value); err != nil {
			faults = append(faults, fmt.Errorf("%s=%q: %w", envName(fl.Name), value, err))
		}
	})
	return errors.Join(faults...)
}

func checkDatabase(address string) error {
	if address == "" {
		return nil
	}
	for _, scheme := range []string{sqliteScheme, "postgres://", "postgresql://"} {
		if rest, ok := strings.CutPrefix(address, scheme); ok && rest != "" {
			return nil
		}
	}
	return fmt.Errorf("--database: %q is neither sqlite:FILE nor postgres://…", address)
}

func (o *options) logger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: o.logLevel}
	if o.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
