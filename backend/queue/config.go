package queue

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/backend/reward"
	"github.com/millracehq/millrace/gateway/stream/redis"
)

// Counter counts events; a [reward.Store] is one. An error that is a [*reward.DataError] the same events would meet again; others pass.
type Counter interface {
	// Count counts events in one transaction, each ID once whenever and however often it comes. What comes back is durable. An
	// error says that none was counted, or that this is not known.
	Count(ctx context.Context, events []Event) (reward.Counted, error)
	// Known says of each ID whether it was counted.
	Known(ctx context.Context, ids []string) ([]bool, error)
}

// Channel is where a user is told: of the namespace that the gateways are set up with for it.
func Channel(user string) string { return Namespace + ":" + user }

// Namespace is that of [Channel].
const Namespace = "reward"

// Config configures a [Worker]. The zero value of each field but Counter is its default.
//
// The worker scales by itself: it begins with one hand and batches of Batch. Each second it looks at the lag of the whole queue. More than two
// batches for each hand: twice as many hands, up to MaxHands; when these are not enough, batches twice as large, up to MaxBatch, unless a
// transaction takes longer than SlowCount: then they get smaller again. Without lag for some seconds, hands and batches shrink, one step a second.
// Each hand has its share of the partitions, so that within a process no two transactions want the same user.
type Config struct {
	Counter     Counter
	Redis       redis.Config  // of the streams; Conns is set here
	Consumer    string        // unique among processes that run, and the same when one comes back if possible; default host-pid-random
	Batch       int           // events that are counted together; default 500
	MaxBatch    int           // up to so many when there is lag; default 2,000
	Linger      time.Duration // how long a batch that is not full waits for more; default 10ms
	MaxHands    int           // default 2: counting is one transaction after the other, the second hand reads and settles meanwhile
	SlowCount   time.Duration // default 250ms
	ClaimAfter  time.Duration // idle time after which what another consumer holds is taken over; default 30s
	MaxAttempts int           // how often an event is tried alone before it is a dead letter; default 7
	RetryAfter  time.Duration // wait before the second attempt; twice as long before each one more, up to 5 minutes; default 1s
	DeadLetters int           // that a partition keeps, about: then the oldest go; default 10,000
	StopTimeout time.Duration // what a transaction has left when Run is to end; default 10s
	Alert       func(Alert)   // is told of dead letters and outages; must not block; default: nobody is
	Logger      *slog.Logger  // default: none
	Metrics     *metrics.Set  // default: a set of its own
}

const (
	maxRetryAfter = 5 * time.Minute
	maxDeliveries = 4  // from then on an entry comes alone: it may be what kills processes
	deadlyAfter   = 16 // then it is believed
)

// Validate reports all faults at once.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	d := c.withDefaults()
	if d.Batch < 1 || d.MaxBatch < d.Batch || d.MaxBatch > 10_000 {
		fault("batch: %d to %d is not in 1 to 10000", d.Batch, d.MaxBatch)
	}
	if d.MaxHands < 1 || d.MaxHands > 64 {
		fault("hands: %d is not in 1 to 64", d.MaxHands)
	}
	if d.Linger < 0 || d.Linger > time.Second {
		fault("linger: %v is not in 0 to 1s", d.Linger)
	}
	if d.ClaimAfter < time.Second {
		fault("claim after: %v is less than 1s", d.ClaimAfter)
	}
	if d.MaxAttempts < 1 || d.DeadLetters < 1 || d.RetryAfter < 0 || d.StopTimeout < 0 {
		fault("attempts, dead letters, retry after and stop timeout: none may be negative")
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	c.Batch = cmp.Or(c.Batch, 500)
	c.MaxBatch = cmp.Or(c.MaxBatch, max(2000, c.Batch))
	c.Linger = cmp.Or(c.Linger, 10*time.Millisecond)
	c.MaxHands = cmp.Or(c.MaxHands, 2)
	c.SlowCount = cmp.Or(c.SlowCount, 250*time.Millisecond)
	c.ClaimAfter = cmp.Or(c.ClaimAfter, 30*time.Second)
	c.MaxAttempts = cmp.Or(c.MaxAttempts, 7)
	c.RetryAfter = cmp.Or(c.RetryAfter, time.Second)
	c.DeadLetters = cmp.Or(c.DeadLetters, 10_000)
	c.StopTimeout = cmp.Or(c.StopTimeout, 10*time.Second)
	if c.Consumer == "" {
		host, _ := os.Hostname() // the random part alone would do
		c.Consumer = fmt.Sprintf("%s-%d-%s", host, os.Getpid(), rand.Text()[:8])
	}
	if c.Alert == nil {
		c.Alert = func(Alert) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = metrics.NewSet()
	}
	c.Redis.Conns = c.MaxHands + 3 // one for the keeper, one for the reconciler, one to spare
	return c
}
