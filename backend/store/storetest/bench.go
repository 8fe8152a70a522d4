package storetest

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// Bench measures mutations that change a title: on one board or on many, one or 50 in a commit, by 8 writers. An iteration is a mutation.
func Bench(b *testing.B, open func(b *testing.B) store.Store) {
	b.Helper()
	for _, boards := range []int{1, 1000} {
		for _, group := range []int{1, 50} {
			b.Run(fmt.Sprintf("boards=%d/group=%d", boards, group), func(b *testing.B) {
				s := open(b)
				fill(b, s, boards)
				var client atomic.Int64
				start := time.Now()
				b.SetParallelism(4) // times GOMAXPROCS
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					c := client.Add(1)
					write(b, s, pb, c, boards, group)
				})
				b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "mutations/s")
			})
		}
	}
}

func fill(b *testing.B, s store.Store, boards int) {
	b.Helper()
	ctx := b.Context()
	if err := s.CreateWorkspace(ctx, "ann", "w", "W"); err != nil {
		b.Fatal(err)
	}
	for i := range boards {
		id := fmt.Sprintf("b%d", i)
		if _, err := s.CreateBoard(ctx, "ann", "w", id, id); err != nil {
			b.Fatal(err)
		}
		m := mutation("ann", "setup", 1, putColumn("todo"), putCard("c", "todo"))
		if _, err := s.Commit(ctx, id, []*board.Mutation{m}); err != nil {
			b.Fatal(err)
		}
	}
}

// write writes as one client, its boards in turn.
func write(b *testing.B, s store.Store, pb *testing.PB, client int64, boards, group int) {
	b.Helper()
	n := make(map[string]int64)
	for turn := int(client); ; turn++ {
		id := fmt.Sprintf("b%d", turn%boards)
		var batch []*board.Mutation
		for len(batch) < group && pb.Next() {
			n[id]++
			batch = append(batch, mutation("ann", fmt.Sprintf("c%d", client), n[id], setTitle("c", fmt.Sprint(n[id]))))
		}
		if len(batch) == 0 {
			return
		}
		if _, err := s.Commit(b.Context(), id, batch); err != nil {
			b.Error(err)
			return
		}
	}
}
