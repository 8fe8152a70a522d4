package main

import (
	"context"
	"flag"

	"github.com/millracehq/millrace/backend/queue"
	"github.com/millracehq/millrace/gateway/stream/redis"
)

const rewardsDLQUsage = `backend rewards dlq looks after dead letters of the rewards: events that could not be counted.

usage: backend rewards dlq list   [--json] [flags]              a line for each
       backend rewards dlq show   ID [--json] [flags]           all fields of one
       backend rewards dlq replay ID... | --all [flags]         back into the queue
       backend rewards dlq drop   ID... | --all [flags]         away for good: they are never counted

An ID is PARTITION/MS-SEQ, as list prints it. Replay after the cause is mended; a replayed event counts once, however often it is
replayed. What cannot be counted still is a dead letter again, after its attempts.

`

// newRewardsDLQ is backend rewards dlq and its flags.
func newRewardsDLQ() (*dlq, *flag.FlagSet) {
	d := &dlq{name: "backend rewards dlq", usage: rewardsDLQUsage, column: "EVENT", field: "id"}
	d.open = func(c *redis.Client) letters { return rewardsLetters{c.Queue(queue.Name, "dlq")} }
	f := flag.NewFlagSet(d.name, flag.ContinueOnError)
	redisFlags(f, &d.redis.URL, &d.redis.Prefix, &d.redis.Partitions)
	return d, f
}

// rewardsLetters are the dead letters of the rewards.
type rewardsLetters struct{ *redis.Queue }

func (q rewardsLetters) Replay(ctx context.Context, l redis.DeadLetter) error {
	return q.Queue.Replay(ctx, l, queue.RetryFields()...)
}
