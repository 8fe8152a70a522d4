package main

import (
	"fmt"
	"strings"
)

// validText are characters at the edges of what RFC 3629 allows, by their bytes.
var validText = []string{
	"\x00", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xe1\x80\x80", "\xec\xbf\xbf", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf", "\xef\xbf\xbe",
	"\xef\xbb\xbf", "\xef\xbf\xbd", "\xf0\x90\x80\x80", "\xf0\xbf\xbf\xbf", "\xf1\x80\x80\x80", "\xf3\xbf\xbf\xbf", "\xf4\x80\x80\x80", "\xf4\x8f\xbf\xbf",
	"κόσμε", "Hello-µ@ßöäüàá-UTF-8!!", "日本語", "😀😁",
}

// invalidText are bytes that are not UTF-8, and how many of them show it.
var invalidText = []struct {
	bytes string
	shown int
}{
	{"\x80", 1},
	{"\xbf", 1},
	{"\x80\xbf", 1},
	{"\xfe", 1},
	{"\xff", 1},
	{"\xc0", 1},
	{"\xc1", 1},
	{"\xf5", 1},
	{"\xf8", 1},
	{"\xfc", 1},
	{"\xc0\x80", 1},
	{"\xc0\xaf", 1},
	{"\xc1\xbf", 1}, // overlong: in two bytes what fits in one
	{"\xe0\x80\x80", 2},
	{"\xe0\x9f\xbf", 2},
	{"\xf0\x80\x80\x80", 2},
	{"\xf0\x8f\xbf\xbf", 2}, // in three, in four
	{"\xed\xa0\x80", 2},
	{"\xed\xad\xbf", 2},
	{"\xed\xae\x80", 2},
	{"\xed\xbf\xbf", 2},
	{"\xed\xa0\x80\xed\xb0\x80", 2}, // surrogates
	{"\xf4\x90\x80\x80", 2},
	{"\xf4\xbf\xbf\xbf", 2},
	{"\xf5\x80\x80\x80", 1},
	{"\xf7\xbf\xbf\xbf", 1},
	{"\xf8\x88\x80\x80\x80", 1},
	{"\xfc\x84\x80\x80\x80\x80", 1}, // beyond U+10FFFF
	{"\xc2A", 2},
	{"\xc2\xc2", 2},
	{"\xe2A", 2},
	{"\xe2\x82A", 3},
	{"\xe2\x82\xc2", 3},
	{"\xf0\x9fA", 3},
	{"\xf0\x9f\x98A", 4},
	{"\xf0\xc2", 2}, // cut short by another
	{"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", 13},
	{"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited", 13},
}

// unfinishedText begins a character that never ends.
var unfinishedText = []string{"\xc2", "\xdf", "\xe0", "\xe0\xa0", "\xe2\x82", "\xed\x9f", "\xf0", "\xf0\x90", "\xf0\x9f\x98", "\xf4", "\xf4\x8f", "\xf4\x8f\xbf"}

