// Package service is the application behind the namespaces board and workspace: what clients ask for, in JSON, over the streams. The
// requests and answers are docs/BOARDS.md, section 5.
//
//	client ──req board:ID──▶ gateway ──▶ worker ──▶ Service ──▶ store
//	clients ◀──msg board:ID── everyone who is subscribed ◀──── delta, after the commit
//
// It keeps nothing between two requests: any backend serves any board. What a handler publishes and answers is written together with the
// acknowledgement of its entry, after the commit of the store. If the backend dies between the two, the entry comes
// again: then all its mutations are known, and the others are told to look (a delta without rows).
//
// An error of the store fails the request (err 500): its client asks again, nothing is rejected by it.
package service

import (
	"fmt"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/backend/worker"
)

// Namespaces of channels.
const (
	BoardNamespace     = "board"
	WorkspaceNamespace = "workspace"
)

// maxPublished is the largest delta that is published as it is, in bytes. Instead of a larger one its subscribers are told to pull.
const maxPublished = 64 << 10

// maxPage is about the size of the answer to a pull, in bytes: well under what a gateway keeps for a connection.
const maxPage = 256 << 10

// Service answers for boards.
type Service struct {
	store     store.Store
	now       func() time.Time
	metrics   *instruments
	committed func([]board.Record)
}

// New is a Service over a store. now is the clock, default [time.Now].
func New(s store.Store, set *metrics.Set, now func() time.Time) *Service {
	if now == nil {
		now = time.Now
	}
	return &Service{store: s, now: now, metrics: newInstruments(set)}
}

// OnCommitted has f told what each commit has brought about, as soon as it is durable. f must not block. It is called before Run, once.
func (s *Service) OnCommitted(f func([]board.Record)) { s.committed = f }

// Register has the worker's events of both namespaces handled here.
func (s *Service) Register(w *worker.Worker) {
	w.Handle(BoardNamespace, s.Board)
	w.Handle(WorkspaceNamespace, s.Workspace)
}

type instruments struct {
	set       *metrics.Set
	mutations map[board.Status]*metrics.Counter
	commit    *metrics.Histogram // seconds of one call of the store
	group     *metrics.Histogram // mutations of one call
	skew      *metrics.Histogram // seconds that a mutation was meant before it came, negative: in the future
}

func newInstruments(set *metrics.Set) *instruments {
	m := &instruments{
		set:       set,
		mutations: make(map[board.Status]*metrics.Counter),
		commit:    set.GetOrCreateHistogram("millrace_boards_commit_seconds"),
		group:     set.GetOrCreateHistogram("millrace_boards_commit_mutations"),
		skew:      set.GetOrCreateHistogram("millrace_boards_clock_skew_seconds"),
	}
	for _, status := range []board.Status{board.Committed, board.Merged, board.Redirected, board.Superseded, board.Rejected, board.Gap} {
		m.mutations[status] = set.GetOrCreateCounter(fmt.Sprintf("millrace_boards_mutations_total{result=%q}", status))
	}
	return m
}

// conflict counts by the group of the register; groups are few.
func (m *instruments) conflict(group string) {
	m.set.GetOrCreateCounter(fmt.Sprintf("millrace_boards_conflicts_total{field=%q}", group)).Inc()
}
