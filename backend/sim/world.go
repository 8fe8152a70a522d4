package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/replica"
	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/backend/store/memory"
)

const (
	boardID   = "board"
	workspace = "workspace"
	owner     = "owner"
	dayMS     = 24 * 60 * 60 * 1000
)

// world is a run.
type world struct {
	cfg     Config
	r       *rand.Rand
	now     int64 // unix ms, the true time
	store   *memory.Store
	clients []*client
	history *history
	counts  Counts
	tokens  int
	healed  bool
}

// client is a replica and its surroundings.
type client struct {
	user    string
	copy    *replica.Replica
	saved   replica.State
	names   int   // clients that this one has been
	skew    int64 // ms
	toCut   bool  // nothing reaches the server
	fromCut bool  // nothing comes from the server
	heads   bool  // pulls without bodies, and fetches them
	to      []request
	from    []answer
}

// answer is a message from the server, in answer to a request or published: one of the two.
type answer struct {
	delta  *board.Delta
	bodies *board.Bodies
}

// request is a message to the server.
type request struct {
	mutations []*board.Mutation
	pull      *store.Since
	bodies    []board.Key
}

func newWorld(cfg Config) *world {
	if cfg.Clients == 0 {
		cfg.Clients = 4
	}
	if cfg.Steps == 0 {
		cfg.Steps = 300
	}
	w := &world{cfg: cfg, r: rand.New(rand.NewPCG(cfg.Seed, 2026)), now: 1_700_000_000_000}
	rules := cfg.Fault.Rules
	if rules.RekeyOver == 0 {
		rules.RekeyOver = 8
	}
	w.store = memory.New(rules, func() time.Time { return time.UnixMilli(w.now) })
	w.history = newHistory()
	w.must(w.store.CreateWorkspace(context.Background(), owner, workspace, "w"))
	_, err := w.store.CreateBoard(context.Background(), owner, workspace, boardID, "b")
	w.must(err)
	for i := range cfg.Clients {
		c := &client{user: fmt.Sprintf("user%d", i), heads: i%2 == 1}
		w.setRole(c.user, store.Editor)
		if w.has(Skew) {
			c.skew = w.r.Int64N(2*dayMS) - dayMS
		}
		c.saved = replica.State{Board: boardID, User: c.user, Client: w.name(c)}
		c.copy = replica.New(c.saved, board.Rules{Between: w.cfg.Fault.Rules.Between})
		w.clients = append(w.clients, c)
	}
	return w
}

func (w *world) has(t Trouble) bool { return !w.healed && w.cfg.Without&t == 0 }

// must is for what cannot fail in memory.
func (w *world) must(err error) {
	if err != nil {
		panic(fmt.Sprintf("BUG: seed %d: %v", w.cfg.Seed, err))
	}
}

func (w *world) name(c *client) string {
	c.names++
	return fmt.Sprintf("%s-%d", c.user, c.names)
}

func (w *world) chance(percent int) bool { return w.r.IntN(100) < percent }

func (w *world) setRole(user string, role store.Role) {
	var version int64
	_, err := w.store.SetMember(context.Background(), owner, workspace, store.Member{User: user, Role: role, Version: version})
	if e, ok := err.(*store.VersionError); ok { //nolint:errorlint // not wrapped
		version = e.Current.(store.Member).Version
		_, err = w.store.SetMember(context.Background(), owner, workspace, store.Member{User: user, Role: role, Version: version})
	}
	w.must(err)
}

// step does one thing.
func (w *world) step() {
	w.counts.Steps++
	w.now += w.r.Int64N(2000)
	c := w.clients[w.r.IntN(len(w.clients))]
	switch n := w.r.IntN(100); {
	case n < 30:
		w.edit(c)
	case n < 45:
		w.send(c)
	case n < 65:
		w.deliverTo(c)
	case n < 85:
		w.deliverFrom(c)
	case n < 90:
		w.askPull(c, c.copy.Seq())
	case n < 91:
		w.askBodies(c, w.chance(30))
	default:
		w.trouble(c)
	}
}

func (w *world) trouble(c *client) {
	switch kind := Trouble(1) << w.r.IntN(len(troubleNames)); {
	case !w.has(kind):
	case kind == Links:
		w.counts.Cuts++
		switch w.r.IntN(4) {
		case 0:
			c.toCut = !c.toCut
		case 1:
			c.fromCut = !c.fromCut
		case 2:
			c.toCut, c.fromCut = true, true
			w.now += w.r.Int64N(dayMS) // a long time without a network
		default:
			c.toCut, c.fromCut = false, false
		}
	case kind == Crashes:
		w.counts.ClientCrashes++
		c.copy = replica.New(c.saved, board.Rules{Between: w.cfg.Fault.Rules.Between})
		c.from = nil
	case kind == Skew:
		c.skew = w.r.Int64N(2*dayMS) - dayMS
	case kind == Purges:
		d, err := w.store.Collect(context.Background(), owner, boardID, time.UnixMilli(w.now-w.r.Int64N(1000_000)))
		w.must(err)
		if len(d.Purged) > 0 {
			w.counts.Purged += len(d.Purged)
			w.history.purge(&d)
			w.publish(&d)
		}
	case kind == Rights:
		role := []store.Role{store.None, store.Viewer, store.Editor, store.Editor}[w.r.IntN(4)]
		w.setRole(c.user, role)
	case kind == Crowd:
		w.crowd(c)
	}
}

