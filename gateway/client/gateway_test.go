package client

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// fakeGateway is the other side of one connection, played by the test.
type fakeGateway struct {
	t   *testing.T
	ws  *websocket.Conn
	req *http.Request
}

// newFakeGateway serves each connection with play, which runs on its own goroutine, and gives the URL. It has said
// hello with a max_frame of 1000 when play begins.
func newFakeGateway(t *testing.T, play func(g *fakeGateway)) (url string) {
	t.Helper()
	var playing sync.WaitGroup
	handler := func(w http.ResponseWriter, r *http.Request) {
		playing.Add(1)
		defer playing.Done()
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{subprotocol}})
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.CloseNow()
		g := &fakeGateway{t: t, ws: ws, req: r}
		g.send("hello s1.abc\n" + `{"node":"s1","heartbeat_ms":25000,"max_frame":1000}`)
		play(g)
	}
	url = serveTest(t, handler)
	t.Cleanup(playing.Wait) // before the server closes, after the test's connections have ended
	return url
}

func serveTest(t *testing.T, handler http.HandlerFunc) (url string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return "ws" + server.URL[len("http"):] + "/ws"
}

func (g *fakeGateway) send(frame string) {
	g.t.Helper()
	if err := g.ws.Write(g.req.Context(), websocket.MessageText, []byte(frame)); err != nil {
		g.t.Errorf("sending %q: %v", frame, err)
	}
}

// want takes one frame and compares it byte by byte.
func (g *fakeGateway) want(frame string) {
	g.t.Helper()
	if kind, p, err := g.ws.Read(g.req.Context()); err != nil || string(p) != frame || kind != websocket.MessageText {
		g.t.Errorf("gateway got %v %q, %v; want text %q", kind, p, err, frame)
	}
}

// untilClosed reads on, so that a Close frame is answered.
func (g *fakeGateway) untilClosed() {
	if kind, p, err := g.ws.Read(g.req.Context()); err == nil {
		g.t.Errorf("gateway got %v %q, want the end", kind, p)
	}
}

func dialTest(t *testing.T, url string, opts Options) *Conn {
	t.Helper()
	c, err := Dial(testContext(t), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Abort)
	return c
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func wantPublication(t *testing.T, s *Subscription, want Publication) {
	t.Helper()
	p, err := s.Next(testContext(t))
	if err != nil {
		t.Fatalf("no publication: %v", err)
	}
	if p.Gap != want.Gap || p.Position != want.Position || p.Binary != want.Binary || string(p.Data) != string(want.Data) {
		t.Errorf("publication %+v, want %+v", p, want)
	}
	if s.Position() != want.Position {
		t.Errorf("position %q after it, want %q", s.Position(), want.Position)
	}
}

func wantCode(t *testing.T, err error, code int) {
	t.Helper()
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != code {
		t.Errorf("error %v, want one with code %d", err, code)
	}
}

func wantClosed(t *testing.T, err error, code int, reason string) *Closed {
	t.Helper()
	e, ok := errors.AsType[*Closed](err)
	if !ok || e.Code != code || e.Reason != reason {
		t.Fatalf("error %v, want closed with %d %q", err, code, reason)
	}
	return e
}
