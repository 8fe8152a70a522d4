package wsio

import (
	"bytes"
	"compress/flate"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

func newTestDeflater(t testing.TB, level int) *Deflater {
	t.Helper()
	d, err := NewDeflater(level)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDeflateRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var f Inflater
	for level := 1; level <= 9; level++ {
		d := newTestDeflater(t, level)
		for _, n := range []int{0, 1, 100, 5000, 40_000, 200_000} {
			words := bytes.Repeat([]byte("the quick brown fox "), n/20+1)[:n]
			noise := make([]byte, n)
			for i := range noise {
				noise[i] = byte(rng.Uint32())
			}
			for _, plain := range [][]byte{words, noise} {
				short := bytes.Clone(d.Deflate(plain))
				if len(short) > MaxDeflated(n) {
					t.Fatalf("level %d: %d bytes became %d", level, n, len(short))
				}
				got, err := f.Append([]byte("before"), short, n)
				if err != nil || string(got) != "before"+string(plain) {
					t.Fatalf("level %d, %d bytes: %v", level, n, err)
				}
				if n > 0 {
					_, err := f.Append(nil, short, n-1)
					wantCode(t, err, ws.StatusMessageTooBig)
				}
			}
		}
	}
	if _, err := NewDeflater(10); err == nil {
		t.Fatal("level 10 was taken")
	}
}

// The examples of RFC 7692 section 7.2.3.
func TestInflateExamples(t *testing.T) {
	var f Inflater
	for name, in := range map[string]string{
		"one block":                 "\xf2\x48\xcd\xc9\xc9\x07\x00",
		"without compression":       "\x00\x05\x00\xfa\xffHello\x00",
		"a final block":             "\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
		"two blocks":                "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
		"a final block in between":  "\x01\x02\x00\xfd\xffHe\x00\x03\x00\xfc\xffllo\x00",
		"two final blocks":          "\x01\x02\x00\xfd\xffHe\x01\x03\x00\xfc\xffllo\x00",
		"final blocks, empty ones":  "\x01\x00\x00\xff\xff\x01\x05\x00\xfa\xffHello\x01\x00\x00\xff\xff\x00",
		"an empty block beforehand": "\x00\x00\x00\xff\xff\xf2\x48\xcd\xc9\xc9\x07\x00",
	} {
		if got, err := f.Append(nil, []byte(in), 100); err != nil || string(got) != "Hello" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if got, err := f.Append(nil, []byte{0}, 100); err != nil || len(got) != 0 {
		t.Errorf("an empty message: %q, %v", got, err)
	}
	for _, bad := range []string{"", "\xff", "\x06", "\x00\x05\x00\xfa\xffHel", "\xf2\x48\xcd\xc9", "\x00\x05\x00\xfa\xf0Hello\x00", "Hello"} {
		_, err := f.Append(nil, []byte(bad), 100)
		wantCode(t, err, ws.StatusInvalidFramePayloadData)
	}
}

// 16 KB that would become 16 MB are refused after the limit, and hold no more than about that.
func TestInflateBomb(t *testing.T) {
	bomb := bytes.Clone(newTestDeflater(t, 9).Deflate(make([]byte, 16<<20)))
	var f Inflater
	buf, err := f.Append(nil, bomb, 64<<10)
	wantCode(t, err, ws.StatusMessageTooBig)
	if cap(buf) > 256<<10 {
		t.Fatalf("%d bytes of buffer for a limit of 64 KiB", cap(buf))
	}
}

func TestCompressedDoesNotAllocate(t *testing.T) {
	d := newTestDeflater(t, 1)
	plain := []byte(strings.Repeat(`{"id":7,"text":"hello"},`, 40))
	short := bytes.Clone(d.Deflate(plain))
	var f Inflater
	buf := make([]byte, 0, 4096)
	for name, run := range map[string]func(){
		"deflate": func() { d.Deflate(plain) },
		"inflate": func() {
			if b, err := f.Append(buf[:0], short, 4096); err != nil || len(b) != len(plain) {
				t.Fatal(err)
			}
		},
	} {
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestOffers(t *testing.T) {
	const agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for offer, want := range map[string]string{
		"permessage-deflate":                                                                           agreed,
		"Permessage-Deflate":                                                                           agreed,
		"permessage-deflate; client_max_window_bits":                                                   agreed,
		"permessage-deflate; client_max_window_bits=8":                                                 agreed,
		"permessage-deflate; client_max_window_bits=\"15\"":                                            agreed,
		"permessage-deflate;server_no_context_takeover;client_no_context_takeover":                     agreed,
		"permessage-deflate; server_max_window_bits=15":                                                agreed + "; server_max_window_bits=15",
		"permessage-deflate; server_max_window_bits=10":                                                "",
		"permessage-deflate; server_max_window_bits":                                                   "",
		"permessage-deflate; server_max_window_bits=16":                                                "",
		"permessage-deflate; server_max_window_bits=015":                                               "",
		"permessage-deflate; client_max_window_bits=7":                                                 "",
		"permessage-deflate; client_max_window_bits=16":                                                "",
		"permessage-deflate; client_max_window_bits=08":                                                "",
		"permessage-deflate; client_max_window_bits=x":                                                 "",
		"permessage-deflate; server_no_context_takeover=true":                                          "",
		"permessage-deflate; client_no_context_takeover=1":                                             "",
		"permessage-deflate; unknown":                                                                  "",
		"permessage-deflate; client_no_context_takeover; client_no_context_takeover":                   "",
		"permessage-deflate; server_max_window_bits=10, permessage-deflate":                            agreed,
		"permessage-deflate; server_max_window_bits=15; unknown, permessage-deflate":                   agreed,
		"permessage-deflate, permessage-deflate; server_max_window_bits=15":                            agreed,
		"x-webkit-deflate-frame, permessage-deflate; client_max_window_bits":                           agreed,
		"permessage-deflate; server_max_window_bits=9\r\nSec-WebSocket-Extensions: permessage-deflate": agreed,
		"x-webkit-deflate-frame":                                                                       "",
		"permessage-deflate-other":                                                                     "",
	} {
		for _, on := range []bool{true, false} {
			u := newTestUpgrader(nil)
			u.Deflate = on
			response, err := u.Upgrade(edited(t, "Host: x\r\n", "Host: x\r\nSec-WebSocket-Extensions: "+offer+"\r\n"))
			if err != nil {
				t.Errorf("%s: %v", offer, err)
				continue
			}
			want := want
			if !on {
				want = ""
			}
			if got := wantStatus(t, response, 101).Header.Get("Sec-WebSocket-Extensions"); got != want {
				t.Errorf("%s, %v:\ngot  %s\nwant %s", offer, on, got, want)
			}
		}
	}
	for _, bad := range []string{"", ",", ";", "permessage-deflate;", "permessage-deflate; =1", "permessage-deflate; a=", "permessage-deflate a", "a; b=\"c d\"", "a; b=\"c", "a,", "a b", "a; b=\"\""} {
		u := newTestUpgrader(nil)
		u.Deflate = true
		response, err := u.Upgrade(edited(t, "Host: x\r\n", "Host: x\r\nSec-WebSocket-Extensions: "+bad+"\r\n"))
		if err == nil {
			t.Errorf("%q was taken", bad)
			continue
		}
		wantStatus(t, response, 400)
	}
}

// FuzzInflate asks that no more than the limit comes out, whatever goes in, and that what flate itself reads is the same.
func FuzzInflate(f *testing.F) {
	f.Add([]byte("\xf2\x48\xcd\xc9\xc9\x07\x00"))
	f.Add([]byte("\x01\x02\x00\xfd\xffHe\x00\x03\x00\xfc\xffllo\x00"))
	f.Add(bytes.Clone(newTestDeflater(f, 9).Deflate(make([]byte, 100_000))))
	var in Inflater
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 10_000
		got, err := in.Append(nil, b, limit)
		if len(got) > limit || cap(got) > 4*limit {
			t.Fatalf("%d bytes, %d held", len(got), cap(got))
		}
		var whole bytes.Buffer
		_, refErr := whole.ReadFrom(flate.NewReader(bytes.NewReader(append(bytes.Clone(b), finished...))))
		if err == nil && (refErr != nil || !bytes.HasPrefix(got, whole.Bytes())) { // flate stops at the first final block
			t.Fatalf("%x: %q; flate says %q, %v", b, got, whole.Bytes(), refErr)
		}
	})
}

// FuzzDeflate asks that what is compressed comes back.
func FuzzDeflate(f *testing.F) {
	f.Add([]byte("hello hello hello"), 1)
	d := [10]*Deflater{}
	var in Inflater
	f.Fuzz(func(t *testing.T, b []byte, level int) {
		level = 1 + int(uint(level)%9)
		if d[level] == nil {
			d[level] = newTestDeflater(t, level)
		}
		if got, err := in.Append(nil, d[level].Deflate(b), len(b)); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x: %x, %v", b, got, err)
		}
	})
}
