package boardclient

import (
	"context"
	"encoding/json"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/replica"
	"github.com/millracehq/millrace/gateway/client"
)

// Bodies fetches what heads have left out of rows, and returns when the copy has it. A row that is not on the board lacks nothing. It is for one
// who opens a card: they come before those of [Board.AllBodies]. Run must be running; an error is that of ctx.
func (b *Board) Bodies(ctx context.Context, rows ...board.Key) error {
	b.mu.Lock()
	for _, k := range rows {
		b.opened[k] = struct{}{}
	}
	b.notify()
	b.mu.Unlock()
	return b.Wait(ctx, func(c *replica.Replica) bool {
		for _, k := range rows {
			if c.Base().Lacks(k) {
				return false
			}
		}
		return c.Ready()
	})
}

// AllBodies fetches what is missing of the whole board, some hundred rows at a time and whenever there is nothing else to do, and returns when
// nothing is. Run must be running; an error is that of ctx.
func (b *Board) AllBodies(ctx context.Context) error {
	b.mu.Lock()
	b.wantAll++
	b.notify()
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.wantAll--
	}()
	return b.Wait(ctx, func(c *replica.Replica) bool { return c.Ready() && c.Base().Missing() == 0 })
}

// wanted are the rows to ask for next: those that somebody has opened, then any. What is not missing any more is forgotten. b.mu is held.
func (b *Board) wanted() (rows []board.Key) {
	base := b.copy.Base()
	for k := range b.opened {
		switch {
		case !base.Lacks(k):
			delete(b.opened, k)
		case len(rows) < board.MaxBodies:
			rows = append(rows, k)
		}
	}
	if b.wantAll == 0 {
		return rows
	}
	for k := range base.MissingKeys() {
		if len(rows) == board.MaxBodies {
			break
		}
		if _, already := b.opened[k]; !already {
			rows = append(rows, k)
		}
	}
	return rows
}

// fetch asks for the bodies of rows.
func (b *Board) fetch(ctx context.Context, conn *client.Conn, rows []board.Key) error {
	data, err := b.request(ctx, conn, map[string]any{"do": "bodies", "rows": rows})
	if err != nil {
		return err
	}
	var bodies board.Bodies
	if err := json.Unmarshal(data, &bodies); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	need := b.copy.ReceiveBodies(&bodies)
	if need == replica.Reload {
		b.diverged++
	}
	b.need = max(b.need, need)
	b.notify()
	return nil
}
