package wsio

import "github.com/gobwas/ws"

// Payload follows the payload of one frame while it comes: what is new is unmasked in place, and checked at once if it is
// text, so that bytes which cannot become UTF-8 fail when they are there, not at the end of the frame or the message. The
// zero value is the beginning.
type Payload struct {
	done int // bytes that have been looked at
	text Text
}

// Take looks at what is new in b, which is the payload of h as far as it has come, and on further calls the same bytes with
// more behind them. The error is a [*CloseError].
func (p *Payload) Take(h Header, b []byte, text bool) error {
	fresh := b[p.done:]
	if h.Masked {
		ws.Cipher(fresh, h.Mask, p.done)
	}
	p.done = len(b)
	if text && (!p.text.Add(fresh) || h.Fin && len(b) == h.Length && !p.text.Complete()) {
		return errText
	}
	return nil
}

// Fragments puts one fragmented message together (RFC 6455 section 5.4). It exists only while a message is
// incomplete; Header.Check has seen to order and size, and Payload to text.
type Fragments struct {
	OpCode   ws.OpCode
	Deflated bool // the message is compressed
	data     []byte
	text     Text
}

// Len is how many bytes of payload are there.
func (f *Fragments) Len() int { return len(f.data) }

// Next is the beginning of the next frame: its text goes on where the last one ended.
func (f *Fragments) Next() Payload { return Payload{text: f.text} }

// Add appends a frame, of which p has seen all.
func (f *Fragments) Add(h Header, payload []byte, p Payload) {
	if h.OpCode != ws.OpContinuation {
		f.OpCode, f.Deflated = h.OpCode, h.RSV1
	}
	f.text = p.text
	f.data = append(f.data, payload...)
}

// Message is the whole payload, once the final frame has been added.
func (f *Fragments) Message() []byte { return f.data }

// CheckText checks a message that is all there.
func CheckText(payload []byte) error {
	var t Text
	if !t.Add(payload) || !t.Complete() {
		return errText
	}
	return nil
}
