// Package boardclient keeps a copy of a board on this side of a gateway, on line or not: for bots, tests and load. What it
// says and expects is docs/BOARDS.md.
//
//	Do ──▶ replica ──▶ outbox          saved when Do returns
//	         │   ▲
//	Run ─────┴───┴──▶ gateway          sends what is pending, pulls what is missing, again after any failure
//
// Two goroutines while connected: Run's, which asks, and one that takes publications; with cursors two more. All end before Run returns.
package boardclient

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/replica"
	"github.com/millracehq/millrace/gateway/client"
)

// Config says where a board is. Its zero values are the defaults behind the fields.
type Config struct {
	URL       string // of the gateway, ws://HOST/ws
	Token     string // JWT; "" where the gateway wants none
	User      string // whom the token names
	Board     string
	Outbox    Outbox        // default: memory
	Heartbeat time.Duration // how often to compare with the server; default 15s
	Timeout   time.Duration // of one request; default 15s
	OnRetry   func(error)   // told why it connects again; default: nobody
	Heads     bool          // pull without the texts of cards and comments: see [Board.Bodies]
	Cursors   bool          // hear of the cursors of others, and say where the own one is: see [Board.Point]
}

const (
	sendAtOnce   = 100      // mutations
	maxBytes     = 60 << 10 // of the mutations of one request; a gateway takes frames of 64 KiB
	forbidden    = 403
	maxHead      = 512 // of them, what a mutation has besides its operations
	firstRetry   = 100 * time.Millisecond
	longestRetry = 5 * time.Second
)

// ErrTooLarge says that a mutation does not fit into a frame: take it apart.
var ErrTooLarge = errors.New("the mutation is too large for one frame")

// ErrLost says that the user has no access to the board. What was not sent is in the drawer.
var ErrLost = errors.New("no access to this board")

// Board is a copy of a board. Its methods may be called concurrently.
type Board struct {
	cfg     Config
	wake    chan struct{} // something is to be sent or asked
	cursors cursors

	mu       sync.Mutex
	copy     *replica.Replica // Guarded by mu.
	need     replica.Need     // Guarded by mu.
	diverged int              // Guarded by mu.
	changed  chan struct{}    // Guarded by mu. Closed and made anew when the copy changes.
	fatal    error            // Guarded by mu. Of the outbox.

	opened  map[board.Key]struct{} // Guarded by mu. Rows whose bodies are waited for, and some whose are not any more.
	wantAll int                    // Guarded by mu. How many wait for all bodies.
}

// Open takes up a board where the outbox left it, without connecting.
func Open(ctx context.Context, cfg Config) (*Board, error) {
	if cfg.Outbox == nil {
		cfg.Outbox = new(Memory)
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = 15 * time.Second
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 15 * time.Second
	}
	if cfg.OnRetry == nil {
		cfg.OnRetry = func(error) {}
	}
	state, err := cfg.Outbox.Load(ctx, cfg.Board, cfg.User)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	if state.Client == "" {
		state = replica.State{Board: cfg.Board, User: cfg.User, Client: rand.Text()}
	}
	return &Board{
		cfg: cfg, wake: make(chan struct{}, 1), copy: replica.New(state, board.Rules{}), need: replica.Pull, changed: make(chan struct{}),
		opened: make(map[board.Key]struct{}),
	}, nil
}

// Do does something to the board, now or as soon as there is a connection. When it returns the mutation is in the outbox; unless
// the rules refuse it at once, as the outcome then says. To change a text of which the copy has only the head is refused with
// [replica.CodeNoBody]: see [Board.Bodies].
func (b *Board) Do(ctx context.Context, ops ...board.Op) (board.Outcome, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if size, err := json.Marshal(ops); err != nil || len(size) > maxBytes-maxHead {
		return board.Outcome{}, cmp.Or(err, ErrTooLarge)
	}
	out := b.copy.Do(time.Now().UnixMilli(), 0, ops...)
	if out.Result.Status == board.Rejected {
		return out, nil
	}
	if err := b.cfg.Outbox.Save(ctx, b.copy.State()); err != nil {
		return out, fmt.Errorf("outbox: %w", err)
	}
	b.notify()
	return out, nil
}

