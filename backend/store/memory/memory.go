// Package memory is a [store.Store] that forgets: for tests and the simulator. All of it is one lock.
package memory

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// Store is a store in memory.
type Store struct {
	// Immutable after New.
	rules board.Rules
	now   func() time.Time

	mu         sync.Mutex
	workspaces map[string]map[string]store.Member // Guarded by mu. Members by user, those who have left too.
	names      map[string]string                  // Guarded by mu. Of workspaces.
	boards     map[string]*table                  // Guarded by mu.
}

type table struct {
	board.Table
	info      store.Board
	head      board.Head
	log       []store.Entry
	clients   map[string]store.Client
	conflicts []board.Conflict
	marked    int64 // of the trail
}

// New is an empty Store. The zero Rules are the product's; now is the clock, default [time.Now].
func New(rules board.Rules, now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	return &Store{rules: rules, now: now, workspaces: make(map[string]map[string]store.Member), names: make(map[string]string), boards: make(map[string]*table)}
}

// Close implements [store.Store].
func (*Store) Close() error { return nil }

// CreateWorkspace implements [store.Store].
func (s *Store) CreateWorkspace(_ context.Context, user, id, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.workspaces[id]; ok {
		return store.ErrExists
	}
	s.names[id] = name
	s.workspaces[id] = map[string]store.Member{user: {User: user, Role: store.Owner, Version: 1}}
	return nil
}

func (s *Store) role(user, workspace string) store.Role { return s.workspaces[workspace][user].Role }

// SetMember implements [store.Store].
func (s *Store) SetMember(_ context.Context, user, workspace string, member store.Member) (store.Member, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.role(user, workspace) {
	case store.None:
		return store.Member{}, store.ErrNotFound
	case store.Owner:
	default:
		return store.Member{}, store.ErrDenied
	}
	members := s.workspaces[workspace]
	now := members[member.User]
	now.User = member.User
	if now.Version != member.Version {
		return store.Member{}, &store.VersionError{Current: now}
	}
	owners := 0
	for _, m := range members {
		if m.Role == store.Owner && m.User != member.User {
			owners++
		}
	}
	if owners == 0 && member.Role != store.Owner {
		return store.Member{}, store.ErrLastOwner
	}
	member.Version++
	members[member.User] = member
	return member, nil
}

// Members implements [store.Store].
func (s *Store) Members(_ context.Context, user, workspace string) ([]store.Member, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.role(user, workspace) == store.None {
		return nil, store.ErrNotFound
	}
	var out []store.Member
	for _, name := range slices.Sorted(maps.Keys(s.workspaces[workspace])) {
		if m := s.workspaces[workspace][name]; m.Role != store.None {
			out = append(out, m)
		}
	}
	return out, nil
}

// CreateBoard implements [store.Store].
func (s *Store) CreateBoard(_ context.Context, user, workspace, id, title string) (store.Board, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	role := s.role(user, workspace)
	switch {
	case role == store.None:
		return store.Board{}, store.ErrNotFound
	case !role.Edits():
		return store.Board{}, store.ErrDenied
	case s.boards[id] != nil:
		return store.Board{}, store.ErrExists
	}
	t := &table{Table: *board.NewTable(), info: store.Board{ID: id, Workspace: workspace, Title: title, Version: 1}, clients: make(map[string]store.Client)}
	s.boards[id] = t
	return s.view(t, user), nil
}

func (s *Store) view(t *table, user string) store.Board {
	b := t.info
	b.Seq, b.Hash, b.Role = t.head.Seq, board.FormatHash(t.head.Hash), s.role(user, b.Workspace)
	return b
}

// visible is a board for somebody who may see it.
func (s *Store) visible(user, id string) (*table, error) {
	t := s.boards[id]
	if t == nil || s.role(user, t.info.Workspace) == store.None {
		return nil, store.ErrNotFound
	}
	return t, nil
}

// Rename implements [store.Store].
func (s *Store) Rename(_ context.Context, user, id, title string, version int64) (store.Board, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.visible(user, id)
	switch {
	case err != nil:
		return store.Board{}, err
	case !s.role(user, t.info.Workspace).Edits():
		return store.Board{}, store.ErrDenied
	case t.info.Version != version:
		return store.Board{}, &store.VersionError{Current: s.view(t, user)}
	}
	t.info.Title = title
	t.info.Version++
	return s.view(t, user), nil
}

