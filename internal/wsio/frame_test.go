package wsio

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

func wantCode(t *testing.T, err error, code ws.StatusCode) {
	t.Helper()
	var ce *CloseError
	if !errors.As(err, &ce) || ce.Code != code {
		t.Fatalf("error %v, want close code %d", err, code)
	}
}

func TestParseHeaderRefuses(t *testing.T) {
	f := func(name string, b ...byte) {
		t.Helper()
		_, ok, err := ParseHeader(b)
		if ok {
			t.Fatalf("%s was accepted", name)
		}
		wantCode(t, err, ws.StatusProtocolError)
	}
	f("RSV2", 0xa1)
	f("RSV3", 0x91)
	f("all reserved bits", 0xf1)
	f("opcode 3", 0x83)
	f("opcode 11", 0x8b)
	f("fragmented ping", 0x09)
	f("ping of 126 bytes", 0x89, 0xfe, 0, 126)
	f("5 as 16 bits", 0x81, 0xfe, 0, 5)
	f("125 as 16 bits", 0x81, 0xfe, 0, 125)
	f("5 as 64 bits", 0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 5)
	f("65535 as 64 bits", 0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff)
	f("negative length", 0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0)
}

func TestCheck(t *testing.T) {
	head := func(op ws.OpCode, masked bool, n int) Header {
		return Header{Fin: true, OpCode: op, Masked: masked, Length: n}
	}
	f := func(h Header, fromClient, fragmented bool, had int, code ws.StatusCode) {
		t.Helper()
		err := h.Check(fromClient, fragmented, had, 100)
		if code == 0 {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		wantCode(t, err, code)
	}
	f(head(ws.OpText, true, 100), true, false, 0, 0)
	f(head(ws.OpText, true, 101), true, false, 0, 1009)
	f(head(ws.OpContinuation, true, 60), true, true, 40, 0)
	f(head(ws.OpContinuation, true, 61), true, true, 40, 1009)
	f(head(ws.OpContinuation, true, 1), true, false, 0, 1002)
	f(head(ws.OpBinary, true, 1), true, true, 1, 1002)
	f(head(ws.OpPing, true, 125), true, true, 100, 0)
	f(head(ws.OpText, false, 1), true, false, 0, 1002)
	f(head(ws.OpText, true, 1), false, false, 0, 1002)
	f(head(ws.OpText, false, 1), false, false, 0, 0)
	packed := func(h Header) Header { h.RSV1 = true; return h }
	f(packed(head(ws.OpText, true, 1)), true, false, 0, 1002)

	g := func(h Header, fragmented bool, code ws.StatusCode) {
		t.Helper()
		if err := h.CheckDeflate(true, fragmented, 0, 100); code != 0 {
			wantCode(t, err, code)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	g(packed(head(ws.OpText, true, 1)), false, 0)
	g(head(ws.OpText, true, 1), false, 0)
	g(head(ws.OpContinuation, true, 1), true, 0)
	g(packed(head(ws.OpContinuation, true, 1)), true, 1002)
	g(packed(head(ws.OpPing, true, 1)), false, 1002)
	g(packed(head(ws.OpClose, true, 0)), false, 1002)
	g(packed(head(ws.OpBinary, true, 101)), false, 1009)
}

func TestClosePayload(t *testing.T) {
	f := func(payload string, code ws.StatusCode, bad bool) {
		t.Helper()
		got, _, err := ParseClose([]byte(payload))
		if bad {
			wantCode(t, err, code)
		} else if err != nil || got != code {
			t.Fatalf("%q: %d, %v; want %d", payload, got, err, code)
		}
	}
	f("", 1005, false)
	f("\x03\xe8", 1000, false)
	f("\x03\xf4", 1012, false)
	f("\x0f\xa0bye", 4000, false)
	f("\x03", 1002, true)
	for _, code := range []string{"\x03\xe7", "\x03\xec", "\x03\xed", "\x03\xee", "\x03\xf7", "\x07\xd0", "\x13\x88", "\x00\x00"} {
		f(code, 1002, true)
	}
	f("\x03\xe8\xff", 1007, true)
	if got := AppendClose(nil, 1000, string(bytes.Repeat([]byte("é"), 100))); len(got) > 125 || !utf8.Valid(got[2:]) {
		t.Fatalf("close payload of %d bytes, or a character cut", len(got))
	}
}

func TestFramesRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 70000} {
		payload := bytes.Repeat([]byte{'x'}, n)
		plain := AppendFrame(nil, ws.OpBinary, payload)
		masked := AppendMasked(nil, ws.OpBinary, payload, [4]byte{1, 2, 3, 4})
		for _, frame := range [][]byte{plain, masked} {
			h, ok, err := ParseHeader(frame)
			if !ok || err != nil || h.Length != n || !h.Fin || h.OpCode != ws.OpBinary || h.Size+n != len(frame) {
				t.Fatalf("%d bytes: %+v, %v, %v", n, h, ok, err)
			}
			got := frame[h.Size:]
			if h.Masked {
				ws.Cipher(got, h.Mask, 0)
			}
			if !bytes.Equal(got, payload) {
				t.Fatalf("%d bytes changed", n)
			}
		}
	}
}

// The property: a text cut anywhere is accepted exactly when the whole is UTF-8, and refused no later than the whole.
func TestTextAtAnyCut(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"a", "é", "€", "😀", "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80", "\xf0\x9f"}
	for range 20_000 {
		var b []byte
		for range rng.IntN(6) {
			i := rng.IntN(len(alphabet))
			if rng.IntN(3) > 0 {
				i = rng.IntN(4)
			}
			b = append(b, alphabet[i]...)
		}
		var text Text
		ok := true
		for rest := b; ok && len(rest) > 0; {
			n := 1 + rng.IntN(len(rest))
			ok = text.Add(rest[:n])
			rest = rest[n:]
		}
		if got := ok && text.Complete(); got != utf8.Valid(b) {
			t.Fatalf("%q: %v in pieces, %v whole", b, got, utf8.Valid(b))
		}
	}
}

