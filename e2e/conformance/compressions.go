package main

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	offer  = "permessage-deflate"
	agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
)

// offers adds a case: what is answered to extensions that are offered. "" is none.
func (s *suite) offers(extensions, want string) {
	s.add(extensions, func(at gateways) error {
		for addr, want := range map[string]string{at.compressing: want, at.plain: ""} {
			c, err := dial(addr)
			if err != nil {
				return err
			}
			defer c.Close()
			r, err := c.open(nil, "Sec-WebSocket-Extensions: "+extensions)
			if err != nil {
				return err
			}
			if got := r.header["sec-websocket-extensions"]; got != want {
				return fmt.Errorf("agreed on %q, want %q", got, want)
			}
			if err := c.alive(); err != nil {
				return err
			}
		}
		return nil
	})
}

func negotiation(s *suite) {
	for _, good := range []string{
		"permessage-deflate", "PERMESSAGE-DEFLATE", "permessage-deflate; client_max_window_bits", "permessage-deflate;client_max_window_bits=8",
		"permessage-deflate; client_max_window_bits=15", "permessage-deflate; client_max_window_bits=\"10\"", "permessage-deflate; server_no_context_takeover",
		"permessage-deflate; client_no_context_takeover", "permessage-deflate ; client_no_context_takeover ; server_no_context_takeover; client_max_window_bits",
		"permessage-deflate; server_max_window_bits=10, permessage-deflate", "permessage-deflate; unknown=1, permessage-deflate",
		"permessage-bzip2, permessage-deflate", "permessage-deflate, x-webkit-deflate-frame", "permessage-deflate; server_max_window_bits=8, x; y=z, permessage-deflate; client_max_window_bits",
		"a\r\nSec-WebSocket-Extensions: permessage-deflate",
	} {
		s.offers(good, agreed)
	}
	s.offers("permessage-deflate; server_max_window_bits=15", agreed+"; server_max_window_bits=15")
	s.offers("permessage-deflate; server_max_window_bits=\"15\"; client_max_window_bits", agreed+"; server_max_window_bits=15")
	for _, parameter := range []string{
		"server_max_window_bits", "server_max_window_bits=7", "server_max_window_bits=16", "server_max_window_bits=x", "server_max_window_bits=015",
		"client_max_window_bits=7", "client_max_window_bits=16", "client_max_window_bits=0", "client_max_window_bits=09", "client_max_window_bits=15x",
		"server_no_context_takeover=1", "client_no_context_takeover=true", "unknown", "unknown=1", "Server_No_Context_Takeover=x",
		"client_no_context_takeover; client_no_context_takeover", "server_no_context_takeover; server_no_context_takeover",
		"client_max_window_bits; client_max_window_bits=10", "server_max_window_bits=15; server_max_window_bits=15",
	} {
		s.offers("permessage-deflate; "+parameter, "")
	}
	for bits := 8; bits < 15; bits++ {
		s.offers(fmt.Sprintf("permessage-deflate; server_max_window_bits=%d", bits), "") // nobody here can hold it
	}
	s.offers("permessage-bzip2", "")
	s.offers("x-webkit-deflate-frame", "")
	for _, bad := range []string{"", ",", "permessage-deflate;", ";permessage-deflate", "permessage-deflate; =", "permessage-deflate; a=", "permessage deflate", "permessage-deflate,", "a; b=\"c", "a; b=\"c d\""} {
		s.refusal("broken: "+bad, with(hostLine, hostLine+"Sec-WebSocket-Extensions: "+bad+"\r\n"), 400)
	}
}

// deflate compresses as RFC 7692 section 7.2.1 has it.
func deflate(level int, plain string) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	_, _ = io.WriteString(w, plain)
	_ = w.Flush()
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

func inflate(short []byte) (string, error) {
	b, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(short), strings.NewReader("\x00\x00\xff\xff"))))
	if errors.Is(err, io.ErrUnexpectedEOF) { // the stream has no final block
		err = nil
	}
	return string(b), err
}

// packed adds a case on a connection that has agreed on compression.
func (s *suite) packed(name string, e exchange) {
	e.extensions = offer
	s.exchange(name, e)
}

