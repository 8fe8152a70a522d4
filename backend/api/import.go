package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/boardfile"
	"github.com/millracehq/millrace/backend/store"
)

const (
	importOps   = 100 // operations of one mutation
	importBatch = 2   // mutations of one commit: what is looked for among what has changed grows with it
)

// imported is what became of an import.
type imported struct {
	Board   store.Board    `json:"board"`
	Rows    map[string]int `json:"rows"`    // by kind
	Skipped []string       `json:"skipped"` // what was left out or changed, for people
}

// importBoard makes a board of a file. The rows come in many commits; the same request with the same board and file goes on where an
// earlier one was cut off, since its mutations have the same numbers.
func (a *API) importBoard(c *call) error {
	workspace, err := c.pathID("workspace")
	if err != nil {
		return err
	}
	params := c.r.URL.Query()
	id, err := newID(params.Get("board"))
	if err != nil {
		return err
	}
	text, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxImport))
	if err != nil {
		return bodyError(err)
	}
	var file *boardfile.File
	switch format := params.Get("format"); format {
	case "trello":
		file, err = boardfile.ReadTrello(bytes.NewReader(text))
	case "csv":
		file, err = boardfile.ReadCSV(bytes.NewReader(text))
	default:
		return malformed(fmt.Sprintf("format: %.20q", format), "trello or csv")
	}
	if err != nil {
		return problem(422, "file", err.Error(), "repair the file, or export it again")
	}
	if title := params.Get("title"); title != "" {
		file.Title = title
	}
	if file.Title == "" {
		file.Title = "Imported board"
	}
	if err := checkText("title", file.Title); err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	client := "import-" + hex.EncodeToString(sum[:16])
	if err := a.boardFor(c, workspace, id, file.Title, client); err != nil {
		return err
	}
	if err := a.commitFile(c.ctx(), c.user, id, client, file.Ops); err != nil {
		return err
	}
	b, err := a.cfg.Store.Board(c.ctx(), c.user, id)
	if err != nil {
		return err
	}
	c.header("Location", "/v1/boards/"+id)
	return c.json(201, imported{b, file.Rows, nonNil(file.Skipped)})
}

// boardFor makes the board, unless an import of this file has begun on it.
func (a *API) boardFor(c *call, workspace, id, title, client string) error {
	_, err := a.cfg.Store.CreateBoard(c.ctx(), c.user, workspace, id, title)
	if !errors.Is(err, store.ErrExists) {
		return err
	}
	b, hidden := a.cfg.Store.Board(c.ctx(), c.user, id)
	if hidden != nil || b.Workspace != workspace {
		return err
	}
	d, pulled := a.cfg.Store.Pull(c.ctx(), c.user, id, store.Since{Seq: b.Seq, Client: client})
	if pulled != nil {
		return pulled
	}
	if b.Seq > 0 && len(d.Results) == 0 {
		return err
	}
	return nil
}

// commitFile commits the operations as mutations that others have seen nothing of.
func (a *API) commitFile(ctx context.Context, user, id, client string, ops []board.Op) error {
	var batch []*board.Mutation
	now := time.Now().UnixMilli() * 1000
	for n := int64(1); len(ops) > 0; n++ {
		some := ops[:min(importOps, len(ops))]
		ops = ops[len(some):]
		batch = append(batch, &board.Mutation{Client: client, N: n, Schema: board.Schema, TS: now, User: user, Ops: some})
		if len(batch) < importBatch && len(ops) > 0 {
			continue
		}
		d, err := a.cfg.Store.Commit(ctx, id, batch)
		if err != nil {
			return err
		}
		for _, r := range d.Results {
			if r.Status == board.Rejected || r.Status == board.Gap {
				return problem(422, "file", fmt.Sprintf("what the file says is refused: %s %s", r.Code, r.Text), "delete the board, repair the file, and import it into a new one")
			}
		}
		batch = batch[:0]
	}
	return nil
}
