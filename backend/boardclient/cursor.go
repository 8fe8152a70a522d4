package boardclient

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/gateway/client"
)

// Of cursors (docs/BOARDS.md, section 9).
const (
	pointEvery  = 100 * time.Millisecond // at most so often
	pointAgain  = 5 * time.Second        // at least so often, or it is forgotten
	cursorTTL   = 12 * time.Second
	maxCursors  = 1000 // of others; policy: the one that was heard of longest ago goes
	maxCursorID = 64
)

// Cursor is where somebody is on the board. Nobody checks what a member of the board says of themselves.
type Cursor struct {
	Client string    `json:"client"`
	User   string    `json:"user"`
	At     board.Key `json:"at"`              // the row; the zero Key: nowhere
	State  string    `json:"state,omitempty"` // what they do there, as the application has it
	Gone   bool      `json:"gone,omitempty"`
}

// cursors are the own one, and those of others by client. The zero value is ready.
type cursors struct {
	mu     sync.Mutex
	own    *Cursor          // Guarded by mu. nil: not said yet
	news   bool             // Guarded by mu. own is to be sent
	others map[string]heard // Guarded by mu.
}

type heard struct {
	Cursor
	when time.Time
}

// Point says where the user is. Of many calls the last one is sent, at most ten times a second, and again every 5 seconds. Config.Cursors
// must be set.
func (b *Board) Point(at board.Key, state string) {
	b.cursors.mu.Lock()
	defer b.cursors.mu.Unlock()
	b.cursors.own, b.cursors.news = &Cursor{User: b.cfg.User, At: at, State: state}, true
}

// Others are the cursors of others, by client. One of which nothing was heard for 12 seconds is forgotten.
func (b *Board) Others() []Cursor { return b.cursors.at(time.Now()) }

func (c *cursors) at(now time.Time) (out []Cursor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(c.others)) {
		if h := c.others[id]; now.Sub(h.when) > cursorTTL {
			delete(c.others, id)
		} else {
			out = append(out, h.Cursor)
		}
	}
	return out
}

// take notes what was heard of another one.
func (c *cursors) take(data []byte, self string, now time.Time) {
	var p Cursor
	if json.Unmarshal(data, &p) != nil || p.Client == "" || len(p.Client) > maxCursorID || p.Client == self {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.Gone {
		delete(c.others, p.Client)
		return
	}
	if _, known := c.others[p.Client]; !known && len(c.others) >= maxCursors {
		oldest := ""
		for id, h := range c.others {
			if oldest == "" || h.when.Before(c.others[oldest].when) {
				oldest = id
			}
		}
		delete(c.others, oldest)
	}
	if c.others == nil {
		c.others = make(map[string]heard)
	}
	c.others[p.Client] = heard{p, now}
}

// next is what is to be sent after the last one was sent a time ago, or nil.
func (c *cursors) next(ago time.Duration) *Cursor {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own == nil || !c.news && ago < pointAgain {
		return nil
	}
	c.news = false
	own := *c.own
	return &own
}

func (b *Board) cursorChannel() string { return "cursor:" + b.cfg.Board }

// self is the name of this copy. It changes when the board is lost.
func (b *Board) self() (client string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.copy.State().Client
}

// hear takes the cursors of others until the subscription ends.
func (b *Board) hear(ctx context.Context, sub *client.Subscription) {
	for {
		p, err := sub.Next(ctx)
		if err != nil {
			return
		}
		b.cursors.take(p.Data, b.self(), time.Now())
	}
}

// point sends the own cursor until ctx is done. One that cannot be sent is sent with the next turn, or never: it is not worth more.
func (b *Board) point(ctx context.Context, conn *client.Conn) {
	tick := time.NewTicker(pointEvery)
	defer tick.Stop()
	sent := time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p := b.cursors.next(time.Since(sent))
		if p == nil {
			continue
		}
		p.Client = b.self()
		data, err := json.Marshal(p)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		sent = time.Now()
		if err := conn.Publish(ctx, b.cursorChannel(), "", data); err != nil {
			sent = time.Time{}
		}
	}
}
