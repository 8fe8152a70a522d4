package redis

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"

	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
)

// epochGroup is a consumer group of each `out` stream, from which nobody reads. Its last-delivered ID is the stream's epoch
// and, behind the dash, the life of the server under which somebody last made sure that the stream had lost nothing. A group
// lives and dies with its stream (DEL, FLUSHALL), survives trimming, and is replicated and saved with it.
const epochGroup = "millrace-epoch"

// mark is what epochGroup says; zero when there is none.
type mark struct {
	epoch stream.Epoch
	run   uint64
}

func (m mark) id() string { return stream.ID{MS: uint64(m.epoch), Seq: m.run}.String() }

// Survey finds out in which epoch `out` streams are (INFO, XINFO GROUPS, and where the server has been another one since
// XINFO STREAM and XRANGE), and begins new epochs (XGROUP CREATE, XGROUP SETID):
//
//   - of a stream that has none: it is new, or was deleted;
//   - of a stream that lacks the newest entry a witness has seen: the server went back in time;
//   - of a stream that the witness does not know, and for which nobody vouches under the present life of the server.
//
// Several gateways that survey at the same time come to the same epoch, or notice at their next survey that they have not.
func (c *Client) Survey(ctx context.Context, witnesses []stream.Witness) ([]stream.Standing, error) {
	runs, err := c.runs(ctx, witnesses)
	if err != nil {
		return nil, err
	}
	out := make([]stream.Standing, len(witnesses))
	marks, infos, err := c.inspect(ctx, witnesses, runs)
	if err != nil {
		return nil, err
	}
	lost, err := c.lostSight(ctx, witnesses, infos)
	if err != nil {
		return nil, err
	}
	pipe := c.rdb.Pipeline()
	for i, w := range witnesses {
		key := c.keys.Out(w.Partition)
		now := mark{epoch: marks[i].epoch, run: runs(w.Partition)}
		switch {
		case marks[i] == mark{}:
			now.epoch = newEpoch()
			pipe.XGroupCreateMkStream(ctx, key, epochGroup, now.id())
		case w.Epoch != marks[i].epoch && marks[i].run != now.run, w.Epoch == marks[i].epoch && lost[i]:
			now.epoch = nextEpoch(marks[i].epoch, now.run)
			pipe.XGroupSetID(ctx, key, epochGroup, now.id())
		case marks[i].run != now.run: // vouched for
			pipe.XGroupSetID(ctx, key, epochGroup, now.id())
		}
		out[i] = stream.Standing{Epoch: now.epoch, Run: now.run, Last: infos[i].last, Whole: infos[i].whole}
	}
	if pipe.Len() == 0 {
		return out, nil
	}
	// Somebody was faster (BUSYGROUP), or the stream went away meanwhile: the next look sees how it is.
	if _, err := pipe.Exec(ctx); goredis.HasErrorPrefix(err, "BUSYGROUP") || goredis.HasErrorPrefix(err, "NOGROUP") || isNoKey(err) {
		return c.Survey(ctx, witnesses)
	} else if err != nil {
		return nil, err
	}
	return out, nil
}

// info is what XINFO STREAM says; zero where the stream is not there or was not asked for.
type info struct {
	asked bool
	last  stream.ID
	whole bool
}

// inspect asks for the marks of all, and more about those that the witness has not seen under this life of the server.
func (c *Client) inspect(ctx context.Context, witnesses []stream.Witness, runs func(int) uint64) ([]mark, []info, error) {
	pipe := c.rdb.Pipeline()
	groups := make([]*goredis.Cmd, len(witnesses))
	streams := make([]*goredis.Cmd, len(witnesses))
	for i, w := range witnesses {
		key := c.keys.Out(w.Partition)
		groups[i] = pipe.Do(ctx, "XINFO", "GROUPS", key)
		if w.Epoch == 0 || w.Run != runs(w.Partition) {
			streams[i] = pipe.Do(ctx, "XINFO", "STREAM", key)
		}
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	marks, infos := make([]mark, len(witnesses)), make([]info, len(witnesses))
	for i := range witnesses {
		reply, err := groups[i].Result()
		if err == nil {
			marks[i], err = parseMark(reply)
		}
		if err != nil && !isNoKey(err) {
			return nil, nil, err
		}
		if streams[i] == nil {
			continue
		}
		reply, err = streams[i].Result()
		if err == nil {
			infos[i], err = parseInfo(reply)
		}
		if err != nil && !isNoKey(err) {
			return nil, nil, err
		}
		infos[i].asked = true
	}
	return marks, infos, nil
}

// lostSight says which streams lack the newest entry that the witness has seen. One that was trimmed away counts as
// lacking, unless nothing came after it: nobody can tell then what else has gone.
func (c *Client) lostSight(ctx context.Context, witnesses []stream.Witness, infos []info) ([]bool, error) {
	lost := make([]bool, len(witnesses))
	var ranges []stream.Range
	var of []int
	for i, w := range witnesses {
		switch zero := (stream.ID{}); {
		case !infos[i].asked || w.Epoch == 0 || w.Last == zero || w.Last == infos[i].last:
		case infos[i].last.Before(w.Last):
			lost[i] = true
		default:
			ranges = append(ranges, stream.Range{Key: c.keys.Out(w.Partition), From: w.Last, To: w.Last, Count: 1})
			of = append(of, i)
		}
	}
	found, err := c.Ranges(ctx, ranges)
	if err != nil {
		return nil, err
	}
	for k, i := range of {
		lost[i] = len(found[k]) == 0
	}
	return lost, nil
}

// runs tells the lives of servers apart: for each partition a hash of the run ID of the server that has it. Where a server has
// no run ID it is 0, and failovers are not noticed. That a server of a Cluster does not answer is an error where a
// witness is of one of its partitions.
func (c *Client) runs(ctx context.Context, of []stream.Witness) (func(partition int) uint64, error) {
	servers, err := c.Servers(ctx)
	byPartition := make(map[int]uint64, c.partitions)
	for _, s := range servers {
		run := uint64(0)
		if s.RunID != "" {
			h := fnv.New64a()
			_, _ = h.Write([]byte(s.RunID))
			run = h.Sum64()
		}
		for _, p := range s.Partitions {
			byPartition[p] = run
		}
	}
	for _, w := range of {
		if _, known := byPartition[w.Partition]; !known && err != nil {
			return nil, err
		}
	}
	return func(p int) uint64 { return byPartition[p] }, nil
}

func newEpoch() stream.Epoch {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return max(1, stream.Epoch(binary.LittleEndian.Uint64(b[:]))&stream.MaxEpoch)
}

// nextEpoch is the same for all who see the same stream on the same server.
func nextEpoch(e stream.Epoch, run uint64) stream.Epoch {
	h := fnv.New64a()
	_, _ = h.Write(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(e)), run))
	return max(1, stream.Epoch(h.Sum64())&stream.MaxEpoch)
}

