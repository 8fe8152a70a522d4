package client

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestSubscription(t *testing.T) {
	url := newFakeGateway(t, func(g *fakeGateway) {
		g.want("sub 1 board:7 4-0")
		g.send("ok 1 6-0")
		g.send("msg board:7 5-0\nfirst")
		g.send("gap board:7 6-0")
		g.send("msg board:7 7-0")
		g.send("revoke board:7 403 no longer a member")
		g.untilClosed()
	})
	c := dialTest(t, url, Options{})
	s, err := c.Subscribe(testContext(t), "board:7", "4-0")
	if err != nil {
		t.Fatal(err)
	}
	if s.Channel() != "board:7" || s.Position() != "4-0" {
		t.Errorf("subscribed to %q at %q", s.Channel(), s.Position())
	}
	wantPublication(t, s, Publication{Position: "5-0", Data: []byte("first")})
	wantPublication(t, s, Publication{Position: "6-0", Gap: true})
	wantPublication(t, s, Publication{Position: "7-0"})
	_, err = s.Next(testContext(t))
	wantCode(t, err, 403)
}

func TestSubscribeFromNow(t *testing.T) {
	url := newFakeGateway(t, func(g *fakeGateway) {
		g.want("sub 1 a")
		g.send("ok 1 9-3")
		g.want("unsub 2 a")
		g.send("msg a 9-4\nlate")
		g.send("ok 2")
		g.want("sub 3 a")
		g.send("err 3 403 not allowed")
		g.want("sub 4 a")
		g.send("ok 4 9-5")
		g.untilClosed()
	})
	unclaimed := make(chan Frame, 1)
	c := dialTest(t, url, Options{OnPush: func(f Frame) { unclaimed <- f }})
	ctx := testContext(t)
	s, err := c.Subscribe(ctx, "a", "")
	if err != nil {
		t.Fatal(err)
	}
	if s.Position() != "9-3" {
		t.Errorf("position %q, want that of the answer", s.Position())
	}
	_, err = c.Subscribe(ctx, "a", "")
	wantCode(t, err, 409)
	if err := c.Unsubscribe(ctx, "a"); err != nil {
		t.Error(err)
	}
	if _, err := s.Next(ctx); !errors.Is(err, ErrUnsubscribed) {
		t.Errorf("after unsubscribing: %v", err)
	}
	if f := <-unclaimed; f.Head != "msg a 9-4" || string(f.Body) != "late" {
		t.Errorf("unclaimed frame %+v", f)
	}
	_, err = c.Subscribe(ctx, "a", "")
	wantCode(t, err, 403)
	if _, err = c.Subscribe(ctx, "a", ""); err != nil {
		t.Errorf("after a refusal: %v", err)
	}
}

func TestSubscribeGivenUp(t *testing.T) {
	asked := make(chan struct{})
	url := newFakeGateway(t, func(g *fakeGateway) {
		g.want("sub 1 a")
		close(asked)
		g.want("unsub - a")
		g.untilClosed()
	})
	c := dialTest(t, url, Options{})
	ctx, cancel := context.WithCancel(testContext(t))
	go func() {
		<-asked
		cancel()
	}()
	if _, err := c.Subscribe(ctx, "a", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

// TestFullQueueHoldsTheConnection shows the documented price of a reader that is slow, and that nothing is lost by it.
func TestFullQueueHoldsTheConnection(t *testing.T) {
	const sent = 10
	url := newFakeGateway(t, func(g *fakeGateway) {
		g.want("sub 1 a")
		g.send("ok 1 0-0")
		for i := range sent {
			g.send(fmt.Sprintf("msg a %d-0\n%d", i, i))
		}
		g.want("ping 2")
		g.send("pong 2")
		g.untilClosed()
	})
	c := dialTest(t, url, Options{Queue: 2})
	ctx := testContext(t)
	s, err := c.Subscribe(ctx, "a", "")
	if err != nil {
		t.Fatal(err)
	}
	pong := make(chan error, 1)
	go func() { pong <- c.Ping(ctx) }()
	for i := range sent {
		if waiting := sent - i; waiting > 2 && len(pong) > 0 { // two fit into the queue
			t.Errorf("an answer came past %d publications", waiting)
		}
		wantPublication(t, s, Publication{Position: fmt.Sprintf("%d-0", i), Data: fmt.Append(nil, i)})
	}
	if err := <-pong; err != nil {
		t.Error(err)
	}
}

// TestUnsubscribeWithFullQueue must not wait for somebody to empty the queue.
func TestUnsubscribeWithFullQueue(t *testing.T) {
	url := newFakeGateway(t, func(g *fakeGateway) {
		g.want("sub 1 a")
		g.send("ok 1 0-0")
		for range 10 {
			g.send("msg a 1-0")
		}
		g.want("unsub 2 a")
		g.send("ok 2")
		g.untilClosed()
	})
	c := dialTest(t, url, Options{Queue: 1})
	ctx := testContext(t)
	if _, err := c.Subscribe(ctx, "a", ""); err != nil {
		t.Fatal(err)
	}
	if err := c.Unsubscribe(ctx, "a"); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
