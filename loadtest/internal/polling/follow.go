package polling

import (
	"context"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

// Source is where publications are read; [github.com/millracehq/millrace/gateway/stream/redis.Client] is one.
type Source interface {
	Keys() stream.Keys
	Partitions() int
	Tails(ctx context.Context, keys []string) ([]stream.ID, error)
	Read(ctx context.Context, cursors []stream.Cursor, count int, block time.Duration) ([]stream.Entries, error)
}

const (
	readCount = 1000        // entries of a partition at a time
	readBlock = time.Second // for which a read waits; it does not end with its context
)

// Follow enters all publications that come from now on, until ctx ends, which is no error. ready is called once nothing more can be missed.
func Follow(ctx context.Context, from Source, to *Board, ready func()) error {
	keys := make([]string, from.Partitions())
	for p := range keys {
		keys[p] = from.Keys().Out(p)
	}
	tails, err := from.Tails(ctx, keys)
	if err != nil {
		return err
	}
	cursors := make([]stream.Cursor, len(keys))
	at := make(map[string]*stream.Cursor, len(keys))
	for p, key := range keys {
		cursors[p] = stream.Cursor{Key: key, ID: tails[p]}
		at[key] = &cursors[p]
	}
	ready()
	for ctx.Err() == nil {
		news, err := from.Read(ctx, cursors, readCount, readBlock)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		for _, s := range news {
			for _, e := range s.Entries {
				if p, err := stream.DecodePublication(e.Fields); err == nil && p.Kind == stream.KindPub { // gateways pass over bad entries too
					to.Add(p.Channel, p.Data)
				}
				at[s.Key].ID = e.ID
			}
		}
	}
	return nil
}
