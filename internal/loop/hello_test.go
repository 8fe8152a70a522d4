package loop

import (
	"crypto/tls"
	"testing"
)

func TestWholeHelloAtEveryCut(t *testing.T) {
	hello := clientHello(t, &tls.Config{ServerName: "example.com"})
	split := []byte{}
	for b := hello[5:]; len(b) > 0; { // the same in records of up to 100 bytes
		n := min(100, len(b))
		split = append(append(split, 22, 3, 1, 0, byte(n)), b[:n]...)
		b = b[n:]
	}
	for _, b := range [][]byte{hello, split} {
		for cut := range len(b) + 1 {
			whole, err := wholeHello(b[:cut])
			if err != nil || whole != (cut == len(b)) {
				t.Fatalf("cut at %d of %d: %v, %v", cut, len(b), whole, err)
			}
		}
	}
	for _, bad := range []string{"GET / HTTP/1.1\r\n", "\x16\x02\x01\x00\x05", "\x16\x03\x01\x00\x00", "\x16\x03\x01\x00\x01\x02", "\x16\x03\x01\x00\x04\x01\xff\xff\xff", "\x16\x03\x01\xff\xff"} {
		if _, err := wholeHello([]byte(bad)); err == nil {
			t.Errorf("%q is taken for the begin of a hello", bad)
		}
	}
}

func FuzzWholeHello(f *testing.F) {
	f.Add(clientHello(f, &tls.Config{ServerName: "example.com"}), 100)
	f.Add([]byte("\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x03\x00\x00\x00"), 6)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		whole, err := wholeHello(b)
		if cut < 0 || cut > len(b) {
			return
		}
		// What is true of the beginning stays true.
		if w, e := wholeHello(b[:cut]); w && !whole || e != nil && err == nil {
			t.Fatalf("%v, %v of the first %d; %v, %v of all %d", w, e, cut, whole, err, len(b))
		}
	})
}
