package redis

import (
	"context"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
)

// Queue is one consumer of a queue: work that backends leave to each other, in a stream for each partition. Unlike the `in` streams of a
// [Group] there are no leases: Redis deals entries out to all consumers, so they may be done in any order, and twice.
//
//	Client.Append ──▶ stream ──Take──▶ consumer ──Settle──▶ done
//	                   ▲  ▲ └──Recover──▶ another            ├──▶ waiting, until it is due
//	                   │  └────────────Wake──────────────────┘ └▶ dead letters ──Replay──▶ stream
//	                   └───────────────────────────────────────────────────────────────────┘
//
// An entry may have an ID, its field "id": of several of one ID one waits, and one is given up. All methods may be
// called concurrently, but those of one consumer's reading: [Queue.Take] and [Queue.Recover].
type Queue struct {
	// Immutable after [Client.Queue].
	c        *Client
	name     string
	consumer string
	streams  []string       // by partition
	byKey    map[string]int // partition of streams
}

// queueGroup is the consumer group of every queue.
const queueGroup = "workers"

// Queue is a consumer of a queue. It does not speak to Redis yet; the groups are made by [Queue.Create].
func (c *Client) Queue(name, consumer string) *Queue {
	q := &Queue{c: c, name: name, consumer: consumer, streams: make([]string, c.partitions), byKey: make(map[string]int, c.partitions)}
	for p := range q.streams {
		q.streams[p] = c.keys.Queue(p, name)
		q.byKey[q.streams[p]] = p
	}
	return q
}

// Key is the stream of a partition: where [Client.Append] puts work.
func (q *Queue) Key(partition int) string { return q.streams[partition] }

// Create makes the consumer group on every partition, from the first entry on. What is there stays as it is.
func (q *Queue) Create(ctx context.Context) error {
	cmds, err := q.c.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for _, key := range q.streams {
			p.XGroupCreateMkStream(ctx, key, queueGroup, "0")
		}
		return nil
	})
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !goredis.HasErrorPrefix(err, "BUSYGROUP") {
			return err
		}
	}
	if goredis.HasErrorPrefix(err, "BUSYGROUP") {
		return nil
	}
	return err
}

// Take reads up to count new entries of each partition, waiting for the first one for at most block; zero does not wait. After an
// error entries may be pending for this consumer of which it knows nothing: [Queue.Recover] finds them. [ErrNoGroup].
func (q *Queue) Take(ctx context.Context, partitions []int, count int, block time.Duration) ([]Delivery, error) {
	if q.c.cluster != nil {
		return q.takeCluster(ctx, partitions, count, block)
	}
	args := make([]any, 0, 9+2*len(partitions))
	args = append(args, "XREADGROUP", "GROUP", queueGroup, q.consumer, "COUNT", count)
	if block > 0 {
		args = append(args, "BLOCK", max(block.Milliseconds(), 1))
	}
	args = append(args, "STREAMS")
	for _, p := range partitions {
		args = append(args, q.streams[p])
	}
	for range partitions {
		args = append(args, ">")
	}
	reply, err := q.c.rdb.Do(ctx, args...).Result()
	return q.deliveries(nil, reply, err)
}

// pollEvery is how often a Cluster is asked, since one command cannot wait for streams of several slots.
const pollEvery = 10 * time.Millisecond

func (q *Queue) takeCluster(ctx context.Context, partitions []int, count int, block time.Duration) ([]Delivery, error) {
	for end := time.Now().Add(block); ; {
		cmds := make([]*goredis.Cmd, len(partitions))
		_, _ = q.c.rdb.Pipelined(ctx, func(pipe goredis.Pipeliner) error { // each command has its own error
			for i, p := range partitions {
				cmds[i] = pipe.Do(ctx, "XREADGROUP", "GROUP", queueGroup, q.consumer, "COUNT", count, "STREAMS", q.streams[p], ">")
			}
			return nil
		})
		var out []Delivery
		var failure error
		for _, cmd := range cmds {
			var err error
			if out, err = q.deliveries(out, cmd.Val(), cmd.Err()); err != nil {
				failure = err
			}
		}
		if len(out) > 0 || failure != nil || !time.Now().Before(end) {
			return out, failure
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pollEvery):
		}
	}
}

