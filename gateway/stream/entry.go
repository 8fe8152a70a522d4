package stream

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Kind is the field "kind" of an entry.
type Kind string

// Kinds of [Event], [Publication] and [Answer].
const (
	KindPub   Kind = "pub"
	KindReq   Kind = "req"
	KindOpen  Kind = "open"
	KindClose Kind = "close"
	KindSub   Kind = "sub"
	KindUnsub Kind = "unsub"
	KindAuth  Kind = "auth"

	KindRevoke Kind = "revoke"
	KindKick   Kind = "kick"

	KindRes   Kind = "res"
	KindErr   Kind = "err"
	KindMsg   Kind = "msg"
	KindGrant Kind = "grant"
)

// Encodings of a body, field "enc": the opcode that the client sent, and that subscribers get.
const (
	EncText   = "t"
	EncBinary = "b"
)

// ErrEntry is wrapped by every decoding error.
var ErrEntry = errors.New("bad stream entry")

// Event is one entry of an `in` stream: something a client did.
type Event struct {
	Kind    Kind
	Channel string // absent for open, close, auth
	Node    string // the gateway process that has the connection
	Conn    string // session of the connection
	User    string
	Ref     string // the client's REF, "-" when no answer is wanted
	ID      string // idempotency key, may be empty
	At      int64  // unix ms when the gateway had it
	Trace   string // W3C traceparent, may be empty
	Binary  bool   // enc
	Data    string
}

// AppendFields appends the entry's fields and values, as XADD takes them; empty optional fields are left out.
func (e *Event) AppendFields(v []string) []string {
	v = append(v, "kind", string(e.Kind))
	v = appendField(v, "ch", e.Channel)
	v = append(v, "node", e.Node, "conn", e.Conn, "user", e.User, "ref", e.Ref)
	v = appendField(v, "id", e.ID)
	v = append(v, "at", strconv.FormatInt(e.At, 10))
	v = appendField(v, "trace", e.Trace)
	return append(v, "enc", enc(e.Binary), "data", e.Data)
}

// Values are the same as values of any type.
func (e *Event) Values() []any { return anyValues(e.AppendFields(nil)) }

// DecodeEvent reads an `in` entry from its fields and values. Unknown fields are passed over: the contract may grow.
func DecodeEvent(fields []string) (Event, error) {
	var e Event
	err := eachField(fields, func(name, value string) (err error) {
		switch name {
		case "kind":
			e.Kind = Kind(value)
		case "ch":
			e.Channel = value
		case "node":
			e.Node = value
		case "conn":
			e.Conn = value
		case "user":
			e.User = value
		case "ref":
			e.Ref = value
		case "id":
			e.ID = value
		case "at":
			e.At, err = decodeInt(name, value)
		case "trace":
			e.Trace = value
		case "enc":
			e.Binary, err = decodeEnc(value)
		case "data":
			e.Data = value
		}
		return err
	})
	if err != nil {
		return Event{}, err
	}
	switch e.Kind {
	case KindPub, KindReq, KindSub, KindUnsub:
		if e.Channel == "" {
			return Event{}, fmt.Errorf("%w: kind %s without ch", ErrEntry, e.Kind)
		}
	case KindOpen, KindClose, KindAuth:
	default:
		return Event{}, fmt.Errorf("%w: unknown kind %q", ErrEntry, e.Kind)
	}
	return e, nil
}

// Publication is one entry of an `out` stream: something for everyone on a channel. Only Channel and Data are required.
type Publication struct {
	Kind    Kind // pub (default), revoke, kick
	Channel string
	User    string // revoke, kick
	ID      string
	Trace   string
	At      int64
	Skip    string // session that must not get it
	Binary  bool
	Data    string
}

// AppendFields appends the entry's fields and values, as XADD takes them.
func (p *Publication) AppendFields(v []string) []string {
	if p.Kind != "" && p.Kind != KindPub {
		v = append(v, "kind", string(p.Kind))
	}
	v = appendField(v, "ch", p.Channel)
	v = appendField(v, "user", p.User)
	v = appendField(v, "id", p.ID)
	v = appendField(v, "trace", p.Trace)
	v = appendField(v, "skip", p.Skip)
	if p.At != 0 {
		v = append(v, "at", strconv.FormatInt(p.At, 10))
	}
	if p.Binary {
		v = append(v, "enc", EncBinary)
	}
	return append(v, "data", p.Data)
}

// Partition is where it belongs, of n partitions: a kick has no channel, and goes to the partition of its user.
func (p *Publication) Partition(n int) int {
	if p.Kind == KindKick {
		return Partition(p.User, n)
	}
	return Partition(p.Channel, n)
}

// Values are the same as values of any type.
func (p *Publication) Values() []any { return anyValues(p.AppendFields(nil)) }

