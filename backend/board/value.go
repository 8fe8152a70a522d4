package board

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// maxInteger is the largest integer that every client can hold: 2^53-1.
const maxInteger = 1<<53 - 1

type valueKind uint8

const (
	kindNull valueKind = iota
	kindText
	kindInteger
	kindBool
	kindPlace
)

// Value is what a register holds: nothing, a text, an integer, a truth or a [Place]. The zero value is nothing. Values are
// compared with ==. In JSON: null, string, number, boolean, and a place as ["LANE","POS"].
type Value struct {
	kind valueKind
	n    int64
	text string // of a place, its lane
	pos  string
}

// Place is where a row stands: a lane, which is an ordered list, and a position there. The lane of a column is "", that of
// a card the ID of its column, that of an item the ID of its card.
type Place struct{ Lane, Pos string }

// Text is a text as a value.
func Text(s string) Value { return Value{kind: kindText, text: s} }

// Integer is an integer as a value.
func Integer(n int64) Value { return Value{kind: kindInteger, n: n} }

// Bool is a truth as a value.
func Bool(b bool) Value {
	v := Value{kind: kindBool}
	if b {
		v.n = 1
	}
	return v
}

// At is a place as a value.
func At(lane, pos string) Value { return Value{kind: kindPlace, text: lane, pos: pos} }

// IsNull reports whether v is nothing.
func (v Value) IsNull() bool { return v.kind == kindNull }

// Text is the text that v is, or "".
func (v Value) Text() string {
	if v.kind != kindText {
		return ""
	}
	return v.text
}

// Integer is the integer that v is, or 0.
func (v Value) Integer() int64 {
	if v.kind != kindInteger {
		return 0
	}
	return v.n
}

// Bool is the truth that v is, or false.
func (v Value) Bool() bool { return v.kind == kindBool && v.n == 1 }

// Place is the place that v is; false if it is none.
func (v Value) Place() (Place, bool) { return Place{v.text, v.pos}, v.kind == kindPlace }

// String is v as JSON.
func (v Value) String() string {
	b, err := v.MarshalJSON()
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// MarshalJSON implements [json.Marshaler].
func (v Value) MarshalJSON() ([]byte, error) { return v.appendJSON(nil) }

func (v Value) appendJSON(b []byte) ([]byte, error) {
	switch v.kind {
	case kindText:
		return appendQuoted(b, v.text)
	case kindInteger:
		return strconv.AppendInt(b, v.n, 10), nil
	case kindBool:
		return strconv.AppendBool(b, v.n == 1), nil
	case kindPlace:
		b, err := appendQuoted(append(b, '['), v.text)
		if err != nil {
			return nil, err
		}
		if b, err = appendQuoted(append(b, ','), v.pos); err != nil {
			return nil, err
		}
		return append(b, ']'), nil
	default:
		return append(b, "null"...), nil
	}
}

// appendQuoted appends s as JSON. Nearly all texts are in printable ASCII, which needs no more than quotes.
func appendQuoted(b []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := marshalPlain(s)
			return append(b, quoted...), err
		}
	}
	return append(append(append(b, '"'), s...), '"'), nil
}

// marshalPlain is json.Marshal without the escapes that only HTML needs.
func marshalPlain(x any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(x)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// UnmarshalJSON implements [json.Unmarshaler]. Fractions, objects and integers over 2^53-1 are errors.
func (v *Value) UnmarshalJSON(data []byte) error {
	switch data[0] {
	case 'n':
		*v = Value{}
		return nil
	case 't', 'f':
		*v = Bool(data[0] == 't')
		return nil
	case '"':
		var s string
		err := json.Unmarshal(data, &s)
		*v = Text(s)
		return err
	case '[':
		var p []string
		if err := json.Unmarshal(data, &p); err != nil || len(p) != 2 {
			return fmt.Errorf("%.40s is no place: want [\"LANE\",\"POS\"]", data)
		}
		*v = At(p[0], p[1])
		return nil
	default:
		n, err := strconv.ParseInt(string(data), 10, 64)
		if err != nil || n > maxInteger || n < -maxInteger {
			return fmt.Errorf("%.40s is no value: want null, a text, an integer up to %d, a truth or a place", data, int64(maxInteger))
		}
		*v = Integer(n)
		return nil
	}
}

// appendCanonical appends the one way in which v is written to be hashed: "n", "sBYTES:…", "iDECIMAL;", "t", "f", or "p"
// with the two texts of a place.
func (v Value) appendCanonical(b []byte) []byte {
	switch v.kind {
	case kindText:
		return appendText(b, v.text)
	case kindInteger:
		return append(strconv.AppendInt(append(b, 'i'), v.n, 10), ';')
	case kindBool:
		if v.n == 1 {
			return append(b, 't')
		}
		return append(b, 'f')
	case kindPlace:
		return appendText(appendText(append(b, 'p'), v.text), v.pos)
	default:
		return append(b, 'n')
	}
}

func appendText(b []byte, s string) []byte {
	b = strconv.AppendInt(append(b, 's'), int64(len(s)), 10)
	return append(append(b, ':'), s...)
}