// deliveries appends what XREADGROUP answered.
func (q *Queue) deliveries(out []Delivery, reply any, err error) ([]Delivery, error) {
	if err == goredis.Nil || err == nil && reply == nil { //nolint:errorlint // go-redis returns it bare
		return out, nil
	}
	if err != nil {
		return out, groupError(err)
	}
	streams, err := parseStreams(reply)
	if err != nil {
		return out, err
	}
	for _, s := range streams {
		p, ok := q.byKey[s.Key]
		if !ok {
			return out, fmt.Errorf("%w: stream %q was not asked for", errReply, s.Key)
		}
		for _, e := range s.Entries {
			out = append(out, Delivery{Ref: Ref{Partition: p, ID: e.ID}, Fields: e.Fields, Attempt: 1})
		}
	}
	return out, nil
}

// Walk is a walk through what is pending on a partition; see [Queue.Recover].
type Walk struct {
	Partition int
	Idle      time.Duration // after which an entry of another consumer is taken over
	Own       Own           // what becomes of this consumer's own
	Suspect   int64         // an entry that is attempted more often than this comes alone

	seen stream.ID // entries up to here have been looked at
}

// Recover takes over some entries that are pending, and says whether the walk may have more; one that finds nothing may have.
// What others have left alone for Idle counts as one more attempt. An entry over which processes have died too often comes
// alone: if it kills this one too, it is the only one that is counted against. (XAUTOCLAIM would not say how often
// an entry was delivered.) What is pending and was deleted is acknowledged. [ErrNoGroup].
func (q *Queue) Recover(ctx context.Context, w *Walk) (out []Delivery, more bool, err error) {
	call := recoverPage.call([]string{q.streams[w.Partition]}, queueGroup, q.consumer, w.seen.String(), w.Idle.Milliseconds(), string(w.Own), w.Suspect)
	got, err := q.c.eval(ctx, recoverPage, call)
	if err != nil {
		return nil, false, err
	}
	list, _ := got[0].([]any)
	if len(list) != 3 {
		return nil, false, fmt.Errorf("%w: %T for what was pending", errReply, got[0])
	}
	entries, err := parseEntries(list[1])
	if err != nil {
		return nil, false, err
	}
	attempts, _ := list[2].([]any)
	if len(attempts) != len(entries) {
		return nil, false, fmt.Errorf("%w: %d attempts of %d entries", errReply, len(attempts), len(entries))
	}
	text, _ := list[0].(string)
	seen, err := stream.ParseID(text)
	if err != nil {
		return nil, false, fmt.Errorf("%w: entry ID %q", errReply, text)
	}
	for i, e := range entries {
		n, _ := attempts[i].(int64)
		out = append(out, Delivery{Ref: Ref{Partition: w.Partition, ID: e.ID}, Fields: e.Fields, Attempt: n})
	}
	more = w.seen.Before(seen)
	w.seen = seen
	return out, more, nil
}

// recoverPage looks at a hundred entries at most and answers the ID up to which it has looked, the entries taken, and their attempts.
//
// KEYS: stream. ARGV: group, consumer, ID to begin behind, idle time in ms, Own, attempts from which on an entry comes alone.
var recoverPage = newScript(`
local page = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[3], '+', 100)
if page.err then return page end
local looked, entries, attempts = ARGV[3], {}, {}
for _, e in ipairs(page) do
	local id, own, attempt = e[1], e[2] == ARGV[2], tonumber(e[4])
	if own and ARGV[5] == '1' or not own then attempt = attempt + 1 end
	if id ~= ARGV[3] and (own and ARGV[5] ~= '' or not own and tonumber(e[3]) >= tonumber(ARGV[4])) then
		if attempt > tonumber(ARGV[6]) and #entries > 0 then break end
		local got = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'RETRYCOUNT', attempt)
		if got[1] then
			entries[#entries + 1], attempts[#attempts + 1] = got[1], attempt
		else
			redis.call('XACK', KEYS[1], ARGV[1], id)
		end
		looked = id
		if attempt > tonumber(ARGV[6]) then break end
	end
	looked = id
end
return {looked, entries, attempts}`)

// Touch starts the idle time of entries anew that this consumer has in hand. What is not pending any more is passed over.
func (q *Queue) Touch(ctx context.Context, refs []Ref) error {
	_, err := q.c.rdb.Pipelined(ctx, func(pipe goredis.Pipeliner) error {
		for p, ids := range byPartition(refs) {
			args := append([]any{"XCLAIM", q.streams[p], queueGroup, q.consumer, 0}, ids...)
			pipe.Do(ctx, append(args, "JUSTID")...)
		}
		return nil
	})
	return err
}

func byPartition(refs []Ref) map[int][]any {
	out := make(map[int][]any)
	for _, r := range refs {
		out[r.Partition] = append(out[r.Partition], r.ID.String())
	}
	return out
}
