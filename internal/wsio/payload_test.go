package wsio

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// hopeless reports whether nothing appended to b makes it UTF-8: a naive model of Text.
func hopeless(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n <= 1 {
			return utf8.FullRune(b)
		}
		b = b[n:]
	}
	return false
}

// A text that comes in frames, and these in reads, is refused with the read that brings its first hopeless byte, and at
// the end if a character is cut.
func TestPayloadHoweverItComes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	alphabet := []string{"a", "é", "€", "😀", "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80", "\xf0\x9f"}
	for range 20_000 {
		var text []byte
		for range rng.IntN(8) {
			i := rng.IntN(len(alphabet))
			if rng.IntN(4) > 0 {
				i = rng.IntN(4)
			}
			text = append(text, alphabet[i]...)
		}
		checkPayload(t, rng, text)
	}
}

func checkPayload(t *testing.T, rng *rand.Rand, text []byte) {
	t.Helper()
	f := &Fragments{}
	sent := 0
	for first := true; ; first = false {
		n := rng.IntN(len(text) - sent + 1)
		h := Header{Fin: sent+n == len(text) && rng.IntN(2) == 0, Masked: true, Mask: [4]byte{1, 2, 3, byte(rng.Uint32())}, Length: n, OpCode: ws.OpContinuation}
		if first {
			h.OpCode = ws.OpText
		}
		b := bytes.Clone(text[sent : sent+n])
		ws.Cipher(b, h.Mask, 0)
		p := f.Next()
		for had := 0; ; {
			had += rng.IntN(n - had + 1)
			err := p.Take(h, b[:had], true)
			done := text[:sent+had]
			switch end := h.Fin && had == n; {
			case hopeless(done) || end && !utf8.Valid(done):
				wantCode(t, err, ws.StatusInvalidFramePayloadData)
				return
			case err != nil:
				t.Fatalf("%q of %q: %v", done, text, err)
			case end:
				f.Add(h, b, p)
				if !bytes.Equal(f.Message(), text) {
					t.Fatalf("%q became %q", text, f.Message())
				}
				return
			}
			if had == n {
				break
			}
		}
		f.Add(h, b, p)
		sent += n
	}
}

// FuzzText cuts a text in two places and compares with utf8.Valid.
func FuzzText(f *testing.F) {
	f.Add([]byte("a€😀"), 1, 3)
	f.Add([]byte("\xf4\x90\x80\x80"), 1, 2)
	f.Fuzz(func(t *testing.T, b []byte, i, j int) {
		i = int(uint(i) % uint(len(b)+1))
		j = i + int(uint(j)%uint(len(b)-i+1))
		var text Text
		for _, cut := range []struct{ from, to int }{{0, i}, {i, j}, {j, len(b)}} {
			if got, want := text.Add(b[cut.from:cut.to]), !hopeless(b[:cut.to]); got != want {
				t.Fatalf("%q up to %d: %v, want %v", b, cut.to, got, want)
			} else if !got {
				return
			}
		}
		if text.Complete() != utf8.Valid(b) {
			t.Fatalf("%q: complete %v", b, text.Complete())
		}
	})
}
