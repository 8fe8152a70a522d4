package worker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
)

// Config configures a [Worker]. The zero value of each field is its default.
type Config struct {
	Redis        string        // any form of [redis.Config].URL; default redis://127.0.0.1:6379/0
	Prefix       string        // of all keys; default "millrace"
	Partitions   int           // must equal what the installation was made with; default 64
	Group        string        // consumer group, shared by the backends that share the work; default "backend"
	Consumer     string        // unique in the group; default host-pid-random
	Concurrency  int           // shards of the partitions, each handled one entry at a time; default 4
	Batch        int           // most entries read from a partition at once, and committed at once; default 64
	ClaimAfter   time.Duration // idle time after which an entry of a consumer without leases is taken over, at least 10ms; default 5s
	MaxAttempts  int           // how often an entry is handled before it is a dead letter; default 5
	RetryAfter   time.Duration // wait after the first failed attempt, doubled from then on up to 10s; default 100ms
	DeadLetters  int           // dead letters that a partition keeps, about: then the oldest go; default 10,000
	DedupeWindow time.Duration // how long a repeated (user, id) is recognized; default 10m
	StopTimeout  time.Duration // what handlers have left when Run is to end, before their context ends too; default 10s
	Logger       *slog.Logger  // default: none
	Metrics      *metrics.Set  // where the worker's metrics are registered; default: a set of its own

	lease time.Duration // how long a lease lasts that is not renewed; shorter in tests
}

const (
	defaultRedis        = "redis://127.0.0.1:6379/0"
	defaultConcurrency  = 4
	defaultBatch        = 64
	defaultClaimAfter   = 5 * time.Second
	defaultDedupeWindow = 10 * time.Minute
	defaultStopTimeout  = 10 * time.Second
	defaultMaxAttempts  = 5
	defaultRetryAfter   = 100 * time.Millisecond
	defaultDeadLetters  = 10_000
	defaultLease        = 3 * time.Second

	minClaimAfter = 10 * time.Millisecond
	maxBatch      = 10_000
)

// Validate reports all faults at once.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if client, err := redis.New(c.withDefaults().redis()); err != nil {
		faults = append(faults, err)
	} else {
		client.Close()
	}
	if c.Concurrency < 0 {
		fault("concurrency: %d is negative", c.Concurrency)
	}
	if c.Batch < 0 || c.Batch > maxBatch {
		fault("batch: %d is not in 1 to %d", c.Batch, maxBatch)
	}
	if c.ClaimAfter != 0 && c.ClaimAfter < minClaimAfter {
		fault("claim after: %v is less than %v", c.ClaimAfter, minClaimAfter)
	}
	if c.MaxAttempts < 0 {
		fault("max attempts: %d is negative", c.MaxAttempts)
	}
	if c.RetryAfter < 0 || c.RetryAfter > maxRetryAfter {
		fault("retry after: %v is not in 0 to %v", c.RetryAfter, maxRetryAfter)
	}
	if c.DeadLetters < 0 {
		fault("dead letters: %d is negative", c.DeadLetters)
	}
	if c.DedupeWindow != 0 && c.DedupeWindow < time.Millisecond {
		fault("dedupe window: %v is less than 1ms", c.DedupeWindow)
	}
	if c.StopTimeout < 0 {
		fault("stop timeout: %v is negative", c.StopTimeout)
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	setDefault(&c.Redis, defaultRedis)
	setDefault(&c.Partitions, stream.DefaultPartitions)
	setDefault(&c.Group, stream.DefaultGroup)
	setDefault(&c.Concurrency, defaultConcurrency)
	c.Concurrency = min(c.Concurrency, c.Partitions)
	setDefault(&c.Batch, defaultBatch)
	setDefault(&c.ClaimAfter, defaultClaimAfter)
	setDefault(&c.DedupeWindow, defaultDedupeWindow)
	setDefault(&c.StopTimeout, defaultStopTimeout)
	setDefault(&c.MaxAttempts, defaultMaxAttempts)
	setDefault(&c.RetryAfter, defaultRetryAfter)
	setDefault(&c.DeadLetters, defaultDeadLetters)
	setDefault(&c.lease, defaultLease)
	if c.Consumer == "" {
		host, _ := os.Hostname() // the random part alone would do
		c.Consumer = fmt.Sprintf("%s-%d-%s", host, os.Getpid(), rand.Text()[:8])
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = metrics.NewSet()
	}
	return c
}

// redis is the client's part: a connection for each shard, one for leases, one to renew with, and one to spare.
func (c Config) redis() redis.Config {
	return redis.Config{URL: c.Redis, Prefix: c.Prefix, Partitions: c.Partitions, Conns: c.Concurrency + 3}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
