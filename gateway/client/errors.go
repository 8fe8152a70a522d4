package client

import (
	"errors"
	"fmt"
	"time"
)

// ErrUnsubscribed is what [Subscription.Next] says after [Conn.Unsubscribe].
var ErrUnsubscribed = errors.New("unsubscribed")

// Error is an answer `err`, or the reason of a `revoke`. The codes are those of docs/PROTOCOL.md, section 5.
type Error struct {
	Code int
	Text string
}

func (e *Error) Error() string { return fmt.Sprintf("%d %s", e.Code, e.Text) }

// Refused says that the gateway answered the upgrade with something else than a WebSocket.
type Refused struct {
	Status int    // HTTP
	Text   string // the beginning of the body
}

func (e *Refused) Error() string {
	return fmt.Sprintf("upgrade refused: HTTP %d: %s", e.Status, e.Text)
}

// Bye is the push `bye`: why the gateway closes the connection, and when to come back.
type Bye struct {
	Code  int
	Delay time.Duration // wait this long before dialing again
	Text  string
}

// Closed is the end of a connection.
type Closed struct {
	Code   int    // of the Close frame; 1005 when it had none, 1006 when there was no Close frame at all
	Reason string // of the Close frame
	Bye    *Bye   // what the gateway said before; nil when it said nothing
	err    error
}

func (e *Closed) Error() string {
	text := fmt.Sprintf("connection closed: %d", e.Code)
	if e.Reason != "" {
		text += " " + e.Reason
	}
	if e.Bye != nil {
		text += fmt.Sprintf(" (bye %d %s)", e.Bye.Code, e.Bye.Text)
	}
	return text
}

// Unwrap is what the WebSocket said.
func (e *Closed) Unwrap() error { return e.err }
