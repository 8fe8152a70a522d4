package traffic

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/millracehq/millrace/e2e/faults/internal/check"
	"github.com/millracehq/millrace/e2e/faults/internal/resp"
	"github.com/millracehq/millrace/gateway/stream"
)

const (
	pollEvery = 200 * time.Millisecond
	lookBack  = 2 * 60 * 1000 // ms: what a server may have lost when it comes back; longer than any fault
)

// Tail reads the `out` streams from the server that is the master, past all links, and notices what a stream loses.
//
// Whenever the server is another one than at the last look, by its address, its run or its replication ID, the last two minutes are
// read again and compared: entries that are not there any more are gone. At the end everything is.
type Tail struct {
	// Immutable after newTail.
	t           *Traffic
	partitionOf []int // by channel: index in entries
	partitions  []int // by index in entries: the partition

	// Owned by run, and by others after it.
	conn     *resp.Conn
	addr     string
	identity string // of the server that was read last
	entries  [][]check.Entry

	// Guarded by mu.
	mu   sync.Mutex
	last []stream.ID // by channel: its newest entry
}

func newTail(t *Traffic) *Tail {
	tail := &Tail{t: t, last: make([]stream.ID, len(t.channels))}
	index := map[int]int{}
	for _, c := range t.channels {
		p := stream.Partition(c.name, stream.DefaultPartitions)
		if _, ok := index[p]; !ok {
			index[p] = len(tail.partitions)
			tail.partitions = append(tail.partitions, p)
		}
		tail.partitionOf = append(tail.partitionOf, index[p])
	}
	tail.entries = make([][]check.Entry, len(tail.partitions))
	return tail
}

// newest are the newest entries by channel.
func (t *Tail) newest() []stream.ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]stream.ID(nil), t.last...)
}

func (t *Tail) run(ctx context.Context) {
	defer t.hangUp()
	for pause(ctx, pollEvery) {
		if err := t.poll(ctx); err != nil { // Redis is what faults are for: the next look will tell
			t.hangUp()
		}
	}
}

func (t *Tail) hangUp() {
	if t.conn != nil {
		t.conn.Close()
		t.conn = nil
	}
}

// poll reads what is new.
func (t *Tail) poll(ctx context.Context) error {
	if err := t.connect(ctx); err != nil {
		return err
	}
	return t.read()
}

var errNotMaster = errors.New("not the master")

// connect sees to a connection to the master, and compares when that is not the one of the last look.
func (t *Tail) connect(ctx context.Context) error {
	addr, err := t.t.cfg.Master(ctx)
	if err != nil {
		return err
	}
	if t.conn != nil && t.addr != addr {
		t.hangUp()
	}
	if t.conn == nil {
		if t.conn, err = resp.Dial(ctx, addr); err != nil {
			return err
		}
		t.addr = addr
	}
	info, err := t.conn.Do("INFO")
	if err != nil {
		return err
	}
	text, _ := info.(string)
	if field(text, "role") != "master" || field(text, "loading") != "0" {
		return errNotMaster
	}
	identity := addr + " " + field(text, "run_id") + " " + field(text, "master_replid")
	if identity == t.identity {
		return nil
	}
	if err := t.compareAll(lookBack); err != nil {
		return err
	}
	t.identity = identity
	return nil
}

func field(info, name string) string {
	_, rest, _ := strings.Cut(info, "\n"+name+":")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

// read takes what came since the last look, from all partitions in one command.
func (t *Tail) read() error {
	args := []string{"XREAD", "COUNT", "5000", "STREAMS"}
	for _, p := range t.partitions {
		args = append(args, stream.Keys{}.Out(p))
	}
	for i := range t.partitions {
		args = append(args, t.end(i).String())
	}
	answer, err := t.conn.Do(args...)
	if err != nil {
		return err
	}
	list, _ := answer.([]any)
	for _, item := range list {
		pair, ok := item.([]any)
		if !ok || len(pair) != 2 {
			return resp.ErrAnswer
		}
		for i, p := range t.partitions {
			if pair[0] == (stream.Keys{}).Out(p) {
				t.append(i, t.parse(pair[1]))
			}
		}
	}
	return nil
}

// end is the newest entry of a partition.
func (t *Tail) end(i int) stream.ID {
	if n := len(t.entries[i]); n > 0 {
		return t.entries[i][n-1].ID
	}
	return stream.ID{}
}

func (t *Tail) append(i int, entries []check.Entry) {
	t.entries[i] = append(t.entries[i], entries...)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range entries {
		t.last[e.Channel] = e.ID
	}
}

// parse reads entries. What is not of our channels is passed over.
func (t *Tail) parse(answer any) []check.Entry {
	list, _ := answer.([]any)
	entries := make([]check.Entry, 0, len(list))
	for _, item := range list {
		pair, ok := item.([]any)
		if !ok || len(pair) != 2 {
			continue
		}
		text, _ := pair[0].(string)
		values, _ := pair[1].([]any)
		fields := make([]string, len(values))
		for i := range values {
			fields[i], _ = values[i].(string)
		}
		id, err := stream.ParseID(text)
		p, err2 := stream.DecodePublication(fields)
		c, ours := t.t.byName[p.Channel]
		if err != nil || err2 != nil || !ours || p.Kind != stream.KindPub {
			continue
		}
		e := check.Entry{ID: id, Channel: uint32(c)}
		if from, n, ok := parseBody(p.Data); ok && from == c {
			e.N = n
		}
		entries = append(entries, e)
	}
	return entries
}

// idle says what the backends have still to do.
func (t *Tail) idle(ctx context.Context) error {
	addr, err := t.t.cfg.Master(ctx)
	if err != nil {
		return err
	}
	c, err := resp.Dial(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, p := range t.partitions {
		key := stream.Keys{}.In(p)
		info, err := c.Do("XINFO", "STREAM", key)
		if _, missing := errors.AsType[resp.Error](err); missing {
			continue // no channel behind the backends is in this partition
		}
		if err != nil {
			return err
		}
		groups, err := c.Do("XINFO", "GROUPS", key)
		if err != nil {
			return err
		}
		list, _ := groups.([]any)
		for _, g := range list {
			if pending, _ := value(g, "pending").(int64); pending > 0 {
				return fmt.Errorf("%s: %d entries are pending", key, pending)
			}
			if value(g, "last-delivered-id") != value(info, "last-generated-id") {
				return fmt.Errorf("%s: entries wait for a backend", key)
			}
		}
	}
	return nil
}

// value is one of a flat list of names and values.
func value(list any, name string) any {
	flat, _ := list.([]any)
	for i := 0; i+1 < len(flat); i += 2 {
		if flat[i] == name {
			return flat[i+1]
		}
	}
	return nil
}