func compression(s *suite) {
	const text, binary = fin | rsv1 | opText, fin | rsv1 | opBinary
	body := "ping 8\n" + strings.Repeat("all work and no play ", 100)
	for level := -2; level <= 9; level++ {
		s.packed(fmt.Sprintf("text, level %d", level), exchange{send: [][]byte{frame(text, deflate(level, body))}, want: []string{"pong 8"}})
		s.packed(fmt.Sprintf("binary, level %d", level), exchange{send: [][]byte{frame(binary, deflate(level, body+"\xff"))}, want: []string{"pong 8"}})
	}
	for name, b := range map[string]string{
		"final block":                  "\x01\x06\x00\xf9\xffping 8\x00",
		"final block in between":       "\x01\x02\x00\xfd\xffpi\x00\x04\x00\xfb\xffng 8\x00",
		"two final blocks":             "\x01\x02\x00\xfd\xffpi\x01\x04\x00\xfb\xffng 8\x00",
		"empty blocks":                 "\x00\x00\x00\xff\xff\x00\x06\x00\xf9\xffping 8\x00\x00\x00\xff\xff\x00",
		"block that is not compressed": "\x00\x06\x00\xf9\xffping 8\x00",
		"flushed in the middle":        deflate(1, "ping ") + "\x00\x00\xff\xff" + deflate(1, "8"),
	} {
		s.packed(name, exchange{send: [][]byte{frame(text, b)}, want: []string{"pong 8"}})
	}
	s.packed("an empty message", exchange{send: [][]byte{frame(text, "\x00"), frame(text, deflate(1, "ping 2"))}, want: []string{"err - 400 the head is not printable ASCII with single spaces", "pong 2"}})
	s.packed("without compression in between", exchange{send: [][]byte{join(frame(text, deflate(1, "ping 1")), frame(fin|opText, "ping 2"), frame(text, deflate(1, "ping 3")))}, want: []string{"pong 1", "pong 2", "pong 3"}})
	s.packed("ping and close as ever", exchange{send: [][]byte{join(frame(fin|opPing, "p"), closeFrame(1000, ""))}, want: []string{"PONG p"}, close: 1000, ours: true})
	s.packed("references over the whole window of 32 KiB", exchange{send: [][]byte{frame(binary, deflate(9, "ping 8\n"+noise(32_700)+noise(32_700)))}, want: []string{"pong 8"}})
	short := deflate(6, body)
	for i := 0; i <= len(short); i++ {
		s.packed(fmt.Sprintf("in two fragments, cut at %d", i), exchange{
			send: [][]byte{join(frame(rsv1|opText, short[:i]), frame(fin|opPing, "p"), frame(fin|opContinuation, short[i:]))}, want: []string{"PONG p", "pong 8"},
		})
		b := frame(text, short)
		s.packed(fmt.Sprintf("in two packets, cut at %d", i), exchange{send: [][]byte{b[:len(b)-i], b[len(b)-i:]}, want: []string{"pong 8"}})
	}
	s.packed("no memory of the message before", exchange{send: [][]byte{join(frame(text, deflate(9, "ping 1\nabcabcabc")), frame(text, withoutContext()))}, want: []string{"pong 1"}, close: 1007})

	for _, op := range []byte{opContinuation, opClose, opPing, opPong} {
		s.packed(fmt.Sprintf("RSV1 with opcode %x", op), exchange{send: [][]byte{frame(fin|rsv1|op, "\x03\xe8")}, close: 1002})
	}
	s.packed("RSV1 in a later fragment", exchange{send: [][]byte{join(frame(rsv1|opText, short[:5]), frame(fin|rsv1|opContinuation, short[5:]))}, close: 1002})
	s.packed("RSV1 in a later fragment of a plain message", exchange{send: [][]byte{join(frame(opText, "ping"), frame(fin|rsv1|opContinuation, " 1"))}, close: 1002})
	for _, bits := range []byte{rsv2, rsv3, rsv1 | rsv2, rsv1 | rsv3} {
		s.packed(fmt.Sprintf("bits %03b", bits>>4), exchange{send: [][]byte{frame(fin|bits|opText, short)}, close: 1002})
	}
	for _, op := range []byte{3, 7, 0xb, 0xf} {
		s.packed(fmt.Sprintf("RSV1 with opcode %x", op), exchange{send: [][]byte{frame(fin|rsv1|op, short)}, close: 1002})
	}
	s.exchange("RSV1 where nothing was agreed on", exchange{send: [][]byte{frame(text, short)}, close: 1002})

	for name, b := range map[string]string{
		"nothing": "", "not DEFLATE": "ping 8", "reserved block type": "\x07", "cut short": short[:len(short)/2], "stored block cut short": "\x00\x09\x00\xf6\xffping",
		"lengths that do not fit": "\x00\x06\x00\xf9\xf0ping 8\x00", "reference to before the beginning": withoutContext(), "0xff": "\xff\xff\xff\xff",
	} {
		s.packed("broken: "+name, exchange{send: [][]byte{frame(binary, b)}, close: 1007})
		s.packed("broken, in fragments: "+name, exchange{send: [][]byte{join(frame(rsv1|opBinary, b), frame(fin|opContinuation, ""))}, close: 1007})
	}
	for _, v := range invalidText {
		s.packed(fmt.Sprintf("text that is not UTF-8: %q", v.bytes), exchange{send: [][]byte{frame(text, deflate(1, body+v.bytes))}, close: 1007})
	}
	for _, v := range unfinishedText {
		s.packed(fmt.Sprintf("text cut short: %q", v), exchange{send: [][]byte{frame(text, deflate(1, body+v))}, close: 1007})
	}
	for _, v := range validText {
		s.packed(fmt.Sprintf("text: %q", v), exchange{send: [][]byte{frame(text, deflate(1, body+v))}, want: []string{"pong 8"}})
	}

	limit := "ping 1\n" + strings.Repeat("x", maxFrame-7)
	s.packed("at the limit", exchange{send: [][]byte{frame(text, deflate(9, limit))}, want: []string{"pong 1"}})
	s.packed("at the limit, not compressible", exchange{send: [][]byte{frame(binary, deflate(1, "ping 1\n"+noise(maxFrame-7)))}, want: []string{"pong 1"}})
	s.packed("over the limit by a byte", exchange{send: [][]byte{frame(text, deflate(9, limit+"x"))}, close: 1009})
	s.packed("over the limit by a byte, in fragments", exchange{send: [][]byte{join(frame(rsv1|opText, ""), frame(fin|opContinuation, deflate(9, limit+"x")))}, close: 1009})
	bomb := deflate(9, strings.Repeat("\x00", 32<<20))
	s.packed("bomb: 32 MB in 32 KB", exchange{send: [][]byte{frame(binary, bomb)}, close: 1009})
	s.packed("bomb in fragments", exchange{send: [][]byte{join(frame(rsv1|opBinary, bomb[:1000]), frame(fin|opContinuation, bomb[1000:]))}, close: 1009})
	s.packed("compressed length over the limit, the header alone", exchange{send: [][]byte{longHead(text, 1<<17)}, close: 1009})
	s.packed("compressed length of 2^62, the header alone", exchange{send: [][]byte{longHead(text, 1<<62)}, close: 1009})

	for name, v := range map[string]struct {
		channel, body string
		short         bool
	}{
		"publication":                          {"direct:a", strings.Repeat("a publication for all ", 200), true},
		"publication under the threshold":      {"direct:b", strings.Repeat("x", 300), false},
		"publication that cannot be shortened": {"direct:c", noise(3000), false},
		"publication in a namespace without":   {"raw:d", strings.Repeat("a publication for all ", 200), false},
	} {
		s.add(name, func(at gateways) error { return published(at, v.channel, v.body, v.short) })
	}
}