func TestTextFailsAtTheFirstWrongByte(t *testing.T) {
	var text Text
	if !text.Add([]byte("ok \xf4")) || text.Add([]byte{0x90}) {
		t.Fatal("F4 90 can not become a character, but was taken")
	}
}

func TestReadingAFrameDoesNotAllocate(t *testing.T) {
	frame := AppendMasked(nil, ws.OpText, []byte("pub 1 echo:x\nhello"), [4]byte{1, 2, 3, 4})
	n := testing.AllocsPerRun(1000, func() {
		h, ok, err := ParseHeader(frame)
		if !ok || err != nil || h.Check(true, false, 0, 1000) != nil {
			t.Fatal("refused")
		}
		var p Payload
		if p.Take(h, frame[h.Size:h.Size+9], true) != nil || p.Take(h, frame[h.Size:], true) != nil {
			t.Fatal("refused")
		}
		ws.Cipher(frame[h.Size:], h.Mask, 0)
	})
	if n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// FuzzParseHeader compares with gobwas/ws wherever that accepts, and asks that more bytes never change an answer.
func FuzzParseHeader(f *testing.F) {
	f.Add([]byte{0x81, 0x85, 1, 2, 3, 4, 5})
	f.Add([]byte{0x82, 0xfe, 1, 0, 1, 2, 3, 4})
	f.Add([]byte{0x89, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 9, 9, 9, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok, err := ParseHeader(b)
		ref, refErr := ws.ReadHeader(bytes.NewReader(b))
		if ok {
			if refErr != nil || ref.Fin != h.Fin || ref.OpCode != h.OpCode || ref.Masked != h.Masked || ref.Length != int64(h.Length) || ref.Mask != h.Mask {
				t.Fatalf("%x: %+v, gobwas says %+v, %v", b, h, ref, refErr)
			}
			if h.Size > MaxHeader || h.Size > len(b) {
				t.Fatalf("%x: header of %d bytes", b, h.Size)
			}
			again, ok2, err2 := ParseHeader(append(bytes.Clone(b), 0xff))
			if again != h || !ok2 || err2 != nil {
				t.Fatalf("%x: another answer with one more byte", b)
			}
		} else if err == nil && len(b) >= MaxHeader {
			t.Fatalf("%x: undecided although a whole header is there", b)
		}
	})
}