// notify wakes Run and those who wait.
func (b *Board) notify() {
	close(b.changed)
	b.changed = make(chan struct{})
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Look calls f with the copy, which f must neither keep nor change.
func (b *Board) Look(f func(*replica.Replica)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b.copy)
}

// Diverged is how often the copy was found to differ from the server's: it must be 0.
func (b *Board) Diverged() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.diverged
}

// Wait waits until ok says that the copy is as wanted.
func (b *Board) Wait(ctx context.Context, ok func(*replica.Replica) bool) error {
	for {
		b.mu.Lock()
		done, changed := ok(b.copy), b.changed
		b.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Run keeps the copy level with the server until ctx is done, and connects again whenever that is needed. Errors are [ErrLost]
// and those of the outbox.
func (b *Board) Run(ctx context.Context) error {
	wait := firstRetry
	for {
		began := time.Now()
		err := b.connected(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrLost):
			return err
		}
		b.mu.Lock()
		fatal := b.fatal
		b.need = max(b.need, replica.Pull)
		b.mu.Unlock()
		if fatal != nil {
			return fatal
		}
		b.cfg.OnRetry(err)
		if time.Since(began) > longestRetry {
			wait = firstRetry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, longestRetry)
	}
}

func (b *Board) channel() string { return "board:" + b.cfg.Board }

// connected is the life of one connection.
func (b *Board) connected(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dialing, done := context.WithTimeout(ctx, b.cfg.Timeout)
	defer done()
	conn, err := client.Dial(dialing, b.cfg.URL, client.Options{Token: b.cfg.Token})
	if err != nil {
		return err
	}
	defer conn.Abort()
	sub, err := conn.Subscribe(dialing, b.channel(), "") // first: nothing is published between the pull and this
	if e, ok := errors.AsType[*client.Error](err); ok && e.Code == forbidden {
		return b.lost(ctx)
	}
	if err != nil {
		return err
	}
	var publications sync.WaitGroup
	if b.cfg.Cursors {
		others, err := conn.Subscribe(dialing, b.cursorChannel(), "")
		if err != nil {
			return err
		}
		publications.Go(func() { b.hear(ctx, others) })
		publications.Go(func() { b.point(ctx, conn) })
	}
	publications.Go(func() {
		defer cancel()
		b.take(ctx, sub)
	})
	defer publications.Wait()
	defer cancel()
	beat := time.NewTicker(b.cfg.Heartbeat)
	defer beat.Stop()
	for {
		if err := b.exchange(ctx, conn); err != nil {
			return err
		}
		select {
		case <-b.wake:
		case <-beat.C:
			if err := b.compare(ctx, conn); err != nil {
				return err
			}
		case <-conn.Done():
			return conn.Err()
		case <-ctx.Done():
			return errors.New("the subscription has ended")
		}
	}
}

// take receives what is published.
func (b *Board) take(ctx context.Context, sub *client.Subscription) {
	for {
		p, err := sub.Next(ctx)
		if err != nil {
			return
		}
		d := new(board.Delta)
		if !p.Gap {
			if err := json.Unmarshal(p.Data, d); err == nil {
				b.receive(ctx, d)
				continue
			}
		}
		b.want(replica.Pull)
	}
}

func (b *Board) want(need replica.Need) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.need = max(b.need, need)
	b.notify()
}

func (b *Board) receive(ctx context.Context, d *board.Delta) {
	b.mu.Lock()
	defer b.mu.Unlock()
	pending, drawer := b.copy.Pending(), len(b.copy.Drawer())
	need := b.copy.Receive(d)
	if need == replica.Reload {
		b.diverged++
	}
	if need == replica.Lost {
		b.copy.Revoked(rand.Text())
	}
	b.need = max(b.need, need)
	if need == replica.Lost || b.copy.Pending() != pending || len(b.copy.Drawer()) != drawer {
		if err := b.cfg.Outbox.Save(context.WithoutCancel(ctx), b.copy.State()); err != nil && b.fatal == nil {
			b.fatal = fmt.Errorf("outbox: %w", err)
		}
	}
	b.notify()
}

