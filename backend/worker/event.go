package worker

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
)

// Event is something that a client did. It and its methods belong to the handler until that returns.
//
// What the methods ask for is collected, and written together with the acknowledgement once the handler has returned
// nil; after an error it is thrown away. Bodies are copied.
type Event struct {
	Kind    stream.Kind // pub, req; open, close, sub, unsub, auth where the gateway sends them
	Channel string      // "" for open, close, auth
	User    string
	ID      string    // the client's idempotency key, may be ""
	Conn    string    // session of the client's connection
	Node    string    // the gateway that has it
	At      time.Time // when the gateway had it, to the millisecond; zero if it did not say
	Trace   string    // W3C traceparent, may be ""; effects carry it, so a handler that finds one in Data sets it here
	Attempt int64     // 1 at first; more: a process may have died over it and left half of what a handler does
	Binary  bool      // encoding of Data: binary, or text
	Data    []byte

	ref          string
	at           int64
	entry        redis.Ref
	seen         string         // key that marks it as processed; "" without ID
	answered     *stream.Answer // to a req
	publications []stream.Publication
	answers      []redis.NodeAnswer
}

// Option changes one effect.
type Option func(*effect)

type effect struct {
	binary         bool
	id, skip       string
	nodeID, connID string
}

// Binary sets the encoding: binary, or text. Without it an effect has the encoding of its event. A text that is not
// UTF-8 goes out as binary, since clients close a connection on which they get it as text.
func Binary(binary bool) Option { return func(f *effect) { f.binary = binary } }

// Skip leaves out one connection of the channel's subscribers, for example the publisher's, [Event.Conn].
func Skip(conn string) Option { return func(f *effect) { f.skip = conn } }

// ID sets the publication's ID; without it that is the ID of the event.
func ID(id string) Option { return func(f *effect) { f.id = id } }

// To has [Event.Send] go to another connection: the [Event.Node] and [Event.Conn] of one of its events.
func To(node, conn string) Option { return func(f *effect) { f.nodeID, f.connID = node, conn } }

// newEvent reads an entry. Its error wraps [stream.ErrEntry].
func newEvent(d redis.Delivery, keys stream.Keys) (*Event, error) {
	in, err := stream.DecodeEvent(d.Fields)
	if err != nil {
		return nil, err
	}
	e := &Event{
		Kind: in.Kind, Channel: in.Channel, User: in.User, ID: in.ID, Conn: in.Conn, Node: in.Node,
		Trace: in.Trace, Binary: in.Binary, Data: []byte(in.Data),
		Attempt: d.Attempt, ref: in.Ref, at: in.At, entry: d.Ref,
	}
	if in.At > 0 {
		e.At = time.UnixMilli(in.At)
	}
	if e.ID != "" {
		e.seen = keys.Seen(d.Partition, e.User, e.ID)
	}
	return e, nil
}

// Namespace is the part of the channel before the first ':', or all of it; "" without a channel.
func (e *Event) Namespace() string {
	namespace, _, _ := strings.Cut(e.Channel, ":")
	return namespace
}

// Reply answers a req with data. A client gets one answer: later ones are dropped, as is the answer to an event whose
// client wants none.
func (e *Event) Reply(data []byte, opts ...Option) {
	if e.Kind != stream.KindReq {
		return
	}
	f := e.effect(data, opts)
	e.answer(stream.Answer{Kind: stream.KindRes, Binary: f.binary, Data: string(data)})
}

// ReplyError answers a req with an error, as [Event.Reply] does. code is 100 to 4999 (docs/PROTOCOL.md section 5; others
// become 500), text one line for people.
func (e *Event) ReplyError(code int, text string) {
	if e.Kind != stream.KindReq {
		return
	}
	if code < 100 || code > 4999 {
		code = codeFailed
	}
	e.answer(stream.Answer{Kind: stream.KindErr, Code: code, Data: text})
}

// Codes of answers that no handler gave (docs/PROTOCOL.md section 5).
const (
	codeDenied    = 403
	codeNoHandler = 404
	codeDone      = 409
	codeFailed    = 500
	codeKicked    = 4102
)

// Asked says whether the gateway waits for an answer: [Event.Reply] or [Event.ReplyError] to a req; [Event.Grant] or [Event.Deny] to an open or a sub
// where the gateway or the namespace has authorize: backend.
func (e *Event) Asked() bool { return e.ref != "" && e.ref != "-" }

