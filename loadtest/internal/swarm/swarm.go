package swarm

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/internal/slab"
	"github.com/millracehq/millrace/loadtest/internal/ledger"
)

// Swarm is one run of many clients. See the package's doc for who may call what.
type Swarm struct {
	// Immutable after New.
	cfg     Config
	plan    plan
	run     uint32 // in every stamp: tells this run's publications from others'
	loop    *loop.Loop
	padding []byte // of a whole body; the stamp covers its beginning
	marks   chan Mark
	done    chan struct{}

	// Owned by the loop: the run.
	metrics   *Metrics
	phase     Phase
	until     int64 // ns: when the phase ends by itself
	starts    [PhaseDone + 1]int64
	events    agenda    // of the steady phase
	bytes     [2]uint64 // sent and received when the steady phase began
	gaugeTick uint32
	scratch   []byte // a command
	out       []byte // WebSocket frames

	// Owned by the loop: clients.
	clients    []client
	owners     slab.Slab[int32] // client + 1, by seat
	subscribed []bool           // by subscription: it is there
	positions  positions
	dials      agenda     // clients
	resubs     agenda     // clients
	rereads    agenda     // clients
	local      int        // next source address
	underway   int        // clients that are connecting
	ready      [roles]int // clients connected and subscribed
	leaving    int        // clients whose closing handshake has begun
	unresolved int        // clients of which it is not known yet whether they will be ready
	failures   int        // connects
	closing    int        // next client to close

	// Owned by the loop: commands.
	pending pending
	resends agenda         // REFs
	next    int64          // publication, without virtual users'
	nextReq int64          // request, without virtual users'
	unacked map[int64]bool // publications that ended without ok
	resent  map[int64]bool // publications that were repeated

	// Owned by the loop: accounts.
	readyAtRoll int     // clients, when the load began
	readyAtEnd  int     // clients, when it ended
	reach       []int64 // subscribers by channel, at the roll call, without those that stop reading
	roll        []bool  // by subscription: there at the roll call
	ledger      *ledger.Ledger
	fan         fan
	outstanding int64 // deliveries of acknowledged publications that have not come yet
	warmup      Counts
	missing     []Missing

	// Owned by the loop: loads and their virtual users.
	work             []*work
	vus              []vu
	writers          []int32 // virtual users that publish, by the number of their feed
	vuTimers         agenda
	vuFan            fan
	published        int64 // publications of virtual users
	nextVURequest    int64
	nextPing         int64
	joined           []uint32 // by line of a session: numbers below were under way when it began
	firstSessionLine int
	sessionExpected  int64 // deliveries
	checks           [checkEvents][]Check
	gaps             map[int]uint32 // feed by line: other parts' of which a gap was announced, and nothing came since
	held             bool           // the other parts of the run are waited for
	told             bool           // they know what this one has published
	begun            int64          // publications of this part, without virtual users'
	ownUnacked       int64          // publications
	reachAll         []int64        // subscribers by channel, of all parts
	peerNext         []int64        // publication, by part; nil until the end
	writersAtRoll    int            // virtual users with a connection when the load began

	// Owned by the loop: connections that are cut, readers that stop.
	cutAt       int64 // ns
	catching    map[int32]catchUp
	cutOnce     []bool // clients that the server has cut off in the storm; nil when it is not the server that does
	storming    bool   // the server is to cut off all that have not been
	churn       churn
	polls       agenda  // clients
	stopped     bool    // the group does not read now
	stoppedSubs []int   // subscriptions of the group, at the roll call
	newest      []int64 // publication by channel, of those that others than the group have
	newestThen  []int64 // the same when the group began to read again
}

// Counts are the figures of the warm-up, which no threshold looks at.
type Counts struct {
	Received  int64 `json:"received"`
	Duplicate int64 `json:"duplicate"`
	Reordered int64 `json:"reordered"`
	Lost      int64 `json:"lost"`
}

