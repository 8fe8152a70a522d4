package worker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

// Each question gets one answer, and no answer of the handler is a no.
func TestPermissions(t *testing.T) {
	onRedis(t, func(b *bed) {
		b.openNode("n1")
		b.start(map[string]Handler{
			"room": func(_ context.Context, e *Event) error {
				switch {
				case !e.Asked(): // told, not asked
					e.Grant(time.Minute)
				case e.Channel == "room:yes":
					e.Grant(1500 * time.Millisecond)
					e.Deny(403, "too late")
				case e.Channel == "room:once":
					e.Grant(0)
				case e.Channel == "room:no":
					e.Deny(0, "members only")
					e.Reply([]byte("this is no req"))
				case e.Channel == "room:error":
					return errors.New("out of order")
				}
				return nil
			},
			Any: func(_ context.Context, e *Event) error {
				if e.Kind == stream.KindOpen {
					e.Deny(4100, "who are you?")
				}
				return nil
			},
		})
		ask := func(kind stream.Kind, ref, channel string) {
			b.add(stream.Event{Kind: kind, Channel: channel, Ref: ref})
		}
		ask(stream.KindSub, "1", "room:yes")
		b.wantDone()
		ask(stream.KindSub, "-", "room:told")
		b.wantDone()
		ask(stream.KindSub, "2", "room:once")
		b.wantDone()
		ask(stream.KindSub, "3", "room:no")
		b.wantDone()
		ask(stream.KindSub, "4", "room:error")
		b.wantDone()
		ask(stream.KindSub, "5", "room:nothing")
		b.wantDone()
		ask(stream.KindOpen, "9007199254740992", "")
		b.wantDone()
		grant := func(ref, data string) stream.Answer {
			return stream.Answer{Kind: stream.KindGrant, Conn: "conn1", Ref: ref, Data: data}
		}
		deny := func(ref string, code int, text string) stream.Answer {
			return stream.Answer{Kind: stream.KindErr, Conn: "conn1", Ref: ref, Code: code, Data: text}
		}
		got := b.answers("n1")
		want := []stream.Answer{
			grant("1", `{"ttl_ms":1500}`), grant("2", ""), deny("3", 403, "members only"), deny("4", 500, "backend failed"),
			deny("5", 403, "the backend does not allow it"), deny("9007199254740992", 4100, "who are you?"),
		}
		if len(got) != len(want) {
			t.Fatalf("%d answers: %+v", len(got), got)
		}
		for i := range want {
			wantEqual(t, "answer", got[i], want[i])
		}
	})
}
