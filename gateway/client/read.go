package client

import (
	"context"
	"errors"
)

// read is the one goroutine of a Conn: it hands each frame to whom it is for, until the connection ends.
func (c *Conn) read(ctx context.Context) {
	for {
		f, err := c.raw.Read(ctx)
		if err != nil {
			c.raw.Abort()
			c.cancel()
			c.ended(err)
			return
		}
		c.dispatch(ctx, f)
	}
}

func (c *Conn) dispatch(ctx context.Context, f Frame) {
	switch f.Verb() {
	case "ok", "res", "err", "pong":
		if call := c.pending(f.token(1)); call != nil {
			call <- f // has room: a REF is answered once
			return
		}
	case "msg":
		if s := c.subscription(f.token(1)); s != nil {
			s.deliver(Publication{Position: f.token(2), Binary: f.Binary, Data: f.Body}, ctx.Done())
			return
		}
	case "gap":
		if s := c.subscription(f.token(1)); s != nil {
			s.deliver(Publication{Gap: true, Position: f.token(2)}, ctx.Done())
			return
		}
	case "revoke":
		c.endSubscription(f.token(1), f.codeText(2))
		return
	}
	c.onPush(f)
}

// pending gives the call that waits for ref, and forgets it.
func (c *Conn) pending(ref string) chan Frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	call := c.calls[ref]
	delete(c.calls, ref)
	return call
}

func (c *Conn) subscription(channel string) *Subscription {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subs[channel]
}

// addSubscription enters s before its answer is there: publications follow the answer at once.
func (c *Conn) addSubscription(s *Subscription) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.subs == nil {
		return nil // the connection has ended, and the call that follows says so
	}
	if c.subs[s.channel] != nil {
		return &Error{Code: 409, Text: "subscribed already"}
	}
	c.subs[s.channel] = s
	return nil
}

func (c *Conn) endSubscription(channel string, err error) {
	c.mu.Lock()
	s := c.subs[channel]
	delete(c.subs, channel)
	c.mu.Unlock()
	if s != nil {
		s.end(err)
	}
}

// ended tells everybody who waits that the connection is gone.
func (c *Conn) ended(err error) {
	if _, ok := errors.AsType[*Closed](err); !ok {
		panic("BUG: Raw.Read failed without a Closed")
	}
	c.mu.Lock()
	subs := c.subs
	c.subs, c.calls = nil, nil
	c.mu.Unlock()
	c.err = err
	for _, s := range subs {
		s.end(err)
	}
	close(c.done)
}
