package gateway

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/millracehq/millrace/gateway/client"
	"github.com/millracehq/millrace/gateway/internal/route"
)

// Who does not read is listed, the slowest first; who does is not.
func TestSlowestConnections(t *testing.T) {
	g := newTestGateway(t, Config{Loops: 2, OutboxBytes: 64 << 20})
	slowest := func(query string) (list []route.Slow) {
		t.Helper()
		code, body := g.get("/debug/slowest" + query)
		if err := json.Unmarshal([]byte(body), &list); code != 200 || list == nil || err != nil {
			t.Fatalf("%d %.200q, %v", code, body, err)
		}
		return list
	}
	if list := slowest(""); len(list) != 0 {
		t.Fatalf("nobody is slow, but %+v", list)
	}
	stuck, worse := g.connect(client.Options{}), g.connect(client.Options{})
	stuck.ask("sub 1 direct:x", "ok 1")
	worse.ask("sub 1 direct:x", "ok 1")
	worse.ask("sub 2 direct:y", "ok 2")
	reader, p := g.connect(client.Options{}), g.connect(client.Options{})
	reader.ask("sub 1 direct:y", "ok 1")
	body := bytes.Repeat([]byte("x"), 60_000)
	for i := 0; i%50 != 0 || len(slowest("")) < 2; i++ { // the kernel takes some MB of it first
		channel := "direct:x"
		if i%2 == 0 {
			channel = "direct:y"
		}
		p.ask("pub 1 "+channel+"\n"+string(body), "ok 1")
		if i%2 == 0 {
			reader.want("msg direct:y")
		}
	}
	var list []route.Slow
	eventually(t, "both are listed", func() bool { list = slowest(""); return len(list) == 2 })
	for i, c := range []*testConn{worse, stuck} {
		if s := list[i]; s.Session != c.session() || s.User != "anonymous" || s.Subscriptions != 2-i || s.Unsent == 0 || s.Remote == "" {
			t.Errorf("place %d: %+v, want %s", i, s, c.session())
		}
	}
	if list := slowest("?n=1"); len(list) != 1 || list[0].Session != worse.session() {
		t.Errorf("the slowest: %+v", list)
	}
}
