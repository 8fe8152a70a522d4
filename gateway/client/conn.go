package client

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"
)

const defaultQueue = 256

// Hello is what the gateway says first.
type Hello struct {
	Session     string `json:"-"`            // names this connection to backends
	Node        string `json:"node"`         // the gateway process
	HeartbeatMS int    `json:"heartbeat_ms"` // it pings what was silent for so long
	MaxFrame    int    `json:"max_frame"`    // bytes, head and LF included; it closes on a longer one
}

// writeTimeout bounds the sending of one frame: a connection that does not take it by then is lost.
const writeTimeout = 10 * time.Second

// Conn is a connection to a gateway. All methods may be called concurrently. A ctx that ends ends the call, not the
// connection; what was sent stays sent.
type Conn struct {
	// Immutable after Dial.
	raw    *Raw
	hello  Hello
	binary bool
	queue  int
	onPush func(Frame)
	cancel context.CancelFunc // ends the reader
	done   chan struct{}      // closed when the reader has ended, and err is set

	err error // set before done is closed

	mu      sync.Mutex
	lastRef uint64                   // Guarded by mu.
	calls   map[string]chan Frame    // Guarded by mu. By REF; nil after the end.
	subs    map[string]*Subscription // Guarded by mu. By channel; nil after the end.
}

// Dial opens a connection and waits for `hello`. The url is ws://HOST/ws or wss://HOST/ws. The error is a [*Refused]
// when the gateway answered the upgrade with an HTTP error (401: bad credential).
func Dial(ctx context.Context, url string, opts Options) (*Conn, error) {
	raw, err := DialRaw(ctx, url, opts)
	if err != nil {
		return nil, err
	}
	hello, err := readHello(ctx, raw)
	if err != nil {
		raw.Abort()
		return nil, err
	}
	reading, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &Conn{
		raw:    raw,
		hello:  hello,
		binary: opts.Binary,
		queue:  opts.Queue,
		onPush: opts.OnPush,
		cancel: cancel,
		done:   make(chan struct{}),
		calls:  make(map[string]chan Frame),
		subs:   make(map[string]*Subscription),
	}
	if c.queue == 0 {
		c.queue = defaultQueue
	}
	if c.onPush == nil {
		c.onPush = func(Frame) {}
	}
	go c.read(reading)
	return c, nil
}

func readHello(ctx context.Context, raw *Raw) (Hello, error) {
	f, err := raw.Read(ctx)
	if err != nil {
		return Hello{}, fmt.Errorf("waiting for hello: %w", err)
	}
	hello := Hello{Session: f.token(1)}
	if f.Verb() != "hello" || hello.Session == "" {
		return Hello{}, fmt.Errorf("waiting for hello: got %q", f.Head)
	}
	if err := json.Unmarshal(f.Body, &hello); err != nil {
		return Hello{}, fmt.Errorf("reading hello: %w", err)
	}
	return hello, nil
}

// Hello is what the gateway said first.
func (c *Conn) Hello() Hello { return c.hello }

// Session names this connection to backends.
func (c *Conn) Session() string { return c.hello.Session }

// Node is the gateway process that has this connection.
func (c *Conn) Node() string { return c.hello.Node }

// Done is closed at the end of the connection; [Conn.Err] then says why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is nil as long as the connection lives, then a [*Closed].
func (c *Conn) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Close ends the connection with a Close frame (1000) and returns when nothing of it is left.
func (c *Conn) Close() error {
	err := c.raw.Close(1000, "")
	c.cancel()
	<-c.done
	return err
}

// Abort ends the TCP connection without a word, as a client that crashed.
func (c *Conn) Abort() {
	c.cancel()
	c.raw.Abort()
	<-c.done
}

func (c *Conn) write(ctx context.Context, head string, body []byte) error {
	frame := []byte(head)
	if len(body) > 0 {
		frame = append(append(frame, '\n'), body...)
	}
	if limit := c.hello.MaxFrame; limit > 0 && len(frame) > limit {
		return &Error{Code: 413, Text: fmt.Sprintf("frame of %d bytes, the gateway takes %d", len(frame), limit)}
	}
	if !c.binary && !utf8.Valid(body) {
		return &Error{Code: 400, Text: "the body is not UTF-8: set Options.Binary"}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// Half a frame would end the connection, so a frame that was begun does not end with ctx.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	return c.raw.Write(ctx, c.binary, frame)
}
