package main

import (
	"fmt"
	"strings"
)

func framing(s *suite) {
	for _, n := range []int{0, 1, 100, 118, 119, 120, 125, 126, 127, 128, 1000, 65_527, 65_528, 65_529} {
		for name, first := range map[string]byte{"text": fin | opText, "binary": fin | opBinary} {
			send, want := ok(first, strings.Repeat("x", n))
			s.exchange(fmt.Sprintf("%s of %d bytes", name, 7+n), exchange{send: send, want: want})
		}
	}
	whole := frame(fin|opText, "ping 12\nbody")
	for i := 1; i < len(whole); i++ {
		s.exchange(fmt.Sprintf("cut after byte %d", i), exchange{send: [][]byte{whole[:i], whole[i:]}, want: []string{"pong 12"}})
	}
	long := frame(fin|opBinary, "ping 3\n"+strings.Repeat("y", 300))
	for i := 1; i < 10; i++ {
		s.exchange(fmt.Sprintf("16-bit length cut after byte %d", i), exchange{send: [][]byte{long[:i], long[i:]}, want: []string{"pong 3"}})
	}
	var bytewise [][]byte
	for _, b := range whole {
		bytewise = append(bytewise, []byte{b})
	}
	s.exchange("byte by byte", exchange{send: bytewise, want: []string{"pong 12"}})
	var many []byte
	var pongs []string
	for i := range 500 {
		many = append(many, frame(fin|opText, fmt.Sprintf("ping %d", i+1))...)
		pongs = append(pongs, fmt.Sprintf("pong %d", i+1))
	}
	s.exchange("500 frames in a packet", exchange{send: [][]byte{many}, want: pongs})
	s.exchange("mask of zeros", exchange{send: [][]byte{append(head(fin|opText, 6, &zeroMask), "ping 4"...)}, want: []string{"pong 4"}})
	s.exchange("an empty message is a bad command, not a bad frame", exchange{send: [][]byte{frame(fin|opText, ""), frame(fin|opText, "ping 1")}, want: []string{"err - 400 the head is not printable ASCII with single spaces", "pong 1"}})

	for name, b := range map[string][]byte{
		"unmasked text":           append(head(fin|opText, 6, nil), "ping 1"...),
		"unmasked binary":         append(head(fin|opBinary, 6, nil), "ping 1"...),
		"unmasked empty text":     head(fin|opText, 0, nil),
		"unmasked first fragment": append(head(opText, 1, nil), 'p'),
		"unmasked ping":           append(head(fin|opPing, 1, nil), 'p'),
		"unmasked pong":           head(fin|opPong, 0, nil),
		"unmasked close":          append(head(fin|opClose, 2, nil), 3, 232),
		"unmasked, header only":   head(fin|opText, 300, nil),
	} {
		s.exchange(name, exchange{send: [][]byte{b}, close: 1002})
	}
	for _, n := range []int{0, 1, 6, 124, 125} {
		s.exchange(fmt.Sprintf("%d in 16 bits", n), exchange{send: [][]byte{{fin | opText, 0x80 | 126, 0, byte(n), 1, 2, 3, 4}}, close: 1002})
	}
	for _, n := range []uint64{0, 1, 125, 126, 65_535, 1 << 63, 1<<64 - 1} {
		s.exchange(fmt.Sprintf("%d in 64 bits", n), exchange{send: [][]byte{longHead(fin|opText, n)}, close: 1002})
	}
	s.add("frames in the packet of the handshake", func(at gateways) error {
		c, err := dial(at.compressing)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.open(join(frame(fin|opText, "ping 1"), frame(fin|opPing, "p"))); err != nil {
			return err
		}
		return (&exchange{want: []string{"pong 1", "PONG p"}}).answers(c)
	})
	s.add("half a frame in the packet of the handshake", func(at gateways) error {
		c, err := dial(at.compressing)
		if err != nil {
			return err
		}
		defer c.Close()
		b := frame(fin|opText, "ping 1")
		if _, err := c.open(b[:5]); err != nil {
			return err
		}
		if _, err := c.Write(b[5:]); err != nil {
			return err
		}
		return (&exchange{want: []string{"pong 1"}}).answers(c)
	})
}

