package wsio

import "github.com/gobwas/ws"

// Fragments puts one fragmented message together (RFC 6455 section 5.4). It exists only while a message is
// incomplete; Header.Check has seen to order and size.
type Fragments struct {
	OpCode ws.OpCode
	data   []byte
	text   Text
}

// Len is how many bytes of payload are there.
func (f *Fragments) Len() int { return len(f.data) }

// Add appends an unmasked frame. Text is checked as it comes: bytes that cannot become UTF-8 fail at once, not at the
// end of the message.
func (f *Fragments) Add(h Header, payload []byte) error {
	if h.OpCode != ws.OpContinuation {
		f.OpCode = h.OpCode
	}
	if f.OpCode == ws.OpText && (!f.text.Add(payload) || h.Fin && !f.text.Complete()) {
		return errText
	}
	f.data = append(f.data, payload...)
	return nil
}

// Message is the whole payload, once the final frame has been added.
func (f *Fragments) Message() []byte { return f.data }

// CheckText checks a message that came in one frame.
func CheckText(payload []byte) error {
	var t Text
	if !t.Add(payload) || !t.Complete() {
		return errText
	}
	return nil
}
