package stream

import (
	"errors"
	"fmt"
	"testing"
)

func TestCRC16IsRedisClusters(t *testing.T) {
	// From the Redis Cluster specification, and CLUSTER KEYSLOT of a real server.
	if got := CRC16("123456789"); got != 0x31c3 {
		t.Fatalf("%#x, want 0x31c3", got)
	}
	for key, slot := range map[string]uint16{"foo": 12182, "bar": 5061, "hello": 866} {
		if got := CRC16([]byte(key)) % 16384; got != slot {
			t.Errorf("slot of %s: %d, want %d", key, got, slot)
		}
	}
}

func TestKeys(t *testing.T) {
	var k Keys
	for got, want := range map[string]string{
		k.In(7): "millrace:{7}:in", k.Out(7): "millrace:{7}:out", k.Node("n1"): "millrace:node:{n1}", k.Meta(): "millrace:meta",
		Keys{"x"}.In(0): "x:{0}:in",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if k.Seen(1, "a:b", "c") == k.Seen(1, "a", "b:c") {
		t.Error("two users share a seen key")
	}
}

func TestParseID(t *testing.T) {
	for s, want := range map[string]ID{"0-0": {}, "1700000000000-12": {1700000000000, 12}, "18446744073709551615-18446744073709551615": {1<<64 - 1, 1<<64 - 1}} {
		got, err := ParseID(s)
		if err != nil || got != want || got.String() != s {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "-", "1", "1-", "-1", "+1-1", "01-1", "1-1-1", "1- 1", "18446744073709551616-0", "a-b"} {
		if _, err := ParseID(s); !errors.Is(err, ErrID) {
			t.Errorf("%q: %v", s, err)
		}
	}
	if a, b := (ID{1, 2}), (ID{1, 3}); !a.Before(b) || b.Before(a) || a.Before(a) {
		t.Error("order")
	}
}

func texts(values []any) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = fmt.Sprint(v)
	}
	return out
}

func TestEntriesRoundTrip(t *testing.T) {
	e := Event{Kind: KindReq, Channel: "a:b", Node: "n", Conn: "c", User: "u", Ref: "4", ID: "i", At: 5, Trace: "t", Binary: true, Data: "d\x00"}
	if got, err := DecodeEvent(texts(e.Values())); err != nil || got != e {
		t.Errorf("%+v, %v", got, err)
	}
	p := Publication{Kind: KindPub, Channel: "a", ID: "i", Trace: "t", At: 9, Skip: "s", Binary: true, Data: "d"}
	if got, err := DecodePublication(texts(p.Values())); err != nil || got != p {
		t.Errorf("%+v, %v", got, err)
	}
	a := Answer{Kind: KindErr, Conn: "c", Ref: "7", Code: 403, Data: "no"}
	if got, err := DecodeAnswer(texts(a.Values())); err != nil || got != a {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestLeastPublication(t *testing.T) {
	got, err := DecodePublication([]string{"ch", "a", "data", "x", "unknown", "field"})
	if want := (Publication{Kind: KindPub, Channel: "a", Data: "x"}); err != nil || got != want {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestBadEntries(t *testing.T) {
	decoders := map[string]func([]string) error{
		"event":       func(f []string) error { _, err := DecodeEvent(f); return err },
		"publication": func(f []string) error { _, err := DecodePublication(f); return err },
		"answer":      func(f []string) error { _, err := DecodeAnswer(f); return err },
	}
	for name, bad := range map[string][][]string{
		"event":       {{}, {"kind"}, {"kind", "pub"}, {"kind", "x", "ch", "a"}, {"kind", "pub", "ch", "a", "at", "soon"}, {"kind", "pub", "ch", "a", "enc", "z"}},
		"publication": {{}, {"data", "x"}, {"kind", "x", "ch", "a"}, {"kind", "kick"}, {"kind", "revoke", "ch", "a"}, {"ch", "a", "data"}},
		"answer":      {{}, {"kind", "res", "conn", "c"}, {"kind", "res", "ref", "1"}, {"kind", "err", "conn", "c", "ref", "1", "code", "x"}, {"kind", "close", "conn", "c", "code", "70000"}},
	} {
		for _, fields := range bad {
			if err := decoders[name](fields); !errors.Is(err, ErrEntry) {
				t.Errorf("%s %q: %v", name, fields, err)
			}
		}
	}
}

// FuzzEntry: no field list makes a decoder panic, and what it accepts is written and read again unchanged.
func FuzzEntry(f *testing.F) {
	f.Add("kind", "pub", "ch", "a", "data", "x", "enc", "b")
	f.Add("kind", "res", "conn", "c", "ref", "1", "code", "5")
	f.Fuzz(func(t *testing.T, a, b, c, d, e, g, h, i string) {
		fields := []string{a, b, c, d, e, g, h, i}
		if v, err := DecodeEvent(fields); err == nil {
			if again, err := DecodeEvent(texts(v.Values())); err != nil || again != v {
				t.Fatalf("%q: %+v, then %+v, %v", fields, v, again, err)
			}
		}
		if v, err := DecodePublication(fields); err == nil {
			if again, err := DecodePublication(texts(v.Values())); err != nil || again != v {
				t.Fatalf("%q: %+v, then %+v, %v", fields, v, again, err)
			}
		}
		if v, err := DecodeAnswer(fields); err == nil {
			if again, err := DecodeAnswer(texts(v.Values())); err != nil || again != v {
				t.Fatalf("%q: %+v, then %+v, %v", fields, v, again, err)
			}
		}
	})
}
