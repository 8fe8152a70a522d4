package stream

import "testing"

func FuzzParsePosition(f *testing.F) {
	for _, s := range []string{"0-0.0", "1700000000000-5.k3f9ab2x", "18446744073709551615-18446744073709551615.2rrvthnxtr", "1-1.", "1-1", ".1", "1-1.01", "1-1.A", "1-1.zzzzzzzzzz"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePosition(b)
		if err == nil && p.String() != string(b) {
			t.Fatalf("%q reads as %q", b, p)
		}
	})
}

func TestPosition(t *testing.T) {
	for _, p := range []Position{{}, {ID{1, 2}, 3}, {ID{1<<64 - 1, 1<<64 - 1}, MaxEpoch}} {
		text := p.String()
		if got, err := ParsePosition([]byte(text)); err != nil || got != p || len(text) > MaxPosition || len(text) > 64 {
			t.Errorf("%q reads as %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "-", "1-1", "1-1.", "1-1.A", "1-1.00", "01-1.0", "1-1.zzzzzzzzzz", "1-1.0 "} {
		if p, err := ParsePosition([]byte(bad)); err == nil {
			t.Errorf("%q reads as %v", bad, p)
		}
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = ParsePosition([]byte("1700000000000-5.k3f9ab2x")) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
