package memory

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// Workspaces implements [store.Store].
func (s *Store) Workspaces(_ context.Context, user string) (out []store.Workspace, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(s.workspaces)) {
		if r := s.role(user, id); r != store.None {
			out = append(out, store.Workspace{ID: id, Name: s.names[id], Role: r})
		}
	}
	return out, nil
}

// History implements [store.Store].
func (s *Store) History(_ context.Context, user, id string, row board.Key, before int64, limit int) ([]store.Logged, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.visible(user, id)
	if err != nil {
		return nil, 0, err
	}
	var may []store.Logged
	for _, e := range slices.Backward(t.log) {
		if seq := e.Result.Seq; seq > 0 && (before == 0 || seq < before) && len(may) < limit && strings.Contains(string(e.Body), store.Named(row)) {
			may = append(may, e.Logged())
		}
	}
	entries, next := store.AboutRow(may, row, limit)
	return entries, next, nil
}

// Conflicts implements [store.Store].
func (s *Store) Conflicts(_ context.Context, user, id string, behind store.Spot, limit int) (out []store.Lost, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.visible(user, id)
	if err != nil {
		return nil, err
	}
	for i, c := range t.conflicts {
		l := store.Lost{Conflict: c, Spot: store.Spot{Seq: c.Seq, I: int64(i)}}
		for _, e := range t.log {
			if e.Result.Seq == c.Seq {
				l.At = time.UnixMilli(e.At).UTC()
			}
			if e.Result.Seq == c.Kept.Seq {
				l.KeptBy = e.User
			}
			if e.Result.Seq == c.Lost.Seq {
				l.LostBy = e.User
			}
		}
		if a := l.Spot; behind.Seq == 0 || a.Seq < behind.Seq || a.Seq == behind.Seq && a.I > behind.I {
			out = append(out, l)
		}
	}
	slices.SortStableFunc(out, func(a, b store.Lost) int { return int(b.Seq - a.Seq) })
	return out[:min(limit, len(out))], nil
}

// Search implements [store.Store].
func (s *Store) Search(_ context.Context, user string, q store.Query) (out []store.Hit, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.boards {
		t, err := s.visible(user, id)
		if err != nil || q.Board != "" && q.Board != id || q.Workspace != "" && q.Workspace != t.info.Workspace {
			continue
		}
		for _, r := range t.All() {
			if h := store.NewHit(id, r); t.found(r, h.Card, q.Words) && (q.After == nil || q.After.Before(&h)) {
				out = append(out, h)
			}
		}
	}
	slices.SortFunc(out, func(a, b store.Hit) int {
		if a.Before(&b) {
			return -1
		}
		return 1
	})
	return out[:min(q.Limit, len(out))], nil
}

func (t *table) found(r *board.Row, card string, words []string) bool {
	about, err := t.Row(board.Key{Kind: board.KindCard, ID: card})
	if err != nil || about == nil || about.Life() == board.Deleted || r.Life() == board.Deleted || len(words) == 0 ||
		r.Kind != board.KindCard && r.Kind != board.KindItem && r.Kind != board.KindComment {
		return false
	}
	text := strings.Join([]string{r.Regs["title"].Value.Text(), r.Regs[board.GroupBody].Value.Text(), r.Regs["text"].Value.Text()}, " ")
	have := strings.FieldsFunc(text, func(c rune) bool { return len(store.Words(string(c))) == 0 })
	for _, w := range words {
		if !slices.ContainsFunc(have, func(h string) bool { return strings.HasPrefix(strings.ToLower(h), w) }) {
			return false
		}
	}
	return true
}
