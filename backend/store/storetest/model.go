package storetest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/backend/store/memory"
)

// testLikeMemory does the same random things, by random users, on organisations that come about on the way, to this store and to
// one in memory whose rights can be read in a minute: all answers are equal, and nobody gets a text of a workspace
// that they are not in.
func testLikeMemory(t *testing.T, open Open) {
	steps := 600
	if testing.Short() {
		steps = 200
	}
	now := time.UnixMilli(1_700_000_000_000)
	clock := func() time.Time { return now }
	m := &model{t: t, r: rand.New(rand.NewPCG(7, 7)), real: open(t, clock), oracle: memory.New(board.Rules{}, clock), n: make(map[string]int64)}
	for range steps {
		now = now.Add(time.Second)
		m.step()
	}
	for _, user := range m.users() {
		for _, b := range m.boardIDs() {
			m.both("pull", func(ctx context.Context, s store.Store) (any, error) { return pull(ctx, s, user, b, store.Since{}) })
		}
		m.both("boards", func(ctx context.Context, s store.Store) (any, error) { return s.Boards(ctx, user) })
		m.both("workspaces", func(ctx context.Context, s store.Store) (any, error) { return s.Workspaces(ctx, user) })
		m.both("search", func(ctx context.Context, s store.Store) (any, error) {
			return search(ctx, s, user, store.Query{Words: []string{"secret"}}, 3)
		})
	}
	t.Logf("%d answers equal, of which %d were errors", m.equal, m.errors)
	if m.errors == 0 || m.errors == m.equal {
		t.Error("the test has not seen both answers and errors")
	}
}

type model struct {
	t             *testing.T
	r             *rand.Rand
	real, oracle  store.Store
	n             map[string]int64
	equal, errors int
}

func (m *model) users() []string { return []string{"u0", "u1", "u2", "u3", "u4"} }

func (m *model) boardIDs() []string {
	return []string{"w0-b0", "w0-b1", "w1-b0", "w1-b1", "w2-b0", "w2-b1"}
}

func (m *model) pick(s []string) string { return s[m.r.IntN(len(s))] }

func (m *model) step() {
	user, other, id := m.pick(m.users()), m.pick(m.users()), m.pick(m.boardIDs())
	workspace := id[:2]
	switch m.r.IntN(20) {
	case 0:
		m.both("workspace", func(ctx context.Context, s store.Store) (any, error) {
			return nil, s.CreateWorkspace(ctx, user, workspace, "W")
		})
	case 1:
		m.both("create", func(ctx context.Context, s store.Store) (any, error) {
			return s.CreateBoard(ctx, user, workspace, id, "B of "+workspace)
		})
	case 2, 3:
		member := store.Member{User: other, Role: []store.Role{store.Owner, store.Editor, store.Viewer, store.None}[m.r.IntN(4)], Version: m.version(workspace, other)}
		m.both("member", func(ctx context.Context, s store.Store) (any, error) {
			return s.SetMember(ctx, user, workspace, member)
		})
	case 4:
		version := 1 + m.r.Int64N(3)
		m.both("rename", func(ctx context.Context, s store.Store) (any, error) {
			return s.Rename(ctx, user, id, "renamed", version)
		})
	case 5:
		m.both("members", func(ctx context.Context, s store.Store) (any, error) { return s.Members(ctx, user, workspace) })
	case 6:
		before := time.UnixMilli(1_700_000_000_000 + m.r.Int64N(600_000))
		m.both("collect", func(ctx context.Context, s store.Store) (any, error) { return s.Collect(ctx, user, id, before) })
	case 7:
		since := store.Since{Seq: m.r.Int64N(20), Client: user + "-c", N: m.r.Int64N(5), Limit: m.r.IntN(6)}
		m.both("pull", func(ctx context.Context, s store.Store) (any, error) { return pull(ctx, s, user, id, since) })
	case 8:
		m.both("log", func(ctx context.Context, s store.Store) (any, error) { return logOf(ctx, s, user, id) })
	case 9:
		m.both("board", func(ctx context.Context, s store.Store) (any, error) { return s.Board(ctx, user, id) })
	case 10:
		row := board.Key{Kind: m.pick([]string{board.KindCard, board.KindColumn}), ID: m.pick([]string{"card0", "card1", "col0"})}
		m.both("history", func(ctx context.Context, s store.Store) (any, error) { return history(ctx, s, user, id, row, 5) })
	case 11:
		m.both("conflicts", func(ctx context.Context, s store.Store) (any, error) { return conflicts(ctx, s, user, id, 3) })
	case 12:
		q := store.Query{Words: store.Words(m.pick([]string{"secret", "secret w1", "of w0", "car", "1"})), Workspace: m.pick([]string{"", "", workspace})}
		m.both("search", func(ctx context.Context, s store.Store) (any, error) { return search(ctx, s, user, q, 7) })
	case 13:
		keys := []board.Key{{Kind: board.KindCard, ID: m.pick([]string{"card0", "card1"})}, {Kind: board.KindColumn, ID: "col0"}, {Kind: board.KindCard, ID: "card4"}}
		m.both("rows", func(ctx context.Context, s store.Store) (any, error) {
			rows, seq, err := s.Rows(ctx, user, id, keys)
			return []any{rows, seq}, err
		})
	default:
		m.commit(user, other, id)
	}
}

