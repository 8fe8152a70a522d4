// Package storetest is what every [store.Store] must do: one suite, run on all of them.
package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// Open opens an empty store with a clock.
type Open func(t *testing.T, now func() time.Time) store.Store

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for name, f := range map[string]func(*testing.T, Open){
		"rights": testRights, "commit": testCommit, "rows": testRows, "ends": testEnds, "group": testGroup, "collect": testCollect,
		"history": testHistory, "search": testSearch, "concurrent": testConcurrent, "like memory": testLikeMemory, "trail": testTrail,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, open)
		})
	}
}

const ws, bd = "workspace", "board"

// newBoard is a store with a workspace of ann, the owner, bob, an editor, and eve, a viewer.
func newBoard(t *testing.T, open Open) store.Store {
	t.Helper()
	s := open(t, nil)
	ctx := t.Context()
	must(t, s.CreateWorkspace(ctx, "ann", ws, "W"))
	for user, role := range map[string]store.Role{"bob": store.Editor, "eve": store.Viewer} {
		_, err := s.SetMember(ctx, "ann", ws, store.Member{User: user, Role: role})
		must(t, err)
	}
	_, err := s.CreateBoard(ctx, "ann", ws, bd, "B")
	must(t, err)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func putColumn(id string) board.Op {
	return board.Op{Op: board.OpPut, Kind: board.KindColumn, ID: id, Values: map[string]board.Value{"title": board.Text(id)}}
}

func putCard(id, column string) board.Op {
	return board.Op{Op: board.OpPut, Kind: board.KindCard, ID: id, Lane: column, Values: map[string]board.Value{"title": board.Text(id)}}
}

func setTitle(id, title string) board.Op {
	v := board.Text(title)
	return board.Op{Op: board.OpSet, Kind: board.KindCard, ID: id, Group: "title", Value: &v}
}

func mutation(user, client string, n int64, ops ...board.Op) *board.Mutation {
	return &board.Mutation{Client: client, N: n, Schema: board.Schema, TS: n, User: user, Ops: ops}
}

// commit commits, and wants these ends.
func commit(t *testing.T, s store.Store, mutations []*board.Mutation, want ...string) board.Delta {
	t.Helper()
	d, err := s.Commit(t.Context(), bd, mutations)
	must(t, err)
	got := fmt.Sprint(ends(d))
	if got != fmt.Sprint(want) {
		t.Errorf("ends %s, want %s", got, want)
	}
	return d
}

func ends(d board.Delta) (out []string) {
	for _, r := range d.Results {
		end := string(r.Status)
		if r.Code != "" {
			end += " " + r.Code
		}
		out = append(out, end)
	}
	return out
}

func testRights(t *testing.T, open Open) {
	s, ctx := newBoard(t, open), t.Context()
	wantErr(t, "workspace twice", s.CreateWorkspace(ctx, "bob", ws, "W"), store.ErrExists)
	for user, want := range map[string]error{"ann": store.ErrExists, "bob": store.ErrExists, "eve": store.ErrDenied, "mallory": store.ErrNotFound} {
		_, err := s.CreateBoard(ctx, user, ws, bd, "B")
		wantErr(t, user+" makes the board again", err, want)
	}
	for user, want := range map[string]error{"ann": nil, "bob": store.ErrDenied, "eve": store.ErrDenied, "mallory": store.ErrNotFound} {
		_, err := s.SetMember(ctx, user, ws, store.Member{User: "new" + user, Role: store.Viewer})
		wantErr(t, user+" adds a member", err, want)
	}
	for user, want := range map[string]error{"bob": nil, "eve": nil, "mallory": store.ErrNotFound} {
		_, err := s.Members(ctx, user, ws)
		wantErr(t, user+" lists members", err, want)
		_, err = s.Board(ctx, user, bd)
		wantErr(t, user+" looks at the board", err, want)
		_, err = s.Pull(ctx, user, bd, store.Since{})
		wantErr(t, user+" pulls", err, want)
		_, err = s.Log(ctx, user, bd, 0, 10)
		wantErr(t, user+" reads the log", err, want)
		_, _, err = s.Rows(ctx, user, bd, []board.Key{{Kind: board.KindCard, ID: "c"}})
		wantErr(t, user+" reads rows", err, want)
	}
	for user, n := range map[string]int{"ann": 1, "eve": 1, "mallory": 0, "": 0} {
		boards, err := s.Boards(ctx, user)
		must(t, err)
		if len(boards) != n {
			t.Errorf("%q sees %v", user, boards)
		}
	}
	for user, want := range map[string]error{"eve": store.ErrDenied, "mallory": store.ErrNotFound} {
		_, err := s.Rename(ctx, user, bd, "X", 1)
		wantErr(t, user+" renames", err, want)
		_, err = s.Collect(ctx, user, bd, time.Now())
		wantErr(t, user+" collects", err, want)
	}
	b, err := s.Rename(ctx, "bob", bd, "New", 1)
	must(t, err)
	if b.Title != "New" || b.Version != 2 || b.Role != store.Editor {
		t.Errorf("renamed: %+v", b)
	}
	_, err = s.Rename(ctx, "ann", bd, "Old", 1)
	if e, ok := errors.AsType[*store.VersionError](err); !ok || e.Current.(store.Board).Title != "New" {
		t.Errorf("an old version: %v", err)
	}
	_, err = s.SetMember(ctx, "ann", ws, store.Member{User: "eve", Role: store.Editor})
	if e, ok := errors.AsType[*store.VersionError](err); !ok || e.Current != (store.Member{User: "eve", Role: store.Viewer, Version: 1}) {
		t.Errorf("an old version: %v", err)
	}
	_, err = s.SetMember(ctx, "ann", ws, store.Member{User: "ann", Role: store.Editor, Version: 1})
	wantErr(t, "the last owner goes", err, store.ErrLastOwner)
	_, err = s.SetMember(ctx, "ann", ws, store.Member{User: "eve", Role: store.None, Version: 1})
	must(t, err)
	_, err = s.Board(ctx, "eve", bd)
	wantErr(t, "eve has left", err, store.ErrNotFound)
}

func testCommit(t *testing.T, open Open) {
	s, ctx := newBoard(t, open), t.Context()
	d := commit(t, s, []*board.Mutation{
		mutation("ann", "a", 1, putColumn("todo"), putColumn("done")),
		mutation("ann", "a", 2, putCard("c", "todo")),
		mutation("ann", "a", 3, setTitle("nothing", "x")),
	}, "committed", "committed", "rejected unknown")
	if d.From != 0 || d.To != 2 || len(d.Rows) != 3 {
		t.Errorf("delta %+v", d)
	}
	table := d.Apply(board.NewTable())
	if board.FormatHash(table.Hash()) != d.Hash {
		t.Error("the delta does not lead to its hash")
	}
	m := mutation("bob", "b", 1, setTitle("c", "bob's"))
	m.TS = 100
	d2 := commit(t, s, []*board.Mutation{m}, "committed")
	if len(d2.Conflicts) != 1 || d2.Conflicts[0].Lost.Value != board.Text("c") {
		t.Errorf("conflicts %+v", d2.Conflicts)
	}
	if board.FormatHash(d2.Apply(table).Hash()) != d2.Hash {
		t.Error("the second delta does not lead to its hash")
	}
	pulled, err := s.Pull(ctx, "eve", bd, store.Since{})
	must(t, err)
	if !pulled.Reset || pulled.To != 3 || pulled.Hash != d2.Hash || len(pulled.Conflicts) != 1 || board.FormatHash(pulled.Apply(board.NewTable()).Hash()) != d2.Hash {
		t.Errorf("pulled %+v", pulled)
	}
	part, err := s.Pull(ctx, "ann", bd, store.Since{Seq: 2, Client: "a", N: 1})
	must(t, err)
	if part.Reset || len(part.Rows) != 1 || len(part.Results) != 2 || part.Results[1].Code != board.CodeUnknown {
		t.Errorf("pulled since 2: %+v", part)
	}
	other, err := s.Pull(ctx, "bob", bd, store.Since{Seq: 3, Client: "a"})
	must(t, err)
	if len(other.Results) != 0 {
		t.Errorf("bob gets ann's results: %+v", other.Results)
	}
	log, err := s.Log(ctx, "eve", bd, 0, 2)
	must(t, err)
	if len(log) != 2 || log[1].User != "ann" || log[1].Mutation.Ops[0].ID != "c" || log[1].Result.Seq != 2 {
		t.Errorf("log %+v", log)
	}
}

func testEnds(t *testing.T, open Open) {
	s := newBoard(t, open)
	commit(t, s, []*board.Mutation{
		mutation("ann", "a", 1, putColumn("todo")),
		mutation("mallory", "m", 1, putColumn("evil")),
		mutation("eve", "e", 1, putColumn("no")),
		mutation("ann", "a", 3, putColumn("early")),
		mutation("bob", "a", 2, putColumn("as ann's client")),
		mutation("ann", "a", 2),
		board.DecodeMutation([]byte("nonsense")),
	}, "committed", "rejected no_board", "rejected denied", "gap", "rejected denied", "rejected malformed", "rejected no_board")
	d := commit(t, s, []*board.Mutation{
		mutation("ann", "a", 1, putColumn("something else")), mutation("ann", "a", 2, putColumn("x")), mutation("eve", "e", 1, putColumn("y")),
		mutation("ann", "a", 3, putColumn("early")), mutation("ann", "a", 3, putColumn("early")),
	}, "committed", "rejected malformed", "rejected denied", "committed", "committed")
	if d.To != 2 || d.Results[0].Seq != 1 || d.Results[4].Seq != 2 {
		t.Errorf("repeated: %+v", d.Results)
	}
	strange, err := s.Commit(t.Context(), "nowhere", []*board.Mutation{mutation("ann", "z", 1, putColumn("x"))})
	must(t, err)
	if got := fmt.Sprint(ends(strange)); got != "[rejected no_board]" {
		t.Errorf("a board that is not there: %s", got)
	}
	d = commit(t, s, []*board.Mutation{mutation("ann", "a", 4, putCard("quote'\"\\", "todo")), mutation("ann", "a", 5, putCard("c", "todo"), setTitle("c", "ä '\"\\ 👍 <&>"))},
		"rejected malformed", "committed")
	pulled, err := s.Pull(t.Context(), "ann", bd, store.Since{})
	must(t, err)
	if pulled.Apply(board.NewTable()).Hash() != mustHash(t, d.Hash) {
		t.Error("what was stored is not what was committed")
	}
}

func mustHash(t *testing.T, s string) uint64 {
	t.Helper()
	h, err := board.ParseHash(s)
	must(t, err)
	return h
}

// testGroup: many mutations of several users in one transaction, of which some are refused.
func testGroup(t *testing.T, open Open) {
	s := newBoard(t, open)
	commit(t, s, []*board.Mutation{mutation("ann", "a", 1, putColumn("todo"))}, "committed")
	var group []*board.Mutation
	for i := range 100 {
		user := []string{"ann", "bob", "eve", "mallory"}[i%4]
		group = append(group, mutation(user, "of-"+user, int64(i/4+1), putCard(fmt.Sprintf("c%d", i), "todo")))
	}
	d, err := s.Commit(t.Context(), bd, group)
	must(t, err)
	if d.To != 51 || len(d.Results) != 100 {
		t.Errorf("%d results, now at %d", len(d.Results), d.To)
	}
	pulled, err := s.Pull(t.Context(), "eve", bd, store.Since{})
	must(t, err)
	if len(pulled.Rows) != 51 || pulled.Apply(board.NewTable()).Hash() != mustHash(t, d.Hash) {
		t.Errorf("%d rows", len(pulled.Rows))
	}
}

func testCollect(t *testing.T, open Open) {
	now := time.UnixMilli(1_700_000_000_000)
	s := newBoard(t, func(t *testing.T, _ func() time.Time) store.Store { return open(t, func() time.Time { return now }) })
	dead := board.Text(board.Deleted)
	commit(t, s, []*board.Mutation{
		mutation("ann", "a", 1, putColumn("todo"), putCard("c", "todo"), putCard("d", "todo"),
			board.Op{Op: board.OpMark, ID: "c", Set: "label", Element: "red", Present: true}),
		mutation("ann", "a", 2, board.Op{Op: board.OpLife, Kind: board.KindCard, ID: "c", Value: &dead}),
	}, "committed", "committed")
	d, err := s.Collect(t.Context(), "bob", bd, now.Add(-24*time.Hour))
	must(t, err)
	if d.Purged == nil {
		d, err = s.Collect(t.Context(), "bob", bd, now.Add(time.Hour))
		must(t, err)
	}
	if len(d.Purged) != 2 || d.To != 3 {
		t.Errorf("purged %+v", d)
	}
	pulled, err := s.Pull(t.Context(), "eve", bd, store.Since{Seq: 2})
	must(t, err)
	if !pulled.Reset || len(pulled.Rows) != 2 || pulled.Apply(board.NewTable()).Hash() != mustHash(t, d.Hash) {
		t.Errorf("after the purge: %+v", pulled)
	}
	commit(t, s, []*board.Mutation{mutation("ann", "a", 3, setTitle("c", "late"))}, "rejected gone")

	// Conflicts go by when they came about.
	conflicts := func(want int) {
		t.Helper()
		d, err := s.Pull(t.Context(), "eve", bd, store.Since{})
		must(t, err)
		if len(d.Conflicts) != want {
			t.Errorf("%d conflicts, want %d", len(d.Conflicts), want)
		}
	}
	commit(t, s, []*board.Mutation{mutation("bob", "b", 1, setTitle("d", "bob's"))}, "committed")
	now = now.Add(time.Hour)
	commit(t, s, []*board.Mutation{mutation("ann", "e", 1, setTitle("d", "ann's"))}, "committed")
	conflicts(2)
	for _, c := range []struct {
		before time.Time
		left   int
	}{{now.Add(-time.Hour), 2}, {now, 1}, {now.Add(1), 1}, {now.Add(time.Second), 0}} {
		_, err := s.Collect(t.Context(), "eve", bd, c.before)
		wantErr(t, "eve collects", err, store.ErrDenied)
		d, err := s.Collect(t.Context(), "bob", bd, c.before)
		must(t, err)
		if d.From != d.To {
			t.Errorf("collected before %v: %+v", c.before, d)
		}
		conflicts(c.left)
	}
}

// testConcurrent: many at once on one board, each sending everything twice.
func testConcurrent(t *testing.T, open Open) {
	s := newBoard(t, open)
	commit(t, s, []*board.Mutation{mutation("ann", "a", 1, putColumn("todo"))}, "committed")
	const writers, each = 6, 10
	var wait sync.WaitGroup
	errs := make(chan error, 2*writers*each)
	for w := range writers {
		for range 2 {
			wait.Go(func() {
				for n := range each {
					m := mutation([]string{"ann", "bob"}[w%2], fmt.Sprintf("w%d", w), int64(n+1), putCard(fmt.Sprintf("c%d-%d", w, n), "todo"))
					for { // the other sender of this client may be ahead or behind
						d, err := s.Commit(t.Context(), bd, []*board.Mutation{m})
						if err != nil {
							errs <- err
							return
						}
						if d.Results[0].Status != board.Gap {
							break
						}
					}
				}
			})
		}
	}
	wait.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	log, err := s.Log(t.Context(), "ann", bd, 0, 1000)
	must(t, err)
	if len(log) != writers*each+1 {
		t.Errorf("%d mutations in the log, want %d", len(log), writers*each+1)
	}
	for i, e := range log {
		if e.Result.Seq != int64(i)+1 || e.Result.Status != board.Committed {
			t.Errorf("entry %d: %+v", i, e.Result)
		}
	}
	pulled, err := s.Pull(t.Context(), "ann", bd, store.Since{})
	must(t, err)
	if pulled.Apply(board.NewTable()).Hash() != mustHash(t, pulled.Hash) {
		t.Error("the hash is not that of the rows")
	}
}
