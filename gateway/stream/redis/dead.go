package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millracehq/millrace/gateway/stream"
)

// ErrNoDeadLetter says that there is none of that ID.
var ErrNoDeadLetter = errors.New("no such dead letter")

// DeadLetter is an entry that a group has given up.
type DeadLetter struct {
	Ref               // of the dead letter
	Fields   []string // of the entry, as they came
	Entry    stream.ID
	Reason   string
	Attempts int64
	At       time.Time // when it was given up
	Consumer string    // by whom
}

// maxReason is the most bytes of a reason.
const maxReason = 256

// Reason is an error as [DeadLetter.Reason]: one line that is not too long, and never empty.
func Reason(err error) string {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(err.Error(), "?")), " ")
	if text == "" {
		return "unknown"
	}
	for n := maxReason; len(text) > maxReason; n-- {
		if utf8.RuneStart(text[n]) {
			text = text[:n]
		}
	}
	return text
}

// deadFields are the last fields of a dead letter, in this order.
var deadFields = [...]string{"dead_entry", "dead_reason", "dead_attempts", "dead_at", "dead_consumer"}

// DeadLetters returns up to count dead letters of a group and partition, in the order of their deaths, after that ID.
func (c *Client) DeadLetters(ctx context.Context, group string, partition int, after stream.ID, count int) ([]DeadLetter, error) {
	return c.deadLetters(ctx, c.keys.Dead(partition, group), partition, "("+after.String(), "+", count)
}

// DeadLetter returns one, or [ErrNoDeadLetter].
func (c *Client) DeadLetter(ctx context.Context, group string, ref Ref) (DeadLetter, error) {
	if ref.Partition < 0 || ref.Partition >= c.partitions {
		return DeadLetter{}, fmt.Errorf("%w: %d/%v (partitions are 0 to %d)", ErrNoDeadLetter, ref.Partition, ref.ID, c.partitions-1)
	}
	return c.deadLetter(ctx, c.keys.Dead(ref.Partition, group), ref)
}

func (c *Client) deadLetter(ctx context.Context, key string, ref Ref) (DeadLetter, error) {
	got, err := c.deadLetters(ctx, key, ref.Partition, ref.ID.String(), ref.ID.String(), 1)
	if err != nil {
		return DeadLetter{}, err
	}
	if len(got) == 0 {
		return DeadLetter{}, fmt.Errorf("%w: %d/%v", ErrNoDeadLetter, ref.Partition, ref.ID)
	}
	return got[0], nil
}

func (c *Client) deadLetters(ctx context.Context, key string, partition int, from, to string, count int) ([]DeadLetter, error) {
	reply, err := c.rdb.Do(ctx, "XRANGE", key, from, to, "COUNT", count).Result()
	if err != nil {
		return nil, err
	}
	entries, err := parseEntries(reply)
	if err != nil {
		return nil, err
	}
	letters := make([]DeadLetter, len(entries))
	for i, e := range entries {
		if letters[i], err = parseDead(e); err != nil {
			return nil, err
		}
		letters[i].Partition = partition
	}
	return letters, nil
}

func parseDead(e Entry) (DeadLetter, error) {
	first := len(e.Fields) - 2*len(deadFields)
	bad := fmt.Errorf("%w: %v is no dead letter", errReply, e.ID)
	if first < 0 {
		return DeadLetter{}, bad
	}
	values := e.Fields[first:]
	for i, name := range deadFields {
		if values[2*i] != name {
			return DeadLetter{}, bad
		}
	}
	d := DeadLetter{Ref: Ref{ID: e.ID}, Fields: e.Fields[:first:first], Reason: values[3], Consumer: values[9]}
	var faults [3]error
	var at int64
	d.Entry, faults[0] = stream.ParseID(values[1])
	d.Attempts, faults[1] = strconv.ParseInt(values[5], 10, 64)
	at, faults[2] = strconv.ParseInt(values[7], 10, 64)
	d.At = time.UnixMilli(at)
	if err := errors.Join(faults[:]...); err != nil {
		return DeadLetter{}, fmt.Errorf("%w: %w", bad, err)
	}
	return d, nil
}

// Replay puts the entry back to the end of its `in` stream, as it came, and takes it from the dead letters, in one step. If
// it has an ID, that counts as never seen from now on. [ErrNoDeadLetter] if it is gone.
func (c *Client) Replay(ctx context.Context, group string, d DeadLetter) error {
	keys := []string{c.keys.Dead(d.Partition, group), c.keys.In(d.Partition)}
	if e, err := stream.DecodeEvent(d.Fields); err == nil && e.ID != "" {
		keys = append(keys, c.keys.Seen(d.Partition, e.User, e.ID))
	}
	return c.removeDead(ctx, replay, d.Ref, keys, len(deadFields))
}

// KEYS: dead letters, `in` stream, seen key if there is one. ARGV: ID, number of fields that are not of the entry.
var replay = newScript(`
local dead = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not dead then return 0 end
redis.call('XADD', KEYS[2], '*', unpack(dead[2], 1, #dead[2] - 2 * ARGV[2]))
redis.call('XDEL', KEYS[1], ARGV[1])
if KEYS[3] then redis.call('DEL', KEYS[3]) end
return 1`)

// DropDead removes a dead letter for good. [ErrNoDeadLetter] if it is gone.
func (c *Client) DropDead(ctx context.Context, group string, ref Ref) error {
	return c.removeDead(ctx, dropDead, ref, []string{c.keys.Dead(ref.Partition, group)})
}

// KEYS: dead letters. ARGV: ID.
var dropDead = newScript(`return redis.call('XDEL', KEYS[1], ARGV[1])`)

func (c *Client) removeDead(ctx context.Context, s script, ref Ref, keys []string, argv ...any) error {
	got, err := c.eval(ctx, s, s.call(keys, append([]any{ref.ID.String()}, argv...)...))
	if err != nil {
		return err
	}
	if got[0] != int64(1) {
		return fmt.Errorf("%w: %d/%v", ErrNoDeadLetter, ref.Partition, ref.ID)
	}
	return nil
}