// version is what the oracle has, most of the time.
func (m *model) version(workspace, user string) int64 {
	for _, owner := range m.users() {
		members, err := m.oracle.Members(m.t.Context(), owner, workspace)
		if err != nil {
			continue
		}
		for _, one := range members {
			if one.User == user {
				return one.Version
			}
		}
	}
	return m.r.Int64N(3)
}

func (m *model) commit(user, other, id string) {
	var group []*board.Mutation
	for range 1 + m.r.IntN(4) {
		who := m.pick([]string{user, user, other})
		client := who + "-c"
		n := m.n[id+client] + 1 - m.r.Int64N(20)/19 // sometimes one again
		mu := mutation(who, client, max(1, n), m.op(id[:2]))
		mu.Base, mu.TS = m.r.Int64N(3), 1_700_000_000_000_000+m.r.Int64N(600_000_000)
		group = append(group, mu)
		m.n[id+client] = max(m.n[id+client], n)
	}
	m.both("commit", func(ctx context.Context, s store.Store) (any, error) {
		copies := make([]*board.Mutation, len(group))
		for i, one := range group {
			copied := *one
			copies[i] = &copied
		}
		d, err := s.Commit(ctx, id, copies)
		return normal(d), err
	})
	// A stranger's mutation is not remembered: it may come again under its number.
	for _, one := range group {
		if b, err := m.oracle.Pull(m.t.Context(), one.User, id, store.Since{Client: one.Client}); err == nil {
			m.n[id+one.Client] = int64(len(b.Results))
		} else {
			m.n[id+one.Client] = 0
		}
	}
}

func (m *model) op(workspace string) board.Op {
	column, card := fmt.Sprintf("col%d", m.r.IntN(2)), fmt.Sprintf("card%d", m.r.IntN(5))
	switch m.r.IntN(8) {
	case 0, 1:
		return putColumn(column)
	case 2, 3:
		return putCard(card, column)
	case 4:
		return board.Op{Op: board.OpMove, Kind: board.KindCard, ID: card, Lane: column, After: fmt.Sprintf("card%d", m.r.IntN(5))}
	case 5:
		dead := board.Text(board.Deleted)
		return board.Op{Op: board.OpLife, Kind: board.KindCard, ID: card, Value: &dead}
	case 6:
		return board.Op{Op: board.OpColumnDelete, ID: column, Into: fmt.Sprintf("col%d", m.r.IntN(2))}
	default:
		return setTitle(card, fmt.Sprintf("secret of %s, %d", workspace, m.r.IntN(1000)))
	}
}

// both does the same to both stores, and wants the same answer.
func (m *model) both(what string, f func(context.Context, store.Store) (any, error)) {
	m.t.Helper()
	got, gotErr := f(m.t.Context(), m.real)
	want, wantErr := f(m.t.Context(), m.oracle)
	if a, b := text(got, gotErr), text(want, wantErr); a != b {
		m.t.Fatalf("%s: got\n%s\nand from memory\n%s", what, a, b)
	}
	m.equal++
	if gotErr != nil {
		m.errors++
	}
}

func text(v any, err error) string {
	if e, ok := errors.AsType[*store.VersionError](err); ok {
		return "version: " + text(e.Current, nil)
	}
	if err != nil {
		for _, known := range []error{store.ErrNotFound, store.ErrDenied, store.ErrExists, store.ErrLastOwner} {
			if errors.Is(err, known) {
				return known.Error()
			}
		}
		return err.Error()
	}
	b, err := json.Marshal(v)
	if string(b) == "[]" {
		b = []byte("null") // an empty list
	}
	return fmt.Sprint(string(b), err)
}

func pull(ctx context.Context, s store.Store, user, id string, since store.Since) (any, error) {
	d, err := s.Pull(ctx, user, id, since)
	return normal(d), err
}

func logOf(ctx context.Context, s store.Store, user, id string) (any, error) {
	log, err := s.Log(ctx, user, id, 0, 1000)
	return log, err
}

// normal is a delta in an order that does not depend on the store.
func normal(d board.Delta) board.Delta {
	slices.SortFunc(d.Rows, func(a, b *board.Row) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) })
	return d
}
