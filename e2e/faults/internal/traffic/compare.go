package traffic

import (
	"context"
	"errors"
	"math"
	"strconv"

	"github.com/millracehq/millrace/e2e/faults/internal/check"
	"github.com/millracehq/millrace/e2e/faults/internal/resp"
	"github.com/millracehq/millrace/gateway/stream"
)

// final reads all that the streams still have.
func (t *Tail) final(ctx context.Context) error {
	defer t.hangUp()
	if err := t.connect(ctx); err != nil {
		return err
	}
	return t.compareAll(math.MaxUint64)
}

// compareAll compares what is known of the last so many milliseconds with what the streams have.
func (t *Tail) compareAll(back uint64) error {
	for i := range t.partitions {
		if err := t.compare(i, back); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.last)
	for _, entries := range t.entries {
		for _, e := range entries {
			if !e.Gone {
				t.last[e.Channel] = e.ID
			}
		}
	}
	return nil
}

func (t *Tail) compare(i int, back uint64) error {
	key := stream.Keys{}.Out(t.partitions[i])
	from := stream.ID{}
	if end := t.end(i); end.MS > back {
		from.MS = end.MS - back
	}
	oldest, err := t.oldest(key, t.end(i))
	if err != nil {
		return err
	}
	if from.Before(oldest) {
		from = oldest // what is older has been trimmed, and keeps its place in the record
	}
	now, err := t.rangeFrom(key, from)
	if err != nil {
		return err
	}
	t.entries[i] = merge(t.entries[i], now, from)
	return nil
}

// merge puts what a stream has, from an ID on, in the place of what is known of it. What it has no more is gone.
func merge(known, now []check.Entry, from stream.ID) []check.Entry {
	at := len(known)
	for at > 0 && !known[at-1].ID.Before(from) {
		at--
	}
	merged := append(make([]check.Entry, 0, len(known)+len(now)), known[:at]...)
	for _, k := range known[at:] {
		for len(now) > 0 && now[0].ID.Before(k.ID) {
			merged, now = append(merged, now[0]), now[1:]
		}
		k.Gone = true
		if len(now) > 0 && now[0].ID == k.ID {
			k, now = now[0], now[1:]
		}
		merged = append(merged, k)
	}
	return append(merged, now...)
}

// oldest is the ID from which a stream is complete. One that is empty is complete from its newest ID on if that reaches as far as
// what is known: then all was trimmed. Otherwise it was lost.
func (t *Tail) oldest(key string, known stream.ID) (stream.ID, error) {
	answer, err := t.conn.Do("XRANGE", key, "-", "+", "COUNT", "1")
	if err != nil {
		return stream.ID{}, err
	}
	if id, ok := firstID(answer); ok {
		return id, nil
	}
	info, err := t.conn.Do("XINFO", "STREAM", key)
	if _, missing := errors.AsType[resp.Error](err); missing {
		return stream.ID{}, nil
	}
	if err != nil {
		return stream.ID{}, err
	}
	text, _ := value(info, "last-generated-id").(string)
	id, err := stream.ParseID(text)
	if err != nil || id.Before(known) {
		return stream.ID{}, err
	}
	return stream.ID{MS: id.MS, Seq: id.Seq + 1}, nil
}

func firstID(answer any) (stream.ID, bool) {
	list, _ := answer.([]any)
	if len(list) == 0 {
		return stream.ID{}, false
	}
	pair, _ := list[0].([]any)
	if len(pair) == 0 {
		return stream.ID{}, false
	}
	text, _ := pair[0].(string)
	id, err := stream.ParseID(text)
	return id, err == nil
}

const page = 1000

func (t *Tail) rangeFrom(key string, from stream.ID) ([]check.Entry, error) {
	var all []check.Entry
	start := from.String()
	for {
		answer, err := t.conn.Do("XRANGE", key, start, "+", "COUNT", strconv.Itoa(page))
		if err != nil {
			return nil, err
		}
		all = append(all, t.parse(answer)...)
		list, _ := answer.([]any)
		if len(list) < page {
			return all, nil
		}
		last, _ := firstID(list[len(list)-1:])
		start = "(" + last.String()
	}
}