// DecodePublication reads an `out` entry. A pub or revoke without ch and a revoke or kick without user are errors.
func DecodePublication(fields []string) (Publication, error) {
	p := Publication{Kind: KindPub}
	err := eachField(fields, func(name, value string) (err error) {
		switch name {
		case "kind":
			p.Kind = Kind(value)
		case "ch":
			p.Channel = value
		case "user":
			p.User = value
		case "id":
			p.ID = value
		case "trace":
			p.Trace = value
		case "at":
			p.At, err = decodeInt(name, value)
		case "skip":
			p.Skip = value
		case "enc":
			p.Binary, err = decodeEnc(value)
		case "data":
			p.Data = value
		}
		return err
	})
	if err != nil {
		return Publication{}, err
	}
	switch p.Kind {
	case KindPub, KindRevoke, KindKick:
	default:
		return Publication{}, fmt.Errorf("%w: unknown kind %q", ErrEntry, p.Kind)
	}
	if p.Channel == "" && p.Kind != KindKick {
		return Publication{}, fmt.Errorf("%w: kind %s without ch", ErrEntry, p.Kind)
	}
	if p.User == "" && p.Kind != KindPub {
		return Publication{}, fmt.Errorf("%w: kind %s without user", ErrEntry, p.Kind)
	}
	return p, nil
}

// Answer is one entry of a node stream: something for one connection.
type Answer struct {
	Kind    Kind // res, err, msg, close, grant
	Conn    string
	Ref     string // res, err, grant
	Channel string // msg
	Code    int    // err, close
	Binary  bool
	Data    string
}

// AppendFields appends the entry's fields and values, as XADD takes them.
func (a *Answer) AppendFields(v []string) []string {
	v = append(v, "kind", string(a.Kind), "conn", a.Conn)
	v = appendField(v, "ref", a.Ref)
	v = appendField(v, "ch", a.Channel)
	if a.Code != 0 {
		v = append(v, "code", strconv.Itoa(a.Code))
	}
	if a.Binary {
		v = append(v, "enc", EncBinary)
	}
	return append(v, "data", a.Data)
}

// Values are the same as values of any type.
func (a *Answer) Values() []any { return anyValues(a.AppendFields(nil)) }

// DecodeAnswer reads an entry of a node stream. Each kind but the gateway's own must name its conn.
func DecodeAnswer(fields []string) (Answer, error) {
	var a Answer
	err := eachField(fields, func(name, value string) (err error) {
		switch name {
		case "kind":
			a.Kind = Kind(value)
		case "conn":
			a.Conn = value
		case "ref":
			a.Ref = value
		case "ch":
			a.Channel = value
		case "code":
			var n int64
			n, err = decodeInt(name, value)
			a.Code = int(n)
		case "enc":
			a.Binary, err = decodeEnc(value)
		case "data":
			a.Data = value
		}
		return err
	})
	if err != nil {
		return Answer{}, err
	}
	switch a.Kind {
	case KindRes, KindErr, KindGrant:
		if a.Ref == "" {
			return Answer{}, fmt.Errorf("%w: kind %s without ref", ErrEntry, a.Kind)
		}
	case KindMsg, KindClose:
	default:
		return Answer{}, fmt.Errorf("%w: unknown kind %q", ErrEntry, a.Kind)
	}
	if a.Conn == "" {
		return Answer{}, fmt.Errorf("%w: kind %s without conn", ErrEntry, a.Kind)
	}
	if a.Code < 0 || a.Code > 4999 {
		return Answer{}, fmt.Errorf("%w: code %d", ErrEntry, a.Code)
	}
	return a, nil
}

func eachField(fields []string, set func(name, value string) error) error {
	if len(fields)%2 != 0 {
		return fmt.Errorf("%w: %d fields and values", ErrEntry, len(fields))
	}
	for i := 0; i < len(fields); i += 2 {
		if err := set(fields[i], fields[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func appendField(v []string, name, value string) []string {
	if value == "" {
		return v
	}
	return append(v, name, value)
}

func anyValues(fields []string) []any {
	values := make([]any, len(fields))
	for i, f := range fields {
		values[i] = f
	}
	return values
}

// CloneFields copies fields whose strings are views of a buffer: the strings are new, the slice is the same.
func CloneFields(fields []string) []string {
	all := strings.Clone(strings.Join(fields, "")) // of one string Join makes no copy
	for i, f := range fields {
		fields[i], all = all[:len(f)], all[len(f):]
	}
	return fields
}

func decodeInt(name, value string) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %s %q is not a number", ErrEntry, name, value)
	}
	return n, nil
}

func enc(binary bool) string {
	if binary {
		return EncBinary
	}
	return EncText
}

func decodeEnc(value string) (binary bool, err error) {
	switch value {
	case EncText, "":
		return false, nil
	case EncBinary:
		return true, nil
	}
	return false, fmt.Errorf("%w: enc %q is neither t nor b", ErrEntry, value)
}
