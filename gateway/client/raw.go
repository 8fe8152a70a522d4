package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/coder/websocket"
)

// subprotocol is the name that is offered at the upgrade.
const subprotocol = "millrace.v1"

// maxPush is the largest frame taken from a gateway, in bytes: a bound against nonsense, far over what one sends.
const maxPush = 16 << 20

// Options are the optional part of dialing.
type Options struct {
	Token      string       // credential, sent as Authorization: Bearer
	Header     http.Header  // further headers of the upgrade request
	HTTPClient *http.Client // for the upgrade request; default http.DefaultClient
	Protocols  []string     // subprotocols to offer; default millrace.v1
	Compress   bool         // offer permessage-deflate: large publications come compressed, where the gateway has that on

	// The rest is for Dial alone.

	Binary bool        // send commands as binary messages; subscribers get publications as they were sent
	Queue  int         // publications that may wait in one subscription; default 256
	OnPush func(Frame) // gets what belongs to no subscription and no call; runs on the reading goroutine
}

// Raw is a connection of which the caller sees each frame. Write may be called concurrently, Read by one goroutine at
// a time; without a Read under way no WebSocket ping is answered.
type Raw struct {
	// Immutable after DialRaw.
	ws *websocket.Conn

	bye *Bye // Owned by the reader.

	closing atomic.Int32 // the code of our own Close frame
}

// DialRaw opens a connection; the first frame to read is `hello`. The error is a [*Refused] when the gateway answered
// the upgrade with an HTTP error.
func DialRaw(ctx context.Context, url string, opts Options) (*Raw, error) {
	header := opts.Header.Clone()
	if opts.Token != "" {
		if header == nil {
			header = make(http.Header)
		}
		header.Set("Authorization", "Bearer "+opts.Token)
	}
	protocols := opts.Protocols
	if protocols == nil {
		protocols = []string{subprotocol}
	}
	mode := websocket.CompressionDisabled
	if opts.Compress {
		mode = websocket.CompressionNoContextTakeover
	}
	//nolint:bodyclose // the WebSocket library has closed it
	ws, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		HTTPClient: opts.HTTPClient, HTTPHeader: header, Subprotocols: protocols, CompressionMode: mode,
	})
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			body, _ := io.ReadAll(resp.Body) // the WebSocket library keeps its first KB
			return nil, &Refused{Status: resp.StatusCode, Text: strings.TrimSpace(string(body))}
		}
		return nil, err
	}
	ws.SetReadLimit(maxPush)
	return &Raw{ws: ws}, nil
}

// Write sends one frame as it is. The connection is lost when ctx ends in the middle.
func (r *Raw) Write(ctx context.Context, binary bool, frame []byte) error {
	kind := websocket.MessageText
	if binary {
		kind = websocket.MessageBinary
	}
	return r.ws.Write(ctx, kind, frame)
}

// Read waits for the next frame. The connection is lost when ctx ends. At its end the error is a [*Closed].
func (r *Raw) Read(ctx context.Context) (Frame, error) {
	kind, p, err := r.ws.Read(ctx)
	if err != nil {
		return Frame{}, r.closed(err)
	}
	f := parseFrame(kind == websocket.MessageBinary, p)
	if f.Verb() == "bye" {
		r.bye = f.bye()
	}
	return f, nil
}

func (r *Raw) closed(err error) *Closed {
	c := &Closed{Code: int(websocket.StatusAbnormalClosure), Bye: r.bye, err: err}
	if frame, ok := errors.AsType[websocket.CloseError](err); ok {
		c.Code, c.Reason = int(frame.Code), frame.Reason
	} else if code := r.closing.Load(); code != 0 { // Close may have taken the answer to its frame
		c.Code = int(code)
	}
	return c
}

// Close sends a Close frame and waits, some seconds at most, for the one that answers it.
func (r *Raw) Close(code int, reason string) error {
	r.closing.Store(int32(code))
	return r.ws.Close(websocket.StatusCode(code), reason)
}

// Abort ends the TCP connection without a word.
func (r *Raw) Abort() { _ = r.ws.CloseNow() } // an error: it is gone already