func text(s *suite) {
	const before = "ping 5\nab"
	for _, v := range validText {
		name := fmt.Sprintf("%q", v)
		send, want := ok(fin|opText, v)
		s.exchange("valid "+name, exchange{send: send, want: want})
		for i := range len(v) + 1 {
			s.exchange(fmt.Sprintf("valid %s in two fragments, cut at %d", name, i), exchange{
				send: [][]byte{join(frame(opText, before+v[:i]), frame(fin|opPing, "p"), frame(fin|opContinuation, v[i:]+"c"))}, want: []string{"PONG p", "pong 5"},
			})
			b, n := frame(fin|opText, before+v), len(v)-i
			s.exchange(fmt.Sprintf("valid %s in two packets, cut at %d", name, i), exchange{send: [][]byte{b[:len(b)-n], b[len(b)-n:]}, want: []string{"pong 5"}})
		}
	}
	for _, v := range invalidText {
		name := fmt.Sprintf("%q", v.bytes)
		s.exchange("invalid "+name, exchange{send: [][]byte{frame(fin|opText, before+v.bytes)}, close: 1007})
		s.exchange("invalid "+name+" at the beginning", exchange{send: [][]byte{frame(fin|opText, v.bytes+"x")}, close: 1007})
		s.exchange("invalid "+name+" in binary is nobody's concern", exchange{send: [][]byte{frame(fin|opBinary, before+v.bytes)}, want: []string{"pong 5"}})
		shown := before + v.bytes[:v.shown]
		s.exchange("invalid "+name+" as soon as it shows in an unfinished frame", exchange{send: [][]byte{cut(fin|opText, before+v.bytes+strings.Repeat("x", 500), len(shown))}, close: 1007})
		s.exchange("invalid "+name+" in an unfinished frame, the last byte alone", exchange{
			send: [][]byte{cut(fin|opText, before+v.bytes+"xxxx", len(shown)-1), cut(fin|opText, before+v.bytes+"xxxx", len(shown))[6+len(shown)-1:]}, close: 1007,
		})
		s.exchange("invalid "+name+" in a fragment that is not the last", exchange{send: [][]byte{frame(opText, shown)}, close: 1007})
		s.exchange("invalid "+name+" in a later fragment, unfinished", exchange{
			send: [][]byte{join(frame(opText, shown[:len(shown)-1]), cut(opContinuation, shown[len(shown)-1:]+"xxx", 1))}, close: 1007,
		})
	}
	for _, v := range unfinishedText {
		name := fmt.Sprintf("%q", v)
		s.exchange("cut short "+name, exchange{send: [][]byte{frame(fin|opText, before+v)}, close: 1007})
		s.exchange("cut short "+name+" in the last fragment", exchange{send: [][]byte{join(frame(opText, before+v[:len(v)-1]), frame(fin|opContinuation, v[len(v)-1:]))}, close: 1007})
		s.exchange("cut short "+name+" before an empty last fragment", exchange{send: [][]byte{join(frame(opText, before+v), frame(fin|opContinuation, ""))}, close: 1007})
		s.exchange("cut short "+name+" in a fragment is no fault yet", exchange{send: [][]byte{join(frame(opText, before+v), frame(fin|opPing, "p"))}, want: []string{"PONG p"}})
		s.exchange("cut short "+name+" does not leak into the next message", exchange{
			send: [][]byte{join(frame(fin|opBinary, before+v), frame(fin|opText, "ping 6"))}, want: []string{"pong 5", "pong 6"},
		})
	}
}

