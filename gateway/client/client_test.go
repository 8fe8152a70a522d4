package client

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestDial(t *testing.T) {
	url := newFakeGateway(t, func(g *fakeGateway) {
		if got := g.req.Header.Get("Authorization"); got != "Bearer a.b.c" {
			t.Errorf("Authorization: %q", got)
		}
		if got := g.req.Header.Get("X-Extra"); got != "yes" {
			t.Errorf("X-Extra: %q", got)
		}
		if got := g.req.Header.Get("Sec-WebSocket-Protocol"); got != "millrace.v1" {
			t.Errorf("Sec-WebSocket-Protocol: %q", got)
		}
		g.untilClosed()
	})
	c := dialTest(t, url, Options{Token: "a.b.c", Header: http.Header{"X-Extra": {"yes"}}})
	want := Hello{Session: "s1.abc", Node: "s1", HeartbeatMS: 25000, MaxFrame: 1000}
	if c.Hello() != want || c.Session() != "s1.abc" || c.Node() != "s1" {
		t.Errorf("hello %+v, want %+v", c.Hello(), want)
	}
	if err := c.Err(); err != nil {
		t.Errorf("a living connection has the error %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	wantClosed(t, c.Err(), 1000, "")
}

func TestDialRefused(t *testing.T) {
	url := serveTest(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "token expired", http.StatusUnauthorized) })
	_, err := Dial(testContext(t), url, Options{})
	if refused, ok := errors.AsType[*Refused](err); !ok || refused.Status != 401 || refused.Text != "token expired" {
		t.Errorf("error %v, want HTTP 401 token expired", err)
	}
}

