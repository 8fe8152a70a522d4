package protocol

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

type vectors struct {
	Commands []struct {
		Frame, Verb, Channel, Position, ID, Token, Body string
		Ref                                             uint64
		Presence                                        bool
		Code                                            Code
	}
	Pushes []struct {
		Frame, Verb, Body string
		Tokens            []string
	}
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCommandVectors(t *testing.T) {
	for _, v := range readVectors(t).Commands {
		var c Command
		err := ParseCommand([]byte(v.Frame), &c)
		if c.Ref != v.Ref {
			t.Errorf("%q: ref %d, want %d", v.Frame, c.Ref, v.Ref)
		}
		if v.Code != 0 {
			if err == nil || err.Code != v.Code {
				t.Errorf("%q: %v, want code %d", v.Frame, err, v.Code)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", v.Frame, err)
			continue
		}
		got := []string{c.Verb.String(), string(c.Channel), string(c.Position), string(c.ID), string(c.Token), string(c.Body)}
		if want := []string{v.Verb, v.Channel, v.Position, v.ID, v.Token, v.Body}; !slices.Equal(got, want) || c.Presence != v.Presence {
			t.Errorf("%q: %q, want %q", v.Frame, got, want)
		}
	}
}

func TestPushVectors(t *testing.T) {
	for _, v := range readVectors(t).Pushes {
		p, err := ParsePush([]byte(v.Frame))
		if err != nil || p.Verb != v.Verb || !slices.Equal(p.Tokens, v.Tokens) || string(p.Body) != v.Body {
			t.Errorf("%q: %+v, %v", v.Frame, p, err)
		}
	}
}

func TestAppendGivesTheVectors(t *testing.T) {
	f := func(got []byte, want string) {
		t.Helper()
		if string(got) != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f(AppendHello(nil, "s1", []byte(`{"node":"n"}`)), "hello s1\n{\"node\":\"n\"}")
	f(AppendOK(nil, 1, nil), "ok 1")
	f(AppendOK(nil, 1, []byte("5-0")), "ok 1 5-0")
	f(AppendErr(nil, 0, 400, "unknown verb"), "err - 400 unknown verb")
	f(AppendErr(nil, 7, 500, " two\nlines \x00 and ünïcode "), "err 7 500 two lines and n code")
	f(append(AppendRes(nil, 4), "answer"...), "res 4\nanswer")
	f(append(AppendMsg(nil, "echo:a", []byte("5-0")), "hello\nthere"...), "msg echo:a 5-0\nhello\nthere")
	f(AppendGap(nil, "echo:a", []byte("5-0")), "gap echo:a 5-0")
	f(AppendRevoke(nil, "echo:a", 403, "no more"), "revoke echo:a 403 no more")
	f(AppendBye(nil, 4000, 1500, "drain"), "bye 4000 1500 drain")
	f(AppendPong(nil, 0), "pong")
	f(AppendPong(nil, 3), "pong 3")
	if head := AppendErr(nil, MaxRef, 500, strings.Repeat("x", 5000)); len(head) > MaxHead {
		t.Errorf("a head of %d bytes", len(head))
	}
}

func TestHeadLimit(t *testing.T) {
	var c Command
	long := "auth 1 " + strings.Repeat("x", MaxHead-7)
	if err := ParseCommand([]byte(long), &c); err != nil {
		t.Fatalf("a head of %d bytes: %v", len(long), err)
	}
	if err := ParseCommand([]byte(long+"x"), &c); err != errHeadLong {
		t.Fatalf("a head of %d bytes: %v", len(long)+1, err)
	}
	if err := ParseCommand([]byte("pub 1 a\n"+strings.Repeat("x ", 5000)), &c); err != nil {
		t.Fatalf("a long body: %v", err)
	}
	if err := ParseCommand([]byte("pub 1 a "+strings.Repeat("i", MaxID+1)), &c); err != errID {
		t.Fatalf("a long id: %v", err)
	}
	if err := ParseCommand([]byte("sub 1 "+strings.Repeat("c", MaxChannel+1)), &c); err != errChannel {
		t.Fatalf("a long channel: %v", err)
	}
	if err := ParseCommand([]byte("sub 1 a "+strings.Repeat("p", MaxPosition+1)), &c); err != errPosition {
		t.Fatalf("a long position: %v", err)
	}
}

func TestNamespace(t *testing.T) {
	for channel, want := range map[string]string{"a:b:c": "a", "lobby": "lobby", ":x": "", "a:": "a"} {
		if got := Namespace([]byte(channel)); string(got) != want {
			t.Errorf("%q: %q, want %q", channel, got, want)
		}
	}
}

func TestParseCommandDoesNotAllocate(t *testing.T) {
	frames := [][]byte{[]byte("pub 12 echo:room-1 key\nhello"), []byte("sub 1 a - presence"), []byte("nonsense"), []byte("sub 1 ä")}
	var c Command
	if n := testing.AllocsPerRun(1000, func() {
		for _, f := range frames {
			_ = ParseCommand(f, &c)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// FuzzParseCommand asks that whatever is accepted obeys the grammar, and that writing it anew gives the same frame.
func FuzzParseCommand(f *testing.F) {
	f.Add([]byte("sub 1 a - presence"))
	f.Add([]byte("pub 2 a:b id\nbody"))
	f.Add([]byte("auth 3 t"))
	f.Add([]byte("ping"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		var c Command
		if err := ParseCommand(frame, &c); err != nil {
			if err.Code != CodeMalformed && err.Code != CodeForbidden {
				t.Fatalf("%q: %v", frame, err)
			}
			return
		}
		head, body, lf := bytes.Cut(frame, []byte("\n"))
		tokens := strings.Split(string(head), " ")
		if len(head) > MaxHead || slices.Contains(tokens, "") || tokens[0] != c.Verb.String() {
			t.Fatalf("%q was accepted", frame)
		}
		if lf && c.Verb != VerbPing && !bytes.Equal(body, c.Body) {
			t.Fatalf("%q: body %q", frame, c.Body)
		}
		for _, part := range [][]byte{c.Channel, c.ID, c.Token, c.Position} {
			if len(part) > 0 && !slices.Contains(tokens, string(part)) {
				t.Fatalf("%q: %q is no token of it", frame, part)
			}
		}
	})
}

func FuzzParsePush(f *testing.F) {
	f.Add([]byte("msg a 1-0\nx"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		p, err := ParsePush(frame)
		if err == nil && !bytes.HasSuffix(frame, p.Body) {
			t.Fatalf("%q: body %q", frame, p.Body)
		}
	})
}