// withoutContext is a block that refers to bytes before its own first.
func withoutContext() string { return "\x02\x13\x00\x00" }

// noise is n bytes that do not compress, always the same.
func noise(n int) string {
	b := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x >> 32)
	}
	return string(b)
}

// published publishes on a connection that takes compressed frames, and on one that does not, and looks at what comes.
func published(at gateways, channel, body string, short bool) error {
	if err := publishes(at, channel, body, false); err != nil {
		return err
	}
	return publishes(at, channel, body, short, "Sec-WebSocket-Extensions: "+offer)
}

func publishes(at gateways, channel, body string, short bool, lines ...string) error {
	c, err := dial(at.compressing)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.open(frame(fin|opText, "sub 1 "+channel), lines...); err != nil {
		return err
	}
	if f, err := c.read(); err != nil || !bytes.HasPrefix(f.payload, []byte("ok 1")) {
		return fmt.Errorf("%v, %w", f, err)
	}
	if _, err := c.Write(frame(fin|opBinary, "pub - "+channel+"\n"+body)); err != nil {
		return err
	}
	f, err := c.read()
	if err != nil {
		return err
	}
	payload := string(f.payload)
	if marked := f.first&rsv1 != 0; marked != short {
		return fmt.Errorf("compressed: %v: %v", marked, f)
	} else if marked {
		if payload, err = inflate(f.payload); err != nil || len(f.payload)*4 > len(payload) {
			return fmt.Errorf("%d bytes became %d, %w", len(f.payload), len(payload), err)
		}
	}
	if head, got, _ := strings.Cut(payload, "\n"); !strings.HasPrefix(head, "msg "+channel+" ") || got != body || f.op() != opBinary {
		return fmt.Errorf("got %.80q", payload)
	}
	return c.alive()
}
