package boardclient

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/replica"
)

func TestOutbox(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out box.db")
	file, err := OpenFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Outbox{"memory": new(Memory), "file": file} {
		mutation := func(n int64) *board.Mutation {
			return &board.Mutation{Client: "c", N: n, Schema: board.Schema, TS: n, User: "ann", Ops: []board.Op{{Op: board.OpMark, ID: "x", Set: "label", Element: "ä"}}}
		}
		s := replica.State{Board: "b", User: "ann", Client: "c", Next: 4, Pending: []*board.Mutation{mutation(1), mutation(2), mutation(3)}}
		save := func() {
			t.Helper()
			if err := o.Save(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			got, err := o.Load(t.Context(), "b", "ann")
			if err != nil || text(t, got) != text(t, s) {
				t.Errorf("%s: %v\n%s\n%s", name, err, text(t, got), text(t, s))
			}
		}
		save()
		s.Drawer = []replica.Refused{{Mutation: s.Pending[1], Result: board.Result{N: 2, Status: board.Rejected, Code: board.CodeGone}}}
		s.Pending = []*board.Mutation{s.Pending[0], s.Pending[2], mutation(4)}
		s.Next = 5
		save()
		s.Client, s.Next, s.Pending, s.Drawer = "d", 1, nil, nil
		save()
		if other, err := o.Load(t.Context(), "b", "bob"); err != nil || other.Client != "" {
			t.Errorf("%s: bob has %+v, %v", name, other, err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OpenFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if s, err := again.Load(t.Context(), "b", "ann"); err != nil || s.Client != "d" {
		t.Errorf("opened again: %+v, %v", s, err)
	}
}

func text(t *testing.T, s replica.State) string {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