func closing(s *suite) {
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 3999, 4000, 4001, 4999} {
		s.exchange(fmt.Sprintf("code %d", code), exchange{send: [][]byte{closeFrame(code, "")}, close: code, ours: true})
		s.exchange(fmt.Sprintf("code %d with a reason", code), exchange{send: [][]byte{closeFrame(code, "thé end")}, close: code, ours: true})
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1017, 1100, 1999, 2000, 2500, 2999, 5000, 5001, 32768, 65535} {
		s.exchange(fmt.Sprintf("code %d must not be sent", code), exchange{send: [][]byte{closeFrame(code, "x")}, close: 1002, ours: true})
	}
	one := func(name string, b []byte, code int) {
		s.exchange(name, exchange{send: [][]byte{b}, close: code, ours: true})
	}
	one("without a code", frame(fin|opClose, ""), 1005)
	one("payload of one byte", frame(fin|opClose, "\x03"), 1002)
	one("reason of 123 bytes", closeFrame(1000, strings.Repeat("r", 123)), 1000)
	one("reason of 124 bytes", closeFrame(1000, strings.Repeat("r", 124)), 1002)
	one("fragmented", frame(opClose, "\x03\xe8"), 1002)
	one("twice", join(closeFrame(1000, ""), closeFrame(1001, "")), 1000)
	one("then a message", join(closeFrame(1000, ""), frame(fin|opText, "ping 1")), 1000)
	one("then a ping", join(closeFrame(1000, ""), frame(fin|opPing, "p")), 1000)
	one("then a bad frame", join(closeFrame(1000, ""), frame(0xff, "p")), 1000)
	one("then half a frame", join(closeFrame(1000, ""), []byte{fin | opText, 0xff}), 1000)
	for _, v := range invalidText {
		one(fmt.Sprintf("reason that is not UTF-8: %q", v.bytes), closeFrame(1000, "r"+v.bytes), 1007)
	}
	for _, v := range unfinishedText {
		one(fmt.Sprintf("reason cut short: %q", v), closeFrame(1000, "r"+v), 1007)
	}
	b := closeFrame(4321, "bye")
	for i := 1; i < len(b); i++ {
		s.exchange(fmt.Sprintf("cut after byte %d", i), exchange{send: [][]byte{b[:i], b[i:]}, close: 4321, ours: true})
	}
	s.exchange("behind a message and a ping", exchange{
		send: [][]byte{join(frame(fin|opText, "ping 1"), frame(fin|opPing, "p"), closeFrame(1000, ""))}, want: []string{"pong 1", "PONG p"}, close: 1000, ours: true,
	})
	s.exchange("by the gateway for a violation, with our bytes still coming", exchange{send: [][]byte{join(frame(0xb0, ""), []byte(strings.Repeat("x", 200_000)))}, close: 1002})
}

// maxFrame is what the gateways under test take.
const maxFrame = 64 << 10

func limits(s *suite) {
	body := "ping 1\n" + strings.Repeat("x", maxFrame-7)
	for name, op := range map[string]byte{"text": opText, "binary": opBinary} {
		s.exchange(name+" at the limit", exchange{send: [][]byte{frame(fin|op, body)}, want: []string{"pong 1"}})
		s.exchange(name+" at the limit, in packets", exchange{send: pieces(frame(fin|op, body), 9000), want: []string{"pong 1"}})
		s.exchange(name+" at the limit, in fragments", exchange{
			send: [][]byte{join(frame(op, body[:30_000]), frame(opContinuation, body[30_000:60_000]), frame(fin|opContinuation, body[60_000:]))}, want: []string{"pong 1"},
		})
		s.exchange(name+" over the limit", exchange{send: [][]byte{frame(fin|op, body+"x")}, close: 1009})
		for _, n := range []uint64{maxFrame + 1, 1 << 20, 1 << 24, 1<<31 - 1, 1 << 31, 1 << 32, 1 << 40, 1 << 62, 1<<63 - 1} {
			s.exchange(fmt.Sprintf("%s of %d bytes, the header alone", name, n), exchange{send: [][]byte{longHead(fin|op, n)}, close: 1009})
			s.exchange(fmt.Sprintf("%s fragment of %d bytes, the header alone", name, n), exchange{send: [][]byte{longHead(op, n)}, close: 1009})
		}
		s.exchange(name+" over the limit by its last fragment, the header alone", exchange{send: [][]byte{join(frame(op, body[:65_000]), cut(fin|opContinuation, body[:537], 0))}, close: 1009})
		s.exchange(name+" over the limit by a fragment of one byte", exchange{send: [][]byte{join(frame(op, body), cut(opContinuation, "x", 0))}, close: 1009})
		s.exchange(name+" at the limit, an empty fragment behind", exchange{send: [][]byte{join(frame(op, body), frame(fin|opContinuation, ""))}, want: []string{"pong 1"}})
		s.exchange(name+" continuation of 2^62 bytes", exchange{send: [][]byte{join(frame(op, "x"), longHead(fin|opContinuation, 1<<62))}, close: 1009})
	}
}

// pieces cuts b into pieces of n bytes.
func pieces(b []byte, n int) (all [][]byte) {
	for len(b) > n {
		all, b = append(all, b[:n]), b[n:]
	}
	return append(all, b)
}
