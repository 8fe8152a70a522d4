package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// v2 is a header of version 2: commands 0 LOCAL and 1 PROXY.
func v2(command byte, family byte, payload []byte) []byte {
	b := append([]byte(nil), signature...)
	b = append(b, 0x20|command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	return append(b, payload...)
}

func addresses(source, target netip.AddrPort) []byte {
	b := append(source.Addr().AsSlice(), target.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, source.Port())
	return binary.BigEndian.AppendUint16(b, target.Port())
}

var (
	four = netip.MustParseAddrPort("203.0.113.7:40000")
	six  = netip.MustParseAddrPort("[2001:db8::7]:443")
)

var good = []struct {
	name   string
	header []byte
	want   netip.AddrPort
}{
	{"v1 TCP4", []byte("PROXY TCP4 203.0.113.7 10.0.0.1 40000 443\r\n"), four},
	{"v1 TCP6", []byte("PROXY TCP6 2001:db8::7 ::1 443 8080\r\n"), six},
	{"v1 unknown", []byte("PROXY UNKNOWN\r\n"), netip.AddrPort{}},
	{"v1 unknown and more", []byte("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), netip.AddrPort{}},
	{"v2 TCP4", v2(1, 0x11, addresses(four, four)), four},
	{"v2 TCP6", v2(1, 0x21, addresses(six, six)), six},
	{"v2 TCP4 and TLVs", v2(1, 0x11, append(addresses(four, four), bytes.Repeat([]byte{4}, 300)...)), four},
	{"v2 LOCAL", v2(0, 0, nil), netip.AddrPort{}},
	{"v2 LOCAL with an address", v2(0, 0x11, addresses(four, four)), netip.AddrPort{}},
	{"v2 Unix", v2(1, 0x31, make([]byte, 216)), netip.AddrPort{}},
	{"v2 UDP", v2(1, 0x12, addresses(four, four)), netip.AddrPort{}},
}

// Each good header is incomplete at every cut, and the same whatever follows.
func TestParse(t *testing.T) {
	for _, c := range good {
		t.Run(c.name, func(t *testing.T) {
			for cut := range c.header {
				if h, err := Parse(c.header[:cut]); err != nil || h.Size != 0 {
					t.Fatalf("first %d bytes: %+v, %v", cut, h, err)
				}
			}
			for _, rest := range []string{"", "GET / HTTP/1.1\r\n", "PROXY "} {
				h, err := Parse(append(append([]byte(nil), c.header...), rest...))
				if err != nil || h.Size != len(c.header) || h.Source != c.want {
					t.Fatalf("%+v, %v", h, err)
				}
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	bad := map[string]error{
		"GET / HTTP/1.1\r\n":                                             ErrNone,
		"\x16\x03\x01":                                                   ErrNone,
		"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n":                             ErrNone,
		"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n":                               ErrInvalid,
		"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n":                           ErrInvalid,
		"PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n":                            ErrInvalid,
		"PROXY TCP4 ::1 ::1 1 2\r\n":                                     ErrInvalid,
		"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n":                             ErrInvalid,
		"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n":                            ErrInvalid,
		"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n":                         ErrInvalid,
		"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n":                            ErrInvalid,
		"PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n":                            ErrInvalid,
		"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n":                             ErrInvalid,
		"PROXY \r\n":                                                     ErrInvalid,
		"PROXY TCP4 " + strings.Repeat("1", 200):                         ErrLong,
		string(v2(2, 0x11, addresses(four, four))):                       ErrInvalid,
		string(v2(1, 0x41, addresses(four, four))):                       ErrInvalid,
		string(v2(1, 0x13, addresses(four, four))):                       ErrInvalid,
		string(v2(1, 0x11, make([]byte, 11))):                            ErrInvalid,
		string(v2(1, 0x21, make([]byte, 35))):                            ErrInvalid,
		string(v2(1, 0x11, make([]byte, 5000))):                          ErrLong,
		string(signature) + "\x11\x11\x00\x0c" + strings.Repeat("x", 12): ErrInvalid,
	}
	for b, want := range bad {
		if h, err := Parse([]byte(b)); !errors.Is(err, want) {
			t.Errorf("%q: %+v, %v, want %v", b, h, err, want)
		}
	}
}

// A header that is whole is what one of the writers here would write, in its normal form.
func FuzzParse(f *testing.F) {
	for _, c := range good {
		f.Add(append(c.header, "rest"...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Parse(b)
		if err != nil {
			if h != (Header{}) {
				t.Fatal("an answer beside an error")
			}
			return
		}
		if h.Size > min(len(b), MaxHeader) || h.Size == 0 && len(b) >= MaxHeader {
			t.Fatalf("size %d of %d bytes", h.Size, len(b))
		}
		if h.Size == 0 {
			return
		}
		for cut := range h.Size {
			if part, err := Parse(b[:cut]); err != nil || part.Size != 0 {
				t.Fatalf("the first %d of %d bytes: %+v, %v", cut, h.Size, part, err)
			}
		}
		if h.Source.IsValid() {
			text := "TCP4"
			if h.Source.Addr().Is6() {
				text = "TCP6"
			}
			line := fmt.Sprintf("PROXY %s %s %s %d 1\r\n", text, h.Source.Addr(), h.Source.Addr(), h.Source.Port())
			if again, err := Parse([]byte(line)); err != nil || again.Source != h.Source {
				t.Fatalf("%q: %+v, %v", line, again, err)
			}
		}
	})
}