// Boards implements [store.Store].
func (s *Store) Boards(_ context.Context, user string) ([]store.Board, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []store.Board
	for id := range s.boards {
		if t, err := s.visible(user, id); err == nil {
			out = append(out, s.view(t, user))
		}
	}
	slices.SortFunc(out, func(a, b store.Board) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// Board implements [store.Store].
func (s *Store) Board(_ context.Context, user, id string) (store.Board, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.visible(user, id)
	if err != nil {
		return store.Board{}, err
	}
	return s.view(t, user), nil
}

// Commit implements [store.Store].
func (s *Store) Commit(_ context.Context, id string, mutations []*board.Mutation) (board.Delta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.boards[id]
	if t == nil {
		t = &table{Table: *board.NewTable()} // where nobody has a role
	}
	return store.Apply(&tx{s, t}, s.rules, id, mutations, s.now())
}

// Collect implements [store.Store].
func (s *Store) Collect(_ context.Context, user, id string, before time.Time) (board.Delta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.visible(user, id)
	if err != nil {
		return board.Delta{}, err
	}
	return store.Collect(&tx{s, t}, user, id, before, s.now())
}

// Pull implements [store.Store].
func (s *Store) Pull(_ context.Context, user, id string, since store.Since) (board.Delta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.visible(user, id)
	if err != nil {
		return board.Delta{}, err
	}
	d := store.PullDelta(id, t.head, since)
	for _, r := range t.All() {
		if r.Seq > d.From {
			d.Rows = append(d.Rows, r)
		}
	}
	slices.SortStableFunc(d.Rows, func(a, b *board.Row) int { return cmp.Compare(a.Seq, b.Seq) })
	last := int64(math.MaxInt64)
	if since.Limit > 0 && len(d.Rows) >= since.Limit {
		last = d.Rows[since.Limit-1].Seq
		d.Rows = slices.DeleteFunc(d.Rows, func(r *board.Row) bool { return r.Seq > last })
	}
	for _, c := range t.conflicts {
		if c.Seq > d.From {
			d.Conflicts = append(d.Conflicts, c)
		}
	}
	for _, e := range t.log {
		if e.Client == since.Client && e.User == user && e.N > since.N {
			d.Results = append(d.Results, board.ClientResult{Client: e.Client, Result: e.Result})
		}
	}
	store.Cut(&d, since, last)
	return d, nil
}

// Rows implements [store.Store].
func (s *Store) Rows(_ context.Context, user, id string, keys []board.Key) (rows []*board.Row, seq int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.visible(user, id)
	if err != nil {
		return nil, 0, err
	}
	for _, k := range keys {
		if r, _ := t.Row(k); r != nil {
			rows = append(rows, r)
		}
	}
	return rows, t.head.Seq, nil
}

// Log implements [store.Store].
func (s *Store) Log(_ context.Context, user, id string, after int64, limit int) ([]store.Logged, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.visible(user, id)
	if err != nil {
		return nil, err
	}
	var out []store.Logged
	for _, e := range t.log {
		if e.Result.Seq > after && len(out) < limit {
			out = append(out, e.Logged())
		}
	}
	return out, nil
}

// tx is the part of a Store that a transaction sees. Since Save is the last thing it does, it needs no way back.
type tx struct {
	s *Store
	*table
}

func (t *tx) Head() (board.Head, error) {
	h := t.head
	h.Workspace = t.info.Workspace
	return h, nil
}

func (t *tx) Role(user string) (store.Role, error) { return t.s.role(user, t.info.Workspace), nil }

func (t *tx) Prepare(store.Wanted) error { return nil }

func (t *tx) Client(id string) (store.Client, error) { return t.clients[id], nil }

func (t *tx) Before(at int64) (seq int64, err error) {
	for _, e := range t.log {
		if e.At < at {
			seq = max(seq, e.Result.Seq)
		}
	}
	return seq, nil
}

func (t *tx) All() ([]*board.Row, error) { return t.Table.All(), nil }

func (t *tx) Result(client string, n int64) (board.Result, error) {
	for _, e := range t.log {
		if e.Client == client && e.N == n {
			return e.Result, nil
		}
	}
	return board.Result{}, store.ErrNotFound
}

func (t *tx) Save(c *store.Changes) error {
	t.head = c.Head
	for _, r := range c.Rows {
		t.Put(r)
	}
	for _, k := range c.Purged {
		t.Delete(k)
	}
	t.conflicts = slices.DeleteFunc(t.conflicts, func(one board.Conflict) bool { return one.Seq <= c.Resolved })
	t.log = append(t.log, c.Log...)
	t.conflicts = append(t.conflicts, c.Conflicts...)
	maps.Copy(t.clients, c.Clients)
	return nil
}