// New prepares a swarm; nothing is dialled before Start.
func New(cfg Config) (*Swarm, error) {
	l, err := loop.New(loop.Config{
		Linger:    lingerTime,
		Logger:    cfg.Logger,
		MaxUnread: maxMessage + 1<<10,
		DialTLS:   cfg.TLS,
	})
	if err != nil {
		return nil, fmt.Errorf("event loop: %w", err)
	}
	var run [4]byte
	_, _ = rand.Read(run[:]) // never fails
	if cfg.Part.Of > 1 {
		binary.NativeEndian.PutUint32(run[:], cfg.Part.Run)
	}
	s := &Swarm{
		cfg:     cfg,
		run:     binary.NativeEndian.Uint32(run[:]),
		loop:    l,
		padding: appendPadding(nil, cfg.Payload),
		marks:   make(chan Mark, int(PhaseDone)+1+len(eventNames)),
		done:    make(chan struct{}),
		metrics: NewMetrics(cfg.Scenarios()...),
		clients: make([]client, cfg.Connections+cfg.users()),
		unacked: make(map[int64]bool),
		resent:  make(map[int64]bool),
		gaps:    make(map[int]uint32),

		catching:   make(map[int32]catchUp),
		churn:      churn{absent: make(map[int32]absence)},
		newest:     make([]int64, len(cfg.Channels)),
		newestThen: make([]int64, len(cfg.Channels)),
	}
	s.newWork()
	s.plan = newPlan(cfg, len(s.writers))
	for v := range s.vus {
		s.clients[s.clientOf(int32(v))].role = roleWriter
		if s.workOf(int32(v)).Exec == ExecSession {
			s.clients[s.clientOf(int32(v))].role = roleSession
		}
	}
	for _, c := range cfg.Checks {
		s.checks[c.event] = append(s.checks[c.event], c)
	}
	subscriptions := len(s.clients) * cfg.Subscriptions
	s.firstSessionLine = cfg.Connections * cfg.Subscriptions * s.plan.lanes
	s.joined = make([]uint32, subscriptions*s.plan.lanes-s.firstSessionLine)
	s.subscribed = make([]bool, subscriptions)
	s.roll = make([]bool, subscriptions)
	s.reach = make([]int64, len(cfg.Channels))
	s.reachAll = s.reach
	s.ledger = ledger.New(subscriptions * s.plan.lanes)
	s.fan, s.vuFan = newFan(int(10*cfg.Rate)), newFan(fanPerWriter*len(s.writers))
	s.chooseStopped()
	if cfg.Cut.Server {
		s.cutOnce = make([]bool, cfg.Connections)
	}
	if cfg.Reconnect || cfg.Poll.Every > 0 {
		s.positions = newPositions(subscriptions)
	}
	return s, nil
}

// Start begins to connect.
func (s *Swarm) Start() error {
	if err := s.loop.Start(s); err != nil {
		return fmt.Errorf("event loop: %w", err)
	}
	s.loop.Post(s.begin)
	return nil
}

// Marks tells when each phase began, and what happened in the steady one. It holds all of them, so nobody has to listen.
func (s *Swarm) Marks() <-chan Mark { return s.marks }

// Done is closed when the run is over, connections closed and accounts made up.
func (s *Swarm) Done() <-chan struct{} { return s.done }

// Do runs f on the loop and waits for it. It reports false when the loop is gone.
func (s *Swarm) Do(f func()) bool {
	ran := make(chan struct{})
	if !s.loop.Post(func() { f(); close(ran) }) {
		return false
	}
	<-ran
	return true
}

// Stop ends the run early: publishing stops, what is under way is still waited for, and the accounts are made up.
func (s *Swarm) Stop() { s.Do(s.cutShort) }

// Close ends the loop that Start started; connections that are still open are dropped. Afterwards the metrics are the caller's.
func (s *Swarm) Close() { s.loop.Stop() }

// Metrics is what has been measured. Until Close has returned, only functions given to Do may look.
func (s *Swarm) Metrics() *Metrics { return s.metrics }