// send puts what is pending on the link; twice sometimes.
func (w *world) send(c *client) {
	out := c.copy.Outgoing(1 + w.r.IntN(8))
	if len(out) == 0 {
		return
	}
	if w.has(Links) && len(out) > 1 && w.chance(10) {
		out = out[1:] // the first part is late: the server must not take the rest before it
	}
	c.to = append(c.to, request{mutations: out})
}

func (w *world) askPull(c *client, seq int64) {
	s := c.copy.State()
	since := store.Since{Seq: seq, GC: c.copy.GC(), Client: s.Client}
	if len(s.Pending) > 0 {
		since.N = s.Pending[0].N - 1
	} else {
		since.N = s.Next
	}
	c.to = append(c.to, request{pull: &since})
}

// take takes a message off a link: the first, or any if the link is bad; perhaps it stays there to come again; perhaps it is lost.
func take[T any](w *world, queue *[]T, cut bool) (T, bool) {
	var none T
	if len(*queue) == 0 {
		return none, false
	}
	i := 0
	if w.has(Links) && w.chance(30) {
		i = w.r.IntN(len(*queue))
	}
	m := (*queue)[i]
	if w.has(Links) && w.chance(5) {
		w.counts.Duplicated++
	} else {
		*queue = append((*queue)[:i:i], (*queue)[i+1:]...)
	}
	if w.has(Links) && (cut || w.chance(10)) {
		w.counts.Dropped++
		return none, false
	}
	return m, true
}

func (w *world) deliverTo(c *client) {
	m, ok := take(w, &c.to, c.toCut)
	if !ok {
		return
	}
	switch {
	case m.pull != nil:
		w.servePull(c, *m.pull)
		return
	case len(m.bodies) > 0:
		w.serveBodies(c, m.bodies)
		return
	}
	w.serveMutations(c, m.mutations)
}

func (w *world) servePull(c *client, since store.Since) {
	w.counts.Pulls++
	d, err := w.store.Pull(context.Background(), c.user, boardID, since)
	if c.heads {
		for i, row := range d.Rows {
			d.Rows[i] = row.Head()
		}
	}
	if err == nil && w.chance(30) {
		w.must(store.Page(&d, since, 100+w.r.IntN(4000)))
	}
	if err != nil {
		d = board.Delta{Results: []board.ClientResult{{Client: since.Client, Result: board.Result{Status: board.Rejected, Code: board.CodeNoBoard}}}}
	}
	c.from = append(c.from, answer{delta: &d})
}

// serveMutations is what a backend does, and where it may die: before the commit, before it publishes, before it answers.
func (w *world) serveMutations(c *client, mutations []*board.Mutation) {
	dies := -1
	if w.has(Crashes) && w.chance(15) {
		dies = w.r.IntN(3)
		w.counts.ServerCrashes++
	}
	if w.cfg.Fault.EarlyReply {
		early := board.Delta{}
		for _, m := range mutations {
			early.Results = append(early.Results, board.ClientResult{Client: m.Client, Result: board.Result{N: m.N, Status: board.Committed}})
		}
		c.from = append(c.from, answer{delta: &early})
	}
	if dies == 0 {
		return
	}
	copies := make([]*board.Mutation, len(mutations))
	for i, m := range mutations {
		copied := *m
		copies[i] = &copied
	}
	d, err := w.store.Commit(context.Background(), boardID, copies)
	w.must(err)
	w.committed(copies, &d)
	if dies == 1 {
		return
	}
	w.publish(&d)
	if dies == 2 {
		return
	}
	c.from = append(c.from, answer{delta: &board.Delta{From: d.From, To: d.To, Hash: d.Hash, HLC: d.HLC, Results: d.Results, Rows: d.Rows, Conflicts: d.Conflicts}})
}

// publish sends to all who may see the board; who has no right gets nothing.
func (w *world) publish(d *board.Delta) {
	for _, c := range w.clients {
		if _, err := w.store.Board(context.Background(), c.user, boardID); err == nil {
			c.from = append(c.from, answer{delta: d})
		}
	}
}

func (w *world) deliverFrom(c *client) {
	m, ok := take(w, &c.from, c.fromCut)
	if !ok {
		return
	}
	if m.bodies != nil {
		w.takeBodies(c, m.bodies)
		return
	}
	d := m.delta
	was, name := c.copy.Seq(), c.saved.Client
	for _, r := range d.Results {
		if r.Client == name && r.Status != board.Gap && r.Code != board.CodeNoBoard {
			w.history.told(r)
		}
	}
	need := c.copy.Receive(d)
	switch need {
	case replica.Pull:
		w.askPull(c, c.copy.Seq())
	case replica.Reload:
		w.history.fail("%s differs from the server at %d", name, c.copy.Seq())
	case replica.Lost:
		w.counts.Revocations++
		w.history.revoke(c.copy)
		c.copy.Revoked(w.name(c))
	case replica.Nothing:
	}
	forgotten := need == replica.Lost || d.Reset && d.More
	if c.copy.Seq() < was && !forgotten {
		w.history.fail("%s went back from %d to %d", name, was, c.copy.Seq())
	}
	c.saved = c.copy.State()
}