func isNoKey(err error) bool {
	if err == nil {
		return false
	}
	return goredis.HasErrorPrefix(err, "no such key") || goredis.HasErrorPrefix(err, "The XGROUP subcommand requires the key to exist")
}

// parseMark finds epochGroup in the answer of XINFO GROUPS: [[name, value, …], …].
func parseMark(reply any) (mark, error) {
	groups, ok := reply.([]any)
	if !ok {
		return mark{}, fmt.Errorf("%w: %T for a list of groups", errReply, reply)
	}
	for _, g := range groups {
		fields, err := parseFields(g)
		if err != nil {
			return mark{}, err
		}
		if fields["name"] != epochGroup {
			continue
		}
		text, _ := fields["last-delivered-id"].(string)
		id, err := stream.ParseID(text)
		if err != nil {
			return mark{}, fmt.Errorf("%w: last-delivered-id %q", errReply, text)
		}
		return mark{epoch: stream.Epoch(id.MS) & stream.MaxEpoch, run: id.Seq}, nil
	}
	return mark{}, nil
}

func parseInfo(reply any) (info, error) {
	fields, err := parseFields(reply)
	if err != nil {
		return info{}, err
	}
	out := info{}
	if text, _ := fields["last-generated-id"].(string); text != "" {
		if out.last, err = stream.ParseID(text); err != nil {
			return info{}, fmt.Errorf("%w: last-generated-id %q", errReply, text)
		}
	}
	added, known := fields["entries-added"].(int64) // from Redis 7.0 on
	length, _ := fields["length"].(int64)
	out.whole = known && added == length || out.last == stream.ID{}
	return out, nil
}

// parseFields reads [name, value, …].
func parseFields(reply any) (map[string]any, error) {
	list, ok := reply.([]any)
	if !ok || len(list)%2 != 0 {
		return nil, fmt.Errorf("%w: %T for names and values", errReply, reply)
	}
	out := make(map[string]any, len(list)/2)
	for i := 0; i < len(list); i += 2 {
		name, ok := list[i].(string)
		if !ok {
			return nil, fmt.Errorf("%w: %T for a name", errReply, list[i])
		}
		out[name] = list[i+1]
	}
	return out, nil
}

// Ranges reads parts of streams in one round trip (XRANGE, XREVRANGE). A stream that is not there has no entries.
func (c *Client) Ranges(ctx context.Context, ranges []stream.Range) ([][]stream.Entry, error) {
	if len(ranges) == 0 {
		return nil, nil
	}
	pipe := c.rdb.Pipeline()
	cmds := make([]*goredis.Cmd, len(ranges))
	for i, r := range ranges {
		from, to := r.From.String(), r.To.String()
		switch {
		case r.Newest && r.Open:
			cmds[i] = pipe.Do(ctx, "XREVRANGE", r.Key, "("+to, from, "COUNT", r.Count)
		case r.Newest:
			cmds[i] = pipe.Do(ctx, "XREVRANGE", r.Key, to, from, "COUNT", r.Count)
		case r.Open:
			cmds[i] = pipe.Do(ctx, "XRANGE", r.Key, "("+from, to, "COUNT", r.Count)
		default:
			cmds[i] = pipe.Do(ctx, "XRANGE", r.Key, from, to, "COUNT", r.Count)
		}
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, goredis.Nil) {
		return nil, err
	}
	out := make([][]stream.Entry, len(ranges))
	for i, cmd := range cmds {
		var err error
		if out[i], err = parseEntries(cmd.Val()); err != nil {
			return nil, err
		}
	}
	return out, nil
}
