// Package fleet is what a run and its agents say to each other: frames of a length (4 bytes, big-endian) and one [Message] in gob, over TCP.
//
//	run                                agent
//	Clock, several times          ─▶
//	                              ◀─   Clock: its own
//	Hello: scenario, share        ─▶
//	                              ◀─   Mark, Second …
//	Heard, after each Second      ─▶
//	                              ◀─   Joined: who is subscribed
//	Begin: all subscribers        ─▶
//	                              ◀─   Drained: what was published
//	Conclude: by all of them      ─▶
//	                              ◀─   Final
//	Stop, at any time             ─▶
//
// There is neither authentication nor encryption: agents listen where only those reach them who may make load.
package fleet

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

// Protocol is the number of what is described here; both sides must have the same.
const Protocol = 1

// Busy is the fault of an agent that has another run.
const Busy = "it is busy with another run"

const (
	maxMessage   = 64 << 20 // bytes
	writeTimeout = 10 * time.Second
)

// Message is one thing that is said: exactly one field is set.
type Message struct {
	Clock    *Clock
	Hello    *Hello
	Mark     *swarm.Mark
	Second   *Second
	Joined   *swarm.Roll
	Begin    *Begin
	Drained  *swarm.Closing
	Conclude *Conclude
	Final    []byte // gob of package loadtest's
	Stop     bool
	Heard    bool
	Fault    string // why the agent cannot go on
}

// Clock asks for the time, and tells it: CLOCK_MONOTONIC in ns.
type Clock struct{ Nanos int64 }

// Hello hands out a share of a run.
type Hello struct {
	Protocol  int
	Version   string // of the program
	Scenario  []byte // gob of package loadtest's, with its credentials
	Index, Of int
	Run       uint32
	Offset    int64 // ns: what the agent's clock is ahead of the run's
}

// Begin tells that all agents have their subscribers.
type Begin struct{ Reach []int64 }

// Conclude tells what all agents have published.
type Conclude struct{ All []swarm.Closing }

// Silence is how long either side waits for a message before it takes the other for lost: something is said each second.
const Silence = 30 * time.Second

// Conn is one side of a connection. Send may be called from several goroutines, Receive from one.
type Conn struct {
	conn    net.Conn
	in      *bufio.Reader
	sending sync.Mutex
}

// NewConn speaks over a connection, which it owns from then on.
func NewConn(c net.Conn) *Conn { return &Conn{conn: c, in: bufio.NewReader(c)} }

// Close ends the connection; it may be called again.
func (c *Conn) Close() error { return c.conn.Close() }

// Send writes one message.
func (c *Conn) Send(m Message) error {
	b, err := Encode(m)
	if err != nil {
		return err
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err = c.conn.Write(b)
	return err
}

// Receive waits for the next message, for [Silence] at most.
func (c *Conn) Receive() (m Message, err error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(Silence)); err != nil {
		return m, err
	}
	return read(c.in)
}

// Encode writes a message as a frame.
func Encode(m Message) ([]byte, error) {
	var b bytes.Buffer
	b.Write(make([]byte, 4))
	if err := gob.NewEncoder(&b).Encode(m); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if b.Len()-4 > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes is longer than %d", b.Len()-4, maxMessage)
	}
	binary.BigEndian.PutUint32(b.Bytes(), uint32(b.Len()-4))
	return b.Bytes(), nil
}

func read(r io.Reader) (m Message, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return m, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxMessage {
		return m, fmt.Errorf("a message of %d bytes is longer than %d: this is no loadtest", n, maxMessage)
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		return m, err
	}
	if err := gob.NewDecoder(&b).Decode(&m); err != nil {
		return m, fmt.Errorf("decode: %w", err)
	}
	return m, nil
}
