package client

import (
	"context"
	"errors"
	"strconv"
)

// Subscribe begins a subscription. With a position (of an earlier subscription to the channel) it delivers first what
// came after it, or a gap where that is gone; with "" what comes from now on. A channel that this connection has
// already is an [*Error] with code 409.
func (c *Conn) Subscribe(ctx context.Context, channel, position string) (*Subscription, error) {
	if err := checkToken("channel", channel); err != nil {
		return nil, err
	}
	s := newSubscription(channel, c.queue)
	if err := c.addSubscription(s); err != nil {
		return nil, err
	}
	args := channel
	if position != "" {
		if err := checkToken("position", position); err != nil {
			c.endSubscription(channel, err)
			return nil, err
		}
		args += " " + position
	}
	answer, err := c.call(ctx, "sub", args, nil)
	if err != nil {
		c.endSubscription(channel, err)
		if ctx.Err() != nil {
			c.forget(ctx, channel)
		}
		return nil, err
	}
	if position == "" {
		position = answer.token(2) // one that was given stays: what was missed since then is still to come
	}
	s.setPosition(position)
	return s, nil
}

// forget undoes a subscription whose answer nobody waits for any more.
func (c *Conn) forget(ctx context.Context, channel string) {
	_ = c.write(context.WithoutCancel(ctx), "unsub - "+channel, nil) // a connection that cannot take it is lost anyway
}

// Unsubscribe ends the subscription to channel. What its Next has not taken yet stays to be taken.
func (c *Conn) Unsubscribe(ctx context.Context, channel string) error {
	if err := checkToken("channel", channel); err != nil {
		return err
	}
	c.endSubscription(channel, ErrUnsubscribed)
	_, err := c.call(ctx, "unsub", channel, nil)
	return err
}

// Publish hands data to the channel and returns when it is stored for good. The id, "" for none, makes it safe to
// publish the same again when the answer did not come: it takes effect once per user and id.
func (c *Conn) Publish(ctx context.Context, channel, id string, data []byte) error {
	args, err := channelID(channel, id)
	if err != nil {
		return err
	}
	_, err = c.call(ctx, "pub", args, data)
	return err
}

// Request asks the backend of the channel and returns its answer.
func (c *Conn) Request(ctx context.Context, channel string, data []byte) ([]byte, error) {
	args, err := channelID(channel, "")
	if err != nil {
		return nil, err
	}
	answer, err := c.call(ctx, "req", args, data)
	return answer.Body, err
}

// Auth hands in a new credential before the old one runs out.
func (c *Conn) Auth(ctx context.Context, token string) error {
	if err := checkToken("token", token); err != nil {
		return err
	}
	_, err := c.call(ctx, "auth", token, nil)
	return err
}

// Ping asks the gateway for a sign of life.
func (c *Conn) Ping(ctx context.Context) error {
	_, err := c.call(ctx, "ping", "", nil)
	return err
}

func channelID(channel, id string) (args string, err error) {
	if err := checkToken("channel", channel); err != nil {
		return "", err
	}
	if id == "" {
		return channel, nil
	}
	return channel + " " + id, checkToken("id", id)
}

// call sends a command and waits for its answer. The error is an [*Error] when the answer is `err`, the [*Closed] of
// the connection, or that of ctx.
func (c *Conn) call(ctx context.Context, verb, args string, body []byte) (Frame, error) {
	answer := make(chan Frame, 1)
	c.mu.Lock()
	if c.calls == nil {
		c.mu.Unlock()
		<-c.done
		return Frame{}, c.err
	}
	c.lastRef++
	ref := strconv.FormatUint(c.lastRef, 10)
	c.calls[ref] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.calls, ref)
		c.mu.Unlock()
	}()

	head := verb + " " + ref
	if args != "" {
		head += " " + args
	}
	if err := c.write(ctx, head, body); err != nil {
		return Frame{}, c.writeFailed(ctx, err)
	}
	select {
	case f := <-answer:
		if f.Verb() == "err" {
			return Frame{}, f.codeText(2)
		}
		return f, nil
	case <-c.done:
		return Frame{}, c.err
	case <-ctx.Done():
		return Frame{}, ctx.Err()
	}
}

// writeFailed turns an error of the WebSocket into that of the connection's end, which says more.
func (c *Conn) writeFailed(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err // nothing was sent
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