func TestDialWithoutHello(t *testing.T) {
	for _, first := range []string{"", "ok 1", "hello", "hello s1\nnot json"} {
		url := serveTest(t, func(w http.ResponseWriter, r *http.Request) {
			ws, err := websocket.Accept(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			ws.Write(r.Context(), websocket.MessageText, []byte(first))
			ws.Read(r.Context())
		})
		if _, err := Dial(testContext(t), url, Options{}); err == nil || !strings.Contains(err.Error(), "hello") {
			t.Errorf("first frame %q: error %v", first, err)
		}
	}
}

func TestCommandsAndAnswers(t *testing.T) {
	url := newFakeGateway(t, func(g *fakeGateway) {
		g.want("pub 1 board:7 id-1\nhello\nworld")
		g.send("ok 1")
		g.want("pub 2 board:7")
		g.send("err 2 429 retry_ms=100")
		g.want("req 3 board:7\nwhat?")
		g.send("res 3\nthat")
		g.want("req 4 board:7")
		g.send("res 4")
		g.want("auth 5 new.token")
		g.send("err 5 401 token expired")
		g.want("ping 6")
		g.send("pong 6")
		g.untilClosed()
	})
	c := dialTest(t, url, Options{})
	ctx := testContext(t)
	if err := c.Publish(ctx, "board:7", "id-1", []byte("hello\nworld")); err != nil {
		t.Error(err)
	}
	err := c.Publish(ctx, "board:7", "", nil)
	wantCode(t, err, 429)
	if err.Error() != "429 retry_ms=100" {
		t.Errorf("error text %q", err)
	}
	for _, want := range []string{"that", ""} {
		body := []byte("what?")
		if want == "" {
			body = nil
		}
		if got, err := c.Request(ctx, "board:7", body); err != nil || string(got) != want {
			t.Errorf("answer %q, %v; want %q", got, err, want)
		}
	}
	wantCode(t, c.Auth(ctx, "new.token"), 401)
	if err := c.Ping(ctx); err != nil {
		t.Error(err)
	}
}

func TestAnswersInAnotherOrder(t *testing.T) {
	first := make(chan struct{})
	url := newFakeGateway(t, func(g *fakeGateway) {
		g.want("req 1 a\none")
		close(first)
		g.want("req 2 a\ntwo")
		g.send("res 2\n2")
		g.send("res 7\nnobody waits for this")
		g.send("res 1\n1")
		g.untilClosed()
	})
	c := dialTest(t, url, Options{})
	ctx := testContext(t)
	got := make(chan string)
	go func() {
		body, _ := c.Request(ctx, "a", []byte("one"))
		got <- string(body)
	}()
	<-first
	if body, err := c.Request(ctx, "a", []byte("two")); err != nil || string(body) != "2" {
		t.Errorf("second answer %q, %v", body, err)
	}
	if body := <-got; body != "1" {
		t.Errorf("first answer %q", body)
	}
}

func TestBadArgumentsAreNotSent(t *testing.T) {
	url := newFakeGateway(t, func(g *fakeGateway) { g.untilClosed() })
	c := dialTest(t, url, Options{})
	ctx := testContext(t)
	wantCode(t, c.Publish(ctx, "a b", "", nil), 400)
	wantCode(t, c.Publish(ctx, "a", "x\npub - b", nil), 400)
	wantCode(t, c.Publish(ctx, "a", "", []byte{0xff}), 400)
	wantCode(t, c.Publish(ctx, "a", "", make([]byte, 1000)), 413)
	wantCode(t, c.Auth(ctx, ""), 400)
	wantCode(t, c.Unsubscribe(ctx, ""), 400)
	_, err := c.Request(ctx, "", nil)
	wantCode(t, err, 400)
	_, err = c.Subscribe(ctx, "ünï", "")
	wantCode(t, err, 400)
	_, err = c.Subscribe(ctx, "a", "1 presence")
	wantCode(t, err, 400)
}

func TestBinary(t *testing.T) {
	url := newFakeGateway(t, func(g *fakeGateway) {
		if kind, p, err := g.ws.Read(g.req.Context()); err != nil || kind != websocket.MessageBinary || string(p) != "pub 1 a\n\xff" {
			t.Errorf("got %v %q, %v", kind, p, err)
		}
		g.send("ok 1")
		g.untilClosed()
	})
	c := dialTest(t, url, Options{Binary: true})
	if err := c.Publish(testContext(t), "a", "", []byte{0xff}); err != nil {
		t.Error(err)
	}
}

func TestCallsEndWithTheConnection(t *testing.T) {
	url := newFakeGateway(t, func(g *fakeGateway) {
		g.want("sub 1 a")
		g.send("ok 1 5-0")
		g.want("ping 2")
		g.send("bye 4000 1500 node s1 is stopping")
		g.ws.Close(4000, "drain")
	})
	c := dialTest(t, url, Options{})
	ctx := testContext(t)
	s, err := c.Subscribe(ctx, "a", "")
	if err != nil {
		t.Fatal(err)
	}
	closed := wantClosed(t, c.Ping(ctx), 4000, "drain")
	if want := (Bye{Code: 4000, Delay: 1500 * time.Millisecond, Text: "node s1 is stopping"}); closed.Bye == nil || *closed.Bye != want {
		t.Errorf("bye %+v, want %+v", closed.Bye, want)
	}
	_, err = s.Next(ctx)
	wantClosed(t, err, 4000, "drain")
	<-c.Done()
	wantClosed(t, c.Publish(ctx, "a", "", nil), 4000, "drain")
	_, err = c.Subscribe(ctx, "a", "")
	wantClosed(t, err, 4000, "drain")
}

func TestLostConnection(t *testing.T) {
	url := newFakeGateway(t, func(g *fakeGateway) {
		g.want("ping 1")
		g.ws.CloseNow()
	})
	c := dialTest(t, url, Options{})
	wantClosed(t, c.Ping(testContext(t)), 1006, "")
}

func TestCallGivenUp(t *testing.T) {
	asked := make(chan struct{})
	goOn := make(chan struct{})
	url := newFakeGateway(t, func(g *fakeGateway) {
		g.want("req 1 a")
		close(asked)
		<-goOn
		g.send("res 1\ntoo late")
		g.want("ping 2")
		g.send("pong 2")
		g.untilClosed()
	})
	c := dialTest(t, url, Options{})
	ctx, cancel := context.WithCancel(testContext(t))
	go func() {
		<-asked
		cancel()
	}()
	if _, err := c.Request(ctx, "a", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	close(goOn)
	if err := c.Ping(testContext(t)); err != nil {
		t.Errorf("the connection did not survive: %v", err)
	}
}

func TestRaw(t *testing.T) {
	url := newFakeGateway(t, func(g *fakeGateway) {
		g.want("what is this")
		g.send("err - 400 unknown verb")
		g.send("bye 4103 0 too many faults")
		g.ws.Close(4103, "protocol violated")
	})
	ctx := testContext(t)
	r, err := DialRaw(ctx, url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Abort()
	if f, err := r.Read(ctx); err != nil || f.Verb() != "hello" {
		t.Fatalf("got %+v, %v", f, err)
	}
	if err := r.Write(ctx, false, []byte("what is this")); err != nil {
		t.Fatal(err)
	}
	if f, err := r.Read(ctx); err != nil || f.Head != "err - 400 unknown verb" || len(f.Body) != 0 {
		t.Errorf("got %+v, %v", f, err)
	}
	if f, err := r.Read(ctx); err != nil || f.Verb() != "bye" {
		t.Errorf("got %+v, %v", f, err)
	}
	_, err = r.Read(ctx)
	if closed := wantClosed(t, err, 4103, "protocol violated"); closed.Bye == nil || closed.Bye.Code != 4103 {
		t.Errorf("closed without bye: %v", err)
	}
}
