package rewards_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/queue"
	"github.com/millracehq/millrace/backend/store/postgres"
)

// TestRedisFlushed: all of Redis is lost in the middle, and every event of a board comes home by the reconciler.
func TestRedisFlushed(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the reconciler")
	}
	b := newBed(t)
	boards, err := postgres.Open(t.Context(), b.url, board.Rules{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer boards.Close()
	ctx, cancel := context.WithCancel(context.Background())
	feeder := queue.NewFeeder(b.client, metrics.NewSet(), discard())
	fed := make(chan struct{})
	go func() { defer close(fed); feeder.Run(ctx) }()
	defer func() { cancel(); <-fed }()
	if err := boards.CreateWorkspace(t.Context(), "user0", "w", "W"); err != nil {
		t.Fatal(err)
	}
	if _, err := boards.CreateBoard(t.Context(), "user0", "w", "b", "B"); err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	var all []queue.Event
	commit := func(kind, lane, id string) {
		n++
		op := board.Op{Op: board.OpPut, Kind: kind, ID: id, Lane: lane, Values: map[string]board.Value{"title": board.Text(id)}}
		d, err := boards.Commit(t.Context(), "b", []*board.Mutation{{Client: "c", N: n, Schema: board.Schema, TS: n, User: "user0", Ops: []board.Op{op}}})
		if err != nil {
			t.Fatal(err)
		}
		feeder.Committed(d.Records)
		for i := range d.Records {
			all = append(all, queue.BoardEvents(&d.Records[i])...)
		}
	}
	commit(board.KindColumn, "", "todo")
	const cards = 300
	for i := range cards {
		commit(board.KindCard, "todo", fmt.Sprint("c", i))
		if i == cards/2 {
			b.redis.CLI("FLUSHALL") // nobody counts yet: half of it is gone
		}
	}
	b.start(1, "--reconcile-every", "1s")
	counted := b.counter()
	ids := make([]string, len(all))
	for i := range all {
		ids[i] = all[i].ID
	}
	if len(ids) != cards {
		t.Fatalf("%d events, want %d", len(ids), cards)
	}
	b.try("every event is counted", func(ctx context.Context) error {
		known, err := counted.Known(ctx, ids)
		for i, ok := range known {
			if !ok && err == nil {
				err = fmt.Errorf("%s is not", ids[i])
			}
		}
		return err
	})
	b.try("the board's mark is at its end", func(ctx context.Context) error {
		behind, err := boards.Behind(ctx, "", 1)
		if err == nil && len(behind) > 0 {
			err = fmt.Errorf("%+v", behind[0])
		}
		return err
	})
}
