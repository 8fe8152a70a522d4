package boardclient

import (
	"fmt"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/board"
)

func TestCursors(t *testing.T) {
	t.Parallel()
	b, err := Open(t.Context(), Config{Board: "b", User: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	c, now := &b.cursors, time.Now()
	if p := c.next(time.Hour); p != nil {
		t.Errorf("before it was said: %+v", p)
	}
	b.Point(board.Key{Kind: "card", ID: "x"}, "reads")
	b.Point(board.Key{Kind: "card", ID: "y"}, "writes")
	if p := c.next(0); p == nil || p.At.ID != "y" || p.User != "ann" {
		t.Errorf("the last one: %+v", p)
	}
	if p := c.next(pointAgain - 1); p != nil {
		t.Errorf("again: %+v", p)
	}
	if p := c.next(pointAgain); p == nil || p.At.ID != "y" {
		t.Errorf("after a while: %+v", p)
	}
	for _, bad := range []string{"", "{", `{"client":""}`, `{"client":"me"}`, `{"client":7}`} {
		c.take([]byte(bad), "me", now)
	}
	if got := c.at(now); len(got) != 0 {
		t.Errorf("of nonsense: %+v", got)
	}
	c.take([]byte(`{"client":"b","user":"bob","at":{"kind":"card","id":"x"}}`), "me", now)
	c.take([]byte(`{"client":"a","user":"eve"}`), "me", now.Add(time.Second))
	if got := c.at(now.Add(cursorTTL)); len(got) != 2 || got[1].User != "bob" || got[1].At.ID != "x" {
		t.Errorf("two: %+v", got)
	}
	if got := c.at(now.Add(cursorTTL + 1)); len(got) != 1 || got[0].User != "eve" {
		t.Errorf("one has gone: %+v", got)
	}
	c.take([]byte(`{"client":"a","gone":true}`), "me", now)
	if got := c.at(now); len(got) != 0 {
		t.Errorf("the other has said so: %+v", got)
	}
	for i := range maxCursors + 5 {
		c.take(fmt.Appendf(nil, `{"client":"c%d"}`, i), "me", now.Add(time.Duration(i)))
	}
	if got := c.at(now); len(got) != maxCursors {
		t.Errorf("%d are kept", len(got))
	}
	if _, there := c.others["c4"]; there {
		t.Error("the oldest is kept")
	}
}

func FuzzCursor(f *testing.F) {
	f.Add([]byte(`{"client":"a","user":"eve","at":{"kind":"card","id":"x"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c cursors
		c.take(data, "me", time.Time{})
		if got := c.at(time.Time{}); len(got) > 1 || len(got) == 1 && (got[0].Client == "" || got[0].Client == "me") {
			t.Errorf("%+v", got)
		}
	})
}
