package memory

import (
	"context"
	"maps"
	"slices"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// Behind implements [store.Trail].
func (s *Store) Behind(_ context.Context, after string, limit int) (out []store.Behind, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(s.boards)) {
		t := s.boards[id]
		if id > after && t.head.Seq > t.marked && len(out) < limit {
			out = append(out, store.Behind{Board: id, Workspace: t.info.Workspace, Marked: t.marked, Seq: t.head.Seq})
		}
	}
	return out, nil
}

// Records implements [store.Trail].
func (s *Store) Records(_ context.Context, id string, after int64, limit int) (out []board.Record, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.boards[id]
	if t == nil {
		return nil, nil
	}
	for _, e := range t.log {
		if e.Result.Seq > after && len(e.Deeds) > 0 && len(out) < limit {
			out = append(out, board.Record{Board: id, Seq: e.Result.Seq, User: e.User, At: e.At, Deeds: e.Deeds})
		}
	}
	return out, nil
}

// Mark implements [store.Trail].
func (s *Store) Mark(_ context.Context, id string, seq int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.boards[id]; t != nil {
		t.marked = max(t.marked, seq)
	}
	return nil
}