// Grant allows what an open or a sub asks for: to be connected, or to subscribe. The gateway remembers it for the user, and for the channel, as
// long as ttl says, and does not ask again meanwhile; with 0 it asks each time. A revoke or a kick ends that.
func (e *Event) Grant(ttl time.Duration) {
	if e.Kind == stream.KindReq {
		return
	}
	var data string
	if ms := ttl.Milliseconds(); ms > 0 {
		data = `{"ttl_ms":` + strconv.FormatInt(ms, 10) + `}`
	}
	e.answer(stream.Answer{Kind: stream.KindGrant, Data: data})
}

// Deny refuses what an open or a sub asks for: the client gets err CODE and text for a sub, bye 4100 for an open. A code of 0 is 403.
// What is neither granted nor denied when the handler returns is denied.
func (e *Event) Deny(code int, text string) {
	if e.Kind == stream.KindReq {
		return
	}
	if code < 400 || code > 4999 {
		code = codeDenied
	}
	e.answer(stream.Answer{Kind: stream.KindErr, Code: code, Data: text})
}

func (e *Event) answer(a stream.Answer) {
	if !e.Asked() || e.Kind == stream.KindPub || e.answered != nil {
		return
	}
	e.answered = &a
	a.Conn, a.Ref = e.Conn, e.ref
	e.answers = append(e.answers, redis.NodeAnswer{Node: e.Node, Answer: a})
}

// Publish sends data to everyone who is subscribed to channel, on all gateways. It carries the event's trace and time,
// by which its way can be followed.
func (e *Event) Publish(channel string, data []byte, opts ...Option) {
	f := e.effect(data, opts)
	e.publications = append(e.publications, stream.Publication{
		Channel: channel, ID: f.id, Trace: e.Trace, At: e.at, Skip: f.skip, Binary: f.binary, Data: string(data),
	})
}

// Send sends data to one connection as a push of channel, subscribed or not: the event's own, or see [To]. It is lost
// when that connection is gone.
func (e *Event) Send(channel string, data []byte, opts ...Option) {
	f := e.effect(data, opts)
	e.answers = append(e.answers, redis.NodeAnswer{Node: f.nodeID, Answer: stream.Answer{
		Kind: stream.KindMsg, Conn: f.connID, Channel: channel, Binary: f.binary, Data: string(data),
	}})
}

// Close ends the event's connection: its client gets bye CODE and text, one line for people. code is 1001 or 4000 to 4999
// (others become 4102). A connection that has gone is none.
func (e *Event) Close(code int, text string) {
	if code != 1001 && (code < 4000 || code > 4999) {
		code = codeKicked
	}
	e.answers = append(e.answers, redis.NodeAnswer{Node: e.Node, Answer: stream.Answer{
		Kind: stream.KindClose, Conn: e.Conn, Code: code, Data: text,
	}})
}

// Revoke ends the subscriptions of a user to a channel, on all gateways.
func (e *Event) Revoke(channel, user string) {
	e.publications = append(e.publications, stream.Publication{Kind: stream.KindRevoke, Channel: channel, User: user})
}

// Kick closes the connections of a user with 4102, on all gateways.
func (e *Event) Kick(user string) {
	e.publications = append(e.publications, stream.Publication{Kind: stream.KindKick, User: user})
}

func (e *Event) effect(data []byte, opts []Option) effect {
	f := effect{binary: e.Binary, id: e.ID, nodeID: e.Node, connID: e.Conn}
	for _, o := range opts {
		o(&f)
	}
	f.binary = f.binary || !utf8.Valid(data)
	return f
}

// fail replaces whatever the handler asked for by one error answer.
func (e *Event) fail(code int, text string) {
	e.clear()
	e.seen = "" // the client may try the same ID again
	e.ReplyError(code, text)
	e.Deny(code, text)
}

// clear throws away what was asked for.
func (e *Event) clear() { e.publications, e.answers, e.answered = nil, nil, nil }

// outcome is what is committed for the event.
func (e *Event) outcome() redis.Outcome {
	e.Deny(codeDenied, "the backend does not allow it") // unless it has answered
	o := redis.Outcome{Ref: e.entry, Seen: e.seen, Publications: e.publications, Answers: e.answers}
	if o.Seen != "" {
		o.SeenValue = keptAnswer(e.answered)
	}
	return o
}