func pings(s *suite) {
	for _, n := range []int{0, 1, 2, 50, 124, 125} {
		p := strings.Repeat("\xfe", n) // what a ping carries need not be text
		s.exchange(fmt.Sprintf("ping of %d bytes", n), exchange{send: [][]byte{frame(fin|opPing, p)}, want: []string{"PONG " + p}})
		s.exchange(fmt.Sprintf("pong of %d bytes that nobody asked for", n), exchange{send: [][]byte{frame(fin|opPong, p)}})
	}
	for name, op := range map[string]byte{"ping": opPing, "pong": opPong} {
		s.exchange("fragmented "+name, exchange{send: [][]byte{frame(op, "p")}, close: 1002})
		s.exchange("fragmented "+name+", its first byte", exchange{send: [][]byte{{op}}, close: 1002})
		s.exchange(name+" of 126 bytes", exchange{send: [][]byte{frame(fin|op, strings.Repeat("p", 126))}, close: 1002})
		s.exchange(name+" of 126 bytes, two bytes of it", exchange{send: [][]byte{{fin | op, 0x80 | 126}}, close: 1002})
		s.exchange(name+" of 5 bytes in 16 bits", exchange{send: [][]byte{{fin | op, 0x80 | 126, 0, 5, 0, 0, 0, 0}}, close: 1002})
		s.exchange(name+" of 2^40 bytes", exchange{send: [][]byte{longHead(fin|op, 1<<40)}, close: 1002})
	}
	var ten []byte
	var pongs []string
	for i := range 10 {
		ten = append(ten, frame(fin|opPing, fmt.Sprint(i))...)
		pongs = append(pongs, fmt.Sprintf("PONG %d", i))
	}
	s.exchange("ten pings in a packet", exchange{send: [][]byte{ten}, want: pongs})
	b := frame(fin|opPing, "slow")
	var slow [][]byte
	for i := range b {
		slow = append(slow, b[i:i+1])
	}
	s.exchange("ping byte by byte", exchange{send: slow, want: []string{"PONG slow"}})
	s.exchange("ping, then a message", exchange{send: [][]byte{join(frame(fin|opPing, "a"), frame(fin|opText, "ping 1"))}, want: []string{"PONG a", "pong 1"}})
}

func reservedBits(s *suite) {
	for bits := byte(1); bits < 8; bits++ {
		for _, op := range []byte{opContinuation, opText, opBinary, opClose, opPing, opPong} {
			s.exchange(fmt.Sprintf("bits %03b with opcode %x", bits, op), exchange{send: [][]byte{frame(fin|bits<<4|op, "\x03\xe8")}, close: 1002})
		}
		s.exchange(fmt.Sprintf("bits %03b in a later fragment", bits), exchange{send: [][]byte{join(frame(opText, "ping"), frame(fin|bits<<4|opContinuation, " 1"))}, close: 1002})
		s.exchange(fmt.Sprintf("bits %03b behind a good message", bits), exchange{
			send: [][]byte{join(frame(fin|opText, "ping 1"), frame(fin|bits<<4|opText, "ping 2"))}, want: []string{"pong 1"}, close: 1002,
		})
		if bits&3 != 0 {
			s.exchange(fmt.Sprintf("bits %03b, the first byte alone", bits), exchange{send: [][]byte{{fin | bits<<4 | opText}}, close: 1002})
		}
	}
}

