package wsio

import (
	"encoding/binary"
	"fmt"

	"github.com/gobwas/ws"
)

// MaxHeader is the longest frame header in bytes: 2, and 8 for the length, and 4 for the mask (RFC 6455 section 5.2).
const MaxHeader = 14

// Header is the header of one WebSocket frame.
type Header struct {
	Fin    bool
	RSV1   bool // the message is compressed, where that was agreed on (RFC 7692 section 6)
	Masked bool
	OpCode ws.OpCode
	Mask   [4]byte
	Length int // of the payload
	Size   int // of the header itself
}

// CloseError says how a peer broke the rules: the close code that it gets, and why.
type CloseError struct {
	Code   ws.StatusCode
	Reason string
}

func (e *CloseError) Error() string { return fmt.Sprintf("close %d: %s", e.Code, e.Reason) }

// The errors are values, made once: a flood of bad frames allocates nothing.
var (
	errReserved   = &CloseError{ws.StatusProtocolError, "reserved bits are set"}
	errOpCode     = &CloseError{ws.StatusProtocolError, "unknown opcode"}
	errControl    = &CloseError{ws.StatusProtocolError, "control frame is fragmented or over 125 bytes"}
	errLength     = &CloseError{ws.StatusProtocolError, "length is not in its shortest form"}
	errMaskWanted = &CloseError{ws.StatusProtocolError, "frame is not masked"}
	errMasked     = &CloseError{ws.StatusProtocolError, "frame is masked"}
	errContinue   = &CloseError{ws.StatusProtocolError, "continuation without a beginning"}
	errInterrupt  = &CloseError{ws.StatusProtocolError, "new message inside a fragmented one"}
	errTooBig     = &CloseError{ws.StatusMessageTooBig, "frame is too large"}
	errText       = &CloseError{ws.StatusInvalidFramePayloadData, "text is not UTF-8"}
	errDeflate    = &CloseError{ws.StatusInvalidFramePayloadData, "message is not DEFLATE"}
	errClose      = &CloseError{ws.StatusProtocolError, "bad close frame"}
)

// ParseHeader reads the header at the start of b. ok is false when b does not hold all of it yet. Errors are
// [*CloseError]: reserved bits and opcodes, broken control frames, lengths not in their shortest form (section 5.2). They
// come with the first byte that shows them. RSV1 is for Check to judge.
func ParseHeader(b []byte) (h Header, ok bool, err error) {
	if len(b) == 0 {
		return h, false, nil
	}
	h.Fin = b[0]&0x80 != 0
	h.RSV1 = b[0]&0x40 != 0
	h.OpCode = ws.OpCode(b[0] & 0x0f)
	switch {
	case b[0]&0x30 != 0:
		return h, false, errReserved
	case h.OpCode.IsReserved():
		return h, false, errOpCode
	case h.OpCode.IsControl() && !h.Fin:
		return h, false, errControl
	case len(b) < 2:
		return h, false, nil
	}
	h.Masked = b[1]&0x80 != 0
	length := uint64(b[1] & 0x7f)
	if h.OpCode.IsControl() && length > 125 {
		return h, false, errControl
	}
	h.Size = 2
	switch length {
	case 126:
		if len(b) < 4 {
			return h, false, nil
		}
		length = uint64(binary.BigEndian.Uint16(b[2:]))
		if length < 126 {
			return h, false, errLength
		}
		h.Size = 4
	case 127:
		if len(b) < 10 {
			return h, false, nil
		}
		length = binary.BigEndian.Uint64(b[2:])
		if length < 1<<16 || length >= 1<<63 {
			return h, false, errLength
		}
		h.Size = 10
	}
	if length > 1<<62 {
		return h, false, errTooBig
	}
	h.Length = int(length)
	if h.Masked {
		if len(b) < h.Size+4 {
			return h, false, nil
		}
		h.Mask = [4]byte(b[h.Size:])
		h.Size += 4
	}
	return h, true, nil
}

// Check applies what depends on the connection: masked frames from clients and plain ones from servers (section 5.1),
// the order of fragments (section 5.4), and at most max bytes of payload, where fragmented says that had bytes of
// a message are already there. No reserved bit may be set.
func (h Header) Check(fromClient, fragmented bool, had, limit int) error {
	switch {
	case h.RSV1:
		return errReserved
	case h.Masked != fromClient && fromClient:
		return errMaskWanted
	case h.Masked != fromClient:
		return errMasked
	case h.OpCode.IsControl():
		return nil
	case h.OpCode == ws.OpContinuation && !fragmented:
		return errContinue
	case h.OpCode != ws.OpContinuation && fragmented:
		return errInterrupt
	case h.Length > limit-had:
		return errTooBig
	}
	return nil
}

// CheckDeflate is Check where permessage-deflate was agreed on: the first frame of a message may be marked as compressed
// (RFC 7692 section 6), and the message may be longer by what compression can add.
func (h Header) CheckDeflate(fromClient, fragmented bool, had, limit int) error {
	if h.RSV1 && (h.OpCode.IsControl() || h.OpCode == ws.OpContinuation) {
		return errReserved
	}
	h.RSV1 = false
	return h.Check(fromClient, fragmented, had, limit)
}

// AppendHeader appends the header of an unmasked, final frame of n bytes.
func AppendHeader(dst []byte, op ws.OpCode, n int) []byte {
	dst = append(dst, 0x80|byte(op))
	switch {
	case n < 126:
		return append(dst, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
}

// AppendFrame appends an unmasked frame: what a server sends.
func AppendFrame(dst []byte, op ws.OpCode, payload []byte) []byte {
	return append(AppendHeader(dst, op, len(payload)), payload...)
}

// AppendDeflated appends an unmasked frame whose payload is compressed.
func AppendDeflated(dst []byte, op ws.OpCode, payload []byte) []byte {
	at := len(dst)
	dst = AppendFrame(dst, op, payload)
	dst[at] |= 0x40
	return dst
}

// AppendMasked appends a masked frame: what a client sends.
func AppendMasked(dst []byte, op ws.OpCode, payload []byte, mask [4]byte) []byte {
	at := len(dst)
	dst = AppendHeader(dst, op, len(payload))
	dst[at+1] |= 0x80
	dst = append(dst, mask[:]...)
	body := len(dst)
	dst = append(dst, payload...)
	ws.Cipher(dst[body:], mask, 0)
	return dst
}

// AppendClose appends the payload of a Close frame: code and reason, cut to what a control frame holds.
func AppendClose(dst []byte, code ws.StatusCode, reason string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(code)), cutText(reason, 123)...)
}

// ParseClose reads the payload of a Close frame: empty, or a code that may travel and a UTF-8 reason (section 7.4).
// Code is 1005 when there is none.
func ParseClose(payload []byte) (code ws.StatusCode, reason []byte, err error) {
	if len(payload) == 0 {
		return ws.StatusNoStatusRcvd, nil, nil
	}
	if len(payload) == 1 {
		return 0, nil, errClose
	}
	code = ws.StatusCode(binary.BigEndian.Uint16(payload))
	if !mayTravel(code) {
		return 0, nil, errClose
	}
	if err := CheckText(payload[2:]); err != nil {
		return 0, nil, err
	}
	return code, payload[2:], nil
}

// mayTravel says whether code may stand in a Close frame: those of RFC 6455 and of IANA's registry, and 3000 to 4999.
func mayTravel(code ws.StatusCode) bool {
	switch {
	case code >= 3000 && code <= 4999:
		return true
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
		return true
	}
	return false
}