// exchange pulls, sends and fetches bodies, in this order, until there is nothing to do.
func (b *Board) exchange(ctx context.Context, conn *client.Conn) error {
	for {
		b.mu.Lock()
		need, fatal := b.need, b.fatal
		diverged := ""
		if need == replica.Reload {
			diverged = board.FormatHash(b.copy.Base().Hash())
			b.copy.Forget()
		}
		seq, gc, state := b.copy.Seq(), b.copy.GC(), b.copy.State()
		out, err := fitting(b.copy.Outgoing(sendAtOnce))
		var rows []board.Key
		if need == replica.Nothing && len(out) == 0 {
			rows = b.wanted()
		}
		b.need = replica.Nothing
		b.mu.Unlock()
		if err = cmp.Or(fatal, err); err != nil {
			return err
		}
		var body any
		switch {
		case need == replica.Lost:
			return ErrLost
		case need != replica.Nothing:
			n := state.Next
			if len(state.Pending) > 0 {
				n = state.Pending[0].N - 1
			}
			body = map[string]any{"do": "pull", "since": seq, "gc": gc, "client": state.Client, "n": n, "diverged": diverged, "heads": b.cfg.Heads}
		case len(out) > 0:
			body = map[string]any{"do": "mutate", "mutations": out}
		case len(rows) > 0:
			if err := b.fetch(ctx, conn, rows); err != nil {
				return err
			}
			continue
		default:
			return nil
		}
		if err := b.ask(ctx, conn, body); err != nil {
			b.want(need)
			return err
		}
	}
}

// fitting writes as many mutations as go into a frame.
func fitting(mutations []*board.Mutation) (out []json.RawMessage, err error) {
	size := 0
	for _, m := range mutations {
		data, err := json.Marshal(m)
		if err != nil {
			return nil, err
		}
		if size += len(data) + 1; size > maxBytes && len(out) > 0 {
			break
		}
		out = append(out, data)
	}
	return out, nil
}

// compare asks how far the server is.
func (b *Board) compare(ctx context.Context, conn *client.Conn) error {
	data, err := b.request(ctx, conn, map[string]string{"do": "head"})
	if err != nil {
		return err
	}
	var head board.Delta // a head has the members seq and hash besides others
	at := struct {
		Seq  int64  `json:"seq"`
		Hash string `json:"hash"`
	}{}
	if err := json.Unmarshal(data, &at); err != nil {
		return err
	}
	head.From, head.To, head.Hash = at.Seq, at.Seq, at.Hash
	b.receive(ctx, &head)
	return nil
}

func (b *Board) ask(ctx context.Context, conn *client.Conn, body any) error {
	data, err := b.request(ctx, conn, body)
	if err != nil {
		return err
	}
	d := new(board.Delta)
	if err := json.Unmarshal(data, d); err != nil {
		return err
	}
	b.receive(ctx, d)
	return nil
}

// request asks, and tells a refusal from an answer.
func (b *Board) request(ctx context.Context, conn *client.Conn, body any) ([]byte, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	data, err := conn.Request(ctx, b.channel(), text)
	if err != nil {
		return nil, err
	}
	refused := struct {
		Error *struct {
			Code int    `json:"code"`
			Text string `json:"text"`
		} `json:"error"`
	}{}
	if err := json.Unmarshal(data, &refused); err != nil {
		return nil, err
	}
	switch {
	case refused.Error == nil:
		return data, nil
	case refused.Error.Code == 404:
		return nil, b.lost(ctx)
	default:
		return nil, fmt.Errorf("%d %s", refused.Error.Code, refused.Error.Text)
	}
}

// lost forgets the copy.
func (b *Board) lost(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.copy.Revoked(rand.Text())
	b.notify()
	return errors.Join(ErrLost, b.cfg.Outbox.Save(context.WithoutCancel(ctx), b.copy.State()))
}
