package api

import (
	"bufio"
	"fmt"
	"net/http"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// exportPage is how many entries of the log are read at once.
const exportPage = 500

// lines writes NDJSON, and gives a slow client its time for each piece.
type lines struct {
	c *call
	w *bufio.Writer
	n int
}

func (l *lines) line(v any) error {
	body, err := encode(v)
	if err != nil {
		return err
	}
	_, err = l.w.Write(body)
	if l.n++; l.n%exportPage == 0 && err == nil {
		return l.flush()
	}
	return err
}

func (l *lines) flush() error {
	_ = http.NewResponseController(l.c.w).SetWriteDeadline(time.Now().Add(writeTimeout))
	return l.w.Flush()
}

// export writes a board line by line: {"board"}, then {"row"} or {"entry"} each, then {"end"}, without which it was cut off.
func (a *API) export(c *call) error {
	of := c.r.URL.Query().Get("of")
	if of == "" {
		of = "state"
	}
	if of != "state" && of != "operations" {
		return malformed(fmt.Sprintf("of: %.20q", of), "state or operations")
	}
	b, err := a.ofBoard(c)
	if err != nil {
		return err
	}
	l := &lines{c: c, w: bufio.NewWriterSize(c.w, 64<<10)}
	if of == "state" {
		return a.exportState(c, l, b)
	}
	return a.exportOperations(c, l, b)
}

func (c *call) beginExport(b store.Board, of string) {
	c.header("Content-Type", "application/x-ndjson")
	c.header("Content-Disposition", fmt.Sprintf(`attachment; filename="%s-%s.ndjson"`, b.ID, of))
	c.status = 200
	c.w.WriteHeader(200)
}

// exportEnd is the last line.
type exportEnd struct {
	Seq   int64 `json:"seq"`
	Lines int   `json:"lines"` // between the first and this one
}

func (a *API) exportState(c *call, l *lines, b store.Board) error {
	d, err := a.whole(c, b.ID)
	if err != nil {
		return err
	}
	b.Seq, b.Hash = d.To, d.Hash
	c.beginExport(b, "state")
	if err := l.line(map[string]store.Board{"board": b}); err != nil {
		return err
	}
	for _, row := range d.Rows {
		if err := l.line(map[string]*board.Row{"row": row}); err != nil {
			return err
		}
	}
	if err := l.line(map[string]exportEnd{"end": {d.To, l.n - 1}}); err != nil {
		return err
	}
	return l.flush()
}

// exportOperations reads the log up to where it is now: others may go on writing.
func (a *API) exportOperations(c *call, l *lines, b store.Board) error {
	var after int64
	for first := true; first || after < b.Seq; first = false {
		entries, err := a.cfg.Store.Log(c.ctx(), c.user, b.ID, after, exportPage)
		if err != nil {
			return err
		}
		if first {
			c.beginExport(b, "operations")
			if err := l.line(map[string]store.Board{"board": b}); err != nil {
				return err
			}
		}
		if len(entries) == 0 {
			break // the last numbers are of purges, which are no entries
		}
		for _, e := range entries {
			if after = e.Result.Seq; after > b.Seq {
				break
			}
			if err := l.line(map[string]store.Logged{"entry": e}); err != nil {
				return err
			}
		}
	}
	if err := l.line(map[string]exportEnd{"end": {b.Seq, l.n - 1}}); err != nil {
		return err
	}
	return l.flush()
}
