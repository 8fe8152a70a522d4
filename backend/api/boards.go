package api

import (
	"fmt"
	"strconv"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

func boardID(b store.Board) string { return b.ID }

func (a *API) boards(c *call) error {
	all, err := a.cfg.Store.Boards(c.ctx(), c.user)
	if err != nil {
		return err
	}
	return paged(c, all, boardID)
}

func (a *API) boardsOf(c *call) error {
	w, err := a.ofWorkspace(c)
	if err != nil {
		return err
	}
	all, err := a.cfg.Store.Boards(c.ctx(), c.user)
	if err != nil {
		return err
	}
	return paged(c, sorted(all, w.ID), boardID)
}

func (a *API) createBoard(c *call) error {
	workspace, err := c.pathID("workspace")
	if err != nil {
		return err
	}
	var body struct {
		ID    string `json:"id"`
		Title string `json:"title"`
	}
	if err := c.read(&body); err != nil {
		return err
	}
	if err := checkText("title", body.Title); err != nil {
		return err
	}
	id, err := newID(body.ID)
	if err != nil {
		return err
	}
	b, err := a.cfg.Store.CreateBoard(c.ctx(), c.user, workspace, id, body.Title)
	if err != nil {
		return err
	}
	c.header("Location", "/v1/boards/"+id)
	return c.one(201, b, b.Version)
}

// ofBoard is the board of the path, as its user sees it.
func (a *API) ofBoard(c *call) (store.Board, error) {
	id, err := c.pathID("board")
	if err != nil {
		return store.Board{}, err
	}
	return a.cfg.Store.Board(c.ctx(), c.user, id)
}

func (a *API) board(c *call) error {
	b, err := a.ofBoard(c)
	if err != nil {
		return err
	}
	return c.one(200, b, b.Version)
}

func (a *API) renameBoard(c *call) error {
	id, err := c.pathID("board")
	if err != nil {
		return err
	}
	var body struct {
		Title string `json:"title"`
	}
	if err := c.read(&body); err != nil {
		return err
	}
	if err := checkText("title", body.Title); err != nil {
		return err
	}
	version, err := c.version()
	if err != nil {
		return err
	}
	b, err := a.cfg.Store.Rename(c.ctx(), c.user, id, body.Title, version)
	if err != nil {
		return err
	}
	return c.one(200, b, b.Version)
}

// snapshot is the whole board as of now, or the heads of its rows. Its tag is the state of the rows, so who has it need not fetch it again.
func (a *API) snapshot(c *call) error {
	heads, err := c.heads()
	if err != nil {
		return err
	}
	b, err := a.ofBoard(c)
	if err != nil {
		return err
	}
	if tag := snapshotTag(b.Seq, b.Hash, heads); c.r.Header.Get("If-None-Match") == tag {
		c.header("ETag", tag)
		c.header("Cache-Control", "private, no-cache")
		c.write(304, nil)
		return nil
	}
	d, err := a.whole(c, b.ID)
	if err != nil {
		return err
	}
	c.header("ETag", snapshotTag(d.To, d.Hash, heads))
	c.header("Cache-Control", "private, no-cache")
	return c.snapshot(d, heads)
}

// snapshotAt is the board at a sequence number, which never changes: caches of this user may keep it. Only the present one is there.
func (a *API) snapshotAt(c *call) error {
	heads, err := c.heads()
	if err != nil {
		return err
	}
	id, err := c.pathID("board")
	if err != nil {
		return err
	}
	seq, err := strconv.ParseInt(c.r.PathValue("seq"), 10, 64)
	if err != nil || seq < 0 {
		return problem(404, "not-found", fmt.Sprintf("seq: %.30q is no sequence number", c.r.PathValue("seq")), "take the seq of the board")
	}
	b, err := a.cfg.Store.Board(c.ctx(), c.user, id)
	if err != nil {
		return err
	}
	gone := func(now int64) error {
		p := problem(404, "not-found", fmt.Sprintf("the board is at %d", now), "take the snapshot of that number, or /snapshot for the present one")
		p.Current = b
		return p
	}
	if b.Seq != seq {
		return gone(b.Seq)
	}
	d, err := a.whole(c, id)
	if err != nil {
		return err
	}
	if d.To != seq {
		return gone(d.To)
	}
	c.header("ETag", snapshotTag(d.To, d.Hash, heads))
	c.header("Cache-Control", "private, max-age=31536000, immutable")
	c.header("Vary", "Authorization")
	return c.snapshot(d, heads)
}

func snapshotTag(seq int64, hash string, heads bool) string {
	if heads {
		hash += "-heads"
	}
	return fmt.Sprintf(`"%d-%s"`, seq, hash)
}

// heads is what the parameter view says: whether bodies are to be left out.
func (c *call) heads() (bool, error) {
	switch view := c.r.URL.Query().Get("view"); view {
	case "", "whole":
		return false, nil
	case "heads":
		return true, nil
	default:
		return false, malformed(fmt.Sprintf("view: %.20q", view), "whole or heads")
	}
}

// snapshot answers with a board.
func (c *call) snapshot(d board.Delta, heads bool) error {
	if heads {
		for i, row := range d.Rows {
			d.Rows[i] = row.Head()
		}
	}
	return c.json(200, d)
}

// whole is all of a board, as a delta that a replica takes.
func (a *API) whole(c *call, id string) (board.Delta, error) {
	d, err := a.cfg.Store.Pull(c.ctx(), c.user, id, store.Since{})
	d.Pull = false
	if d.Rows == nil {
		d.Rows = []*board.Row{}
	}
	return d, err
}

func (a *API) history(c *call) error {
	id, err := c.pathID("board")
	if err != nil {
		return err
	}
	card, err := c.pathID("card")
	if err != nil {
		return err
	}
	limit, err := c.limit(maxLimit)
	if err != nil {
		return err
	}
	var before int64
	if err := c.cursor(&before); err != nil {
		return err
	}
	entries, next, err := a.cfg.Store.History(c.ctx(), c.user, id, board.Key{Kind: board.KindCard, ID: card}, before, limit)
	if err != nil {
		return err
	}
	p := page{Items: nonNil(entries)}
	if next > 0 {
		p.Next = cursorOf(next)
	}
	return c.json(200, p)
}

func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func (a *API) conflicts(c *call) error {
	id, err := c.pathID("board")
	if err != nil {
		return err
	}
	limit, err := c.limit(maxLimit)
	if err != nil {
		return err
	}
	var behind store.Spot
	if err := c.cursor(&behind); err != nil {
		return err
	}
	lost, err := a.cfg.Store.Conflicts(c.ctx(), c.user, id, behind, limit)
	if err != nil {
		return err
	}
	p := page{Items: nonNil(lost)}
	if len(lost) == limit {
		p.Next = cursorOf(lost[limit-1].Spot)
	}
	return c.json(200, p)
}

// search looks for words on all boards of the user, or on those that the parameters name.
func (a *API) search(c *call) error {
	limit, err := c.limit(maxSearchPage)
	if err != nil {
		return err
	}
	params := c.r.URL.Query()
	q := store.Query{Words: store.Words(params.Get("q")), Workspace: params.Get("workspace"), Board: params.Get("board"), Limit: limit}
	if len(q.Words) == 0 {
		return malformed("q has no words", "say what to search for: letters and digits")
	}
	for name, id := range map[string]string{"workspace": q.Workspace, "board": q.Board} {
		if id != "" && !board.ValidID(id) {
			return malformed(fmt.Sprintf("%s: %.80q is no ID", name, id), "leave it out to search everywhere")
		}
	}
	if params.Get("after") != "" {
		q.After = new(store.Hit)
		if err := c.cursor(q.After); err != nil {
			return err
		}
	}
	hits, err := a.cfg.Store.Search(c.ctx(), c.user, q)
	if err != nil {
		return err
	}
	p := page{Items: nonNil(hits)}
	if len(hits) == limit {
		last := hits[limit-1]
		p.Next = cursorOf(store.Hit{Board: last.Board, Kind: last.Kind, ID: last.ID, TS: last.TS})
	}
	return c.json(200, p)
}
