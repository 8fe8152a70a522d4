package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/millracehq/millrace/backend/queue"
	"github.com/millracehq/millrace/gateway/stream"
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

// rewardsDLQ is one dlq command.
type rewardsDLQ struct {
	dlq
	queue *redis.Queue
}

func (d *rewardsDLQ) flags() *flag.FlagSet {
	f := flag.NewFlagSet("backend rewards dlq", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	redisFlags(f, &d.redis.URL, &d.redis.Prefix, &d.redis.Partitions)
	f.BoolVar(&d.json, "json", false, "print JSON, one value a line (list, show)")
	f.BoolVar(&d.all, "all", false, "all dead letters (replay, drop)")
	return f
}

func runRewardsDLQ(ctx context.Context, args []string, env func(string) (string, bool), stdout, stderr io.Writer) int {
	d := &rewardsDLQ{dlq: dlq{stdout: stdout}}
	f := d.flags()
	words, err := parseDLQ(f, args, env)
	if err == nil {
		err = d.check(words)
	}
	switch {
	case errors.Is(err, errHelp):
		io.WriteString(stdout, rewardsDLQUsage+flagLines(f)+dlqEpilog)
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "backend rewards dlq: %v\nbackend rewards dlq --help says how\n", err)
		return exitUsage
	}
	d.queue = d.client.Queue(queue.Name, "dlq")
	if err := d.do(ctx, words[0], words[1:]); err != nil {
		fmt.Fprintf(stderr, "backend rewards dlq: %v\n", err)
		return exitError
	}
	return exitOK
}

func (d *rewardsDLQ) do(ctx context.Context, command string, ids []string) error {
	defer d.client.Close()
	if err := d.client.Connect(ctx, 0); err != nil {
		return err
	}
	switch command {
	case "list":
		return d.list(ctx)
	case "show":
		return d.each(ctx, ids, d.show)
	case "replay":
		return d.change(ctx, ids, "replayed", func(l redis.DeadLetter) error { return d.queue.Replay(ctx, l, queue.RetryFields()...) })
	}
	return d.change(ctx, ids, "dropped", func(l redis.DeadLetter) error { return d.queue.Drop(ctx, l.Ref) })
}

// each calls f with the dead letters of these IDs, or with all that there are now.
func (d *rewardsDLQ) each(ctx context.Context, ids []string, f func(redis.DeadLetter) error) error {
	for _, text := range ids {
		ref, err := parseRef(text)
		if err != nil {
			return err
		}
		letter, err := d.queue.DeadLetter(ctx, ref)
		if err == nil {
			err = f(letter)
		}
		if err != nil {
			return err
		}
	}
	now := stream.ID{MS: uint64(time.Now().Add(time.Minute).UnixMilli())} // what dies again meanwhile is not replayed for ever
	for p := 0; len(ids) == 0 && p < d.client.Partitions(); p++ {
		var after stream.ID
		for more := true; more; {
			letters, err := d.queue.DeadLetters(ctx, p, after, dlqPage)
			if err != nil {
				return err
			}
			more = len(letters) == dlqPage
			for _, l := range letters {
				if after = l.ID; now.Before(l.ID) {
					more = false
					break
				}
				if err := f(l); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (d *rewardsDLQ) change(ctx context.Context, ids []string, done string, f func(redis.DeadLetter) error) error {
	n := 0
	err := d.each(ctx, ids, func(l redis.DeadLetter) error {
		err := f(l)
		if d.all && errors.Is(err, redis.ErrNoDeadLetter) {
			return nil // somebody else was faster
		}
		if err == nil {
			n++
		}
		return err
	})
	fmt.Fprintf(d.stdout, "%s %d\n", done, n)
	return err
}

func (d *rewardsDLQ) list(ctx context.Context) error {
	if d.json {
		return d.each(ctx, nil, d.printJSON)
	}
	w := tabwriter.NewWriter(d.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tWHEN\tEVENT\tKIND\tUSER\tATTEMPTS\tREASON")
	err := d.each(ctx, nil, func(l redis.DeadLetter) error {
		_, err := fmt.Fprintf(w, "%d/%v\t%s\t%s\t%s\t%s\t%d\t%s\n", l.Partition, l.ID, l.At.UTC().Format(time.RFC3339),
			cell(field(l.Fields, "id")), cell(field(l.Fields, "kind")), cell(field(l.Fields, "user")), l.Attempts, cell(l.Reason))
		return err
	})
	return errors.Join(err, w.Flush())
}

func (d *rewardsDLQ) show(l redis.DeadLetter) error {
	if d.json {
		return d.printJSON(l)
	}
	w := tabwriter.NewWriter(d.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "letter\t%d/%v\nwhen\t%s\nreason\t%s\nattempts\t%d\nconsumer\t%s\nentry\t%v\n",
		l.Partition, l.ID, l.At.UTC().Format(time.RFC3339Nano), cell(l.Reason), l.Attempts, cell(l.Consumer), l.Entry)
	for i := 0; i+1 < len(l.Fields); i += 2 {
		fmt.Fprintf(w, "%s\t%s\n", cell(l.Fields[i]), cell(l.Fields[i+1]))
	}
	return w.Flush()
}
