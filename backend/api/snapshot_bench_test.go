package api

import (
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store/sqlite"
	"github.com/millracehq/millrace/internal/auth"
)

// BenchmarkSnapshot is the snapshot of a board of 40 columns and 5,000 cards with a text of 420 bytes each, without a network.
func BenchmarkSnapshot(b *testing.B) {
	s, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "boards.db"), board.Rules{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := s.CreateWorkspace(b.Context(), "ann", "w", "W"); err != nil {
		b.Fatal(err)
	}
	if _, err := s.CreateBoard(b.Context(), "ann", "w", "b", "B"); err != nil {
		b.Fatal(err)
	}
	var all []board.Op
	for i := range 40 {
		all = append(all, board.Op{Op: board.OpPut, Kind: board.KindColumn, ID: fmt.Sprint("column-", i), Values: map[string]board.Value{"title": board.Text("Column")}})
	}
	body := board.Text(strings.Repeat("Some words about it. ", 20))
	for i := range 5000 {
		values := map[string]board.Value{"title": board.Text(fmt.Sprint("What is to be done, number ", i)), "prio": board.Integer(int64(i % 5)), board.GroupBody: body}
		all = append(all, board.Op{Op: board.OpPut, Kind: board.KindCard, ID: fmt.Sprint("card-", i), Lane: fmt.Sprint("column-", i%40), Values: values})
	}
	for n := int64(1); len(all) > 0; n++ {
		k := min(len(all), board.MaxOps)
		m := &board.Mutation{Client: "maker", N: n, Schema: board.Schema, TS: time.Now().UnixMicro(), User: "ann", Ops: all[:k]}
		if d, err := s.Commit(b.Context(), "b", []*board.Mutation{m}); err != nil || d.Results[0].Status != board.Committed {
			b.Fatal(d.Results, err)
		}
		all = all[k:]
	}
	key, err := auth.Secret([]byte(secret))
	if err != nil {
		b.Fatal(err)
	}
	demo := &Demo{Secret: []byte(secret)}
	api := New(Config{Store: s, Verifier: auth.NewVerifier(auth.Config{Keys: []*auth.Key{key}}), Demo: demo, Metrics: metrics.NewSet()})
	token, err := demo.Token("ann", time.Now().Add(time.Hour))
	if err != nil {
		b.Fatal(err)
	}
	for _, view := range []string{"whole", "heads"} {
		b.Run(view, func(b *testing.B) {
			size := 0
			for b.Loop() {
				r := httptest.NewRequestWithContext(b.Context(), "GET", "/v1/boards/b/snapshot?view="+view, nil)
				r.Header.Set("Authorization", "Bearer "+token)
				w := httptest.NewRecorder()
				api.ServeHTTP(w, r)
				if size = w.Body.Len(); w.Code != 200 || size < 100_000 {
					b.Fatal(w.Code, w.Body)
				}
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}
