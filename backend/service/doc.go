// Package service is the application behind the namespaces board and workspace: what clients ask for, in JSON, over the streams. The
// requests and answers are docs/BOARDS.md, section 5.
//
//	client ──req board:ID──▶ gateway ──▶ worker ──▶ Service ──▶ store
//	clients ◀──msg board:ID── everyone who is subscribed ◀──── delta, after the commit
//
// Requests to change one board that came at once are committed in one transaction ([Service.Together]).
//
// It keeps nothing between two requests: any backend serves any board. What a handler publishes and answers is written together with the
// acknowledgement of its entry, after the commit of the store. If the backend dies between the two, the entry comes
// again: then all its mutations are known, and the others are told to look (a delta without rows).
//
// An error of the store fails the request (err 500): its client asks again, nothing is rejected by it.
package service

import (
	"fmt"
	"log/slog"
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
	CursorNamespace    = "cursor" // clients publish there themselves
)

// maxUser is the longest name of a user, in bytes.
const maxUser = 128

// maxPublished is the largest delta that is published as it is, in bytes. Instead of a larger one its subscribers are told to pull.
const maxPublished = 64 << 10

// maxPage is about the size of the answer to a pull, in bytes: well under what a gateway keeps for a connection.
const maxPage = 256 << 10

// maxRows is about the most rows of one such answer, whose bytes are not known before they are read.
const maxRows = 1000

// Config is what a Service is made of.
type Config struct {
	Store   store.Store
	Metrics *metrics.Set     // default: a set of its own
	Logger  *slog.Logger     // default: none
	Now     func() time.Time // the clock, default [time.Now]

	// Together is how many mutations of different requests are committed together at most; default 50, 1: each request by itself.
	Together int

	// Committed, if there is one, is told what each commit has brought about, as soon as it is durable. It must not block.
	Committed func([]board.Record)

	// Keep is how long what was deleted is kept, and conflicts; default [DefaultKeep].
	Keep time.Duration
}

// Service answers for boards.
type Service struct {
	store   store.Store
	now     func() time.Time
	log     *slog.Logger
	metrics *instruments
	most    int // mutations of several requests
	keep    time.Duration
	sweeper sweeper

	committed func([]board.Record)
}

// New is a Service over a store.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = metrics.NewSet()
	}
	if cfg.Together == 0 {
		cfg.Together = DefaultTogether
	}
	if cfg.Keep == 0 {
		cfg.Keep = DefaultKeep
	}
	return &Service{
		store: cfg.Store, now: cfg.Now, log: cfg.Logger, metrics: newInstruments(cfg.Metrics),
		most: cfg.Together, keep: cfg.Keep, sweeper: sweeper{every: sweepEvery}, committed: cfg.Committed,
	}
}

// Register has the worker's events of the namespaces handled here.
func (s *Service) Register(w *worker.Worker) {
	w.Handle(BoardNamespace, s.Board)
	if s.most > 1 {
		w.HandleBatch(BoardNamespace, s.most, s.Together)
	}
	w.Handle(WorkspaceNamespace, s.Workspace)
	w.Handle(CursorNamespace, s.Cursors)
}

type instruments struct {
	set       *metrics.Set
	mutations map[board.Status]*metrics.Counter
	commit    *metrics.Histogram // seconds of one call of the store
	group     *metrics.Histogram // mutations of one call
	requests  *metrics.Histogram // whose mutations they were
	skew      *metrics.Histogram // seconds that a mutation was meant before it came, negative: in the future

	divergedClient, divergedStore *metrics.Counter // must stay 0
	purged, sweepErrors           *metrics.Counter
}

func newInstruments(set *metrics.Set) *instruments {
	m := &instruments{
		set:       set,
		mutations: make(map[board.Status]*metrics.Counter),
		commit:    set.GetOrCreateHistogram("millrace_boards_commit_seconds"),
		group:     set.GetOrCreateHistogram("millrace_boards_commit_mutations"),
		requests:  set.GetOrCreateHistogram("millrace_boards_commit_requests"),
		skew:      set.GetOrCreateHistogram("millrace_boards_clock_skew_seconds"),

		purged:         set.GetOrCreateCounter("millrace_boards_purged_total"),
		sweepErrors:    set.GetOrCreateCounter("millrace_boards_sweep_errors_total"),
		divergedClient: set.GetOrCreateCounter(`millrace_boards_divergence_total{of="client"}`),
		divergedStore:  set.GetOrCreateCounter(`millrace_boards_divergence_total{of="store"}`),
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
