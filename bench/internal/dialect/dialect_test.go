package dialect

import (
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/internal/wsio"
)

// payloads takes apart what a client sends.
func payloads(t *testing.T, b []byte) (list []string) {
	t.Helper()
	for len(b) > 0 {
		h, ok, err := wsio.ParseHeader(b)
		if err != nil || !ok || !h.Masked || len(b) < h.Size+h.Length {
			t.Fatalf("not a frame of a client: %q (%v)", b, err)
		}
		p := b[h.Size:][:h.Length]
		ws.Cipher(p, h.Mask, 0)
		list = append(list, string(p))
		b = b[h.Size+h.Length:]
	}
	return list
}

func TestSent(t *testing.T) {
	body := []byte("hi")
	sub := func(d Dialect) []byte { b, _ := d.Subscribe(nil, []int{3, 4}); return b }
	for _, c := range []struct {
		name string
		got  []byte
		want string // messages, separated by |
	}{
		{"millrace sub", sub(Millrace{"echo"}), "sub 1 echo:3|sub 2 echo:4"},
		{"millrace pub", Millrace{"echo"}.Publish(nil, 7, body), "pub - echo:7\nhi"},
		{"socket.io greet", SocketIO{}.Greet(nil), "40"},
		{"socket.io sub", sub(SocketIO{}), `420["sub",["c3","c4"]]`},
		{"socket.io pub", SocketIO{}.Publish(nil, 7, body), `42["pub","c7","hi"]`},
		{"socket.io req", SocketIO{}.Request(nil, 7, body), `421["req","hi"]`},
		{"nats sub", sub(NATS{}), "SUB c.3 3\r\nSUB c.4 4\r\nPING\r\n"},
		{"nats pub", NATS{}.Publish(nil, 7, body), "PUB c.7 2\r\nhi\r\n"},
		{"nats req", NATS{}.Request(NATS{}.Inbox(nil, 7), 7, body), "SUB _r.7 reply\r\n|PUB echo _r.7 2\r\nhi\r\n"},
	} {
		if got := strings.Join(payloads(t, c.got), "|"); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		d    Dialect
		in   string
		kind Kind
		body string
		n    int // 0: all of it
	}{
		{Millrace{}, "hello x\n{}", Answer, "", 0},
		{Millrace{}, "ok 1 1-0.0", Answer, "", 0},
		{Millrace{}, "msg direct:1 1-0.0\nhi\nyou", Body, "hi\nyou", 0},
		{Millrace{}, "res 9\nhi", Body, "hi", 0},
		{Millrace{}, "err 9 503 later", Fault, "err 9 503 later", 0},
		{Millrace{}, "pong", Other, "", 0},
		{SocketIO{}, `0{"sid":"x"}`, Other, "", 0},
		{SocketIO{}, `40{"sid":"x"}`, Answer, "", 0},
		{SocketIO{}, `430[]`, Answer, "", 0},
		{SocketIO{}, `431["hi"]`, Body, "hi", 0},
		{SocketIO{}, `42["msg","hi"]`, Body, "hi", 0},
		{SocketIO{}, `44{"message":"no"}`, Fault, `44{"message":"no"}`, 0},
		{SocketIO{}, `2`, Probe, "", 0},
		{NATS{}, "INFO {}\r\nPONG\r\n", Other, "", len("INFO {}\r\n")},
		{NATS{}, "PONG\r\n", Answer, "", 0},
		{NATS{}, "PING\r\nPONG\r\n", Probe, "", len("PING\r\n")},
		{NATS{}, "MSG c.1 1 2\r\nhi\r\nPING\r\n", Body, "hi", len("MSG c.1 1 2\r\nhi\r\n")},
		{NATS{}, "MSG c.1 1 _r.2 4\r\n\r\n\r\n\r\n", Body, "\r\n\r\n", 0},
		{NATS{}, "MSG c.1 1 nine\r\n", Fault, "MSG c.1 1 nine", 0},
		{NATS{}, "-ERR 'Slow Consumer'\r\n", Fault, "-ERR 'Slow Consumer'", 0},
	} {
		ev, n := c.d.Read([]byte(c.in))
		want := c.n
		if want == 0 {
			want = len(c.in)
		}
		if ev.Kind != c.kind || string(ev.Body) != c.body || n != want {
			t.Errorf("%T reads %q as %d %q, %d bytes; want %d %q, %d", c.d, c.in, ev.Kind, ev.Body, n, c.kind, c.body, want)
		}
	}
}

func TestNATSIncomplete(t *testing.T) {
	const whole = "MSG c.1 1 2\r\nhi\r\n"
	for i := range whole {
		if ev, n := (NATS{}).Read([]byte(whole[:i])); n != 0 || ev.Kind != Other {
			t.Errorf("%q is taken for %d bytes", whole[:i], n)
		}
	}
}

func TestReference(t *testing.T) {
	seen := map[uint64]bool{}
	for _, body := range []string{"", "r0001000000000000001", "r0001000000000000002", strings.Repeat("z", 200)} {
		ref := reference([]byte(body))
		if ref < 1 || ref > 1<<53-1 || seen[ref] {
			t.Errorf("%q has REF %d", body, ref)
		}
		seen[ref] = true
	}
}