func opcodes(s *suite) {
	for _, op := range []byte{3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf} {
		for name, b := range map[string][]byte{
			"":                          frame(fin|op, "ping 1"),
			", empty":                   frame(fin|op, ""),
			", not final":               frame(op, "x"),
			", the first byte":          {fin | op},
			" inside a message":         join(frame(opText, "ping"), frame(fin|op, " 1")),
			" of 2^40 bytes":            longHead(fin|op, 1<<40),
			" in the middle of nothing": join(frame(fin|opPong, ""), frame(fin|op, "")),
		} {
			s.exchange(fmt.Sprintf("opcode %x%s", op, name), exchange{send: [][]byte{b}, close: 1002})
		}
		s.exchange(fmt.Sprintf("opcode %x behind a good message", op), exchange{
			send: [][]byte{join(frame(fin|opText, "ping 1"), frame(fin|op, ""))}, want: []string{"pong 1"}, close: 1002,
		})
	}
}

func fragmentation(s *suite) {
	const message = "ping 77\nin pieces"
	for name, op := range map[string]byte{"text": opText, "binary": opBinary} {
		for i := 0; i <= len(message); i++ {
			s.exchange(fmt.Sprintf("%s in two, cut at %d", name, i), exchange{
				send: [][]byte{join(frame(op, message[:i]), frame(fin|opContinuation, message[i:]))}, want: []string{"pong 77"},
			})
		}
		b := frame(op, "")
		for i := range message {
			b = append(b, frame(opContinuation, message[i:i+1])...)
		}
		s.exchange(name+" in fragments of one byte, empty first and last", exchange{send: [][]byte{append(b, frame(fin|opContinuation, "")...)}, want: []string{"pong 77"}})
		s.exchange(name+" with a ping between", exchange{
			send: [][]byte{frame(op, "ping "), frame(fin|opPing, "now"), frame(opContinuation, "7"), frame(fin|opPing, "again"), frame(fin|opContinuation, "8")},
			want: []string{"PONG now", "PONG again", "pong 78"},
		})
		s.exchange(name+" with a pong between", exchange{send: [][]byte{join(frame(op, "ping "), frame(fin|opPong, "x"), frame(fin|opContinuation, "9"))}, want: []string{"pong 9"}})
		s.exchange(name+" with a Close between", exchange{send: [][]byte{join(frame(op, "ping "), closeFrame(1000, ""), frame(fin|opContinuation, "9"))}, close: 1000, ours: true})
		s.exchange(name+" with a new text inside", exchange{send: [][]byte{join(frame(op, "ping "), frame(fin|opText, "ping 1"))}, close: 1002})
		s.exchange(name+" with a new binary inside", exchange{send: [][]byte{join(frame(op, "ping "), frame(fin|opBinary, "ping 1"))}, close: 1002})
		s.exchange(name+" begun twice", exchange{send: [][]byte{join(frame(op, "ping "), frame(op, "ping 1"))}, close: 1002})
		s.exchange(name+" with a fragmented ping inside", exchange{send: [][]byte{join(frame(op, "ping "), frame(opPing, ""))}, close: 1002})
		s.exchange(name+" whole, then a continuation", exchange{send: [][]byte{join(frame(fin|op, "ping 1"), frame(fin|opContinuation, "x"))}, want: []string{"pong 1"}, close: 1002})
		s.exchange(name+" in two, then one more", exchange{
			send: [][]byte{join(frame(op, "ping"), frame(fin|opContinuation, " 1"), frame(fin|opContinuation, "x"))}, want: []string{"pong 1"}, close: 1002,
		})
		s.exchange(name+" in two, three times", exchange{
			send: [][]byte{join(frame(op, "ping"), frame(fin|opContinuation, " 1"), frame(op, "ping"), frame(fin|opContinuation, " 2"), frame(fin|op, "ping 3"))},
			want: []string{"pong 1", "pong 2", "pong 3"},
		})
	}
	for name, first := range map[string]byte{"final continuation of nothing": fin | opContinuation, "continuation of nothing": opContinuation} {
		s.exchange(name, exchange{send: [][]byte{frame(first, "x")}, close: 1002})
		s.exchange(name+", empty", exchange{send: [][]byte{frame(first, "")}, close: 1002})
		s.exchange(name+", header only", exchange{send: [][]byte{cut(first, "xxxx", 0)}, close: 1002})
	}
}
