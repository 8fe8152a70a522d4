package sim

import (
	"fmt"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/replica"
)

// token is a text that exists once.
func (w *world) token() string {
	w.tokens++
	return fmt.Sprintf("token-%d", w.tokens)
}

// rows of a kind in the client's view.
func (w *world) rows(c *client, kind string) []string {
	var ids []string
	for _, r := range c.copy.Base().All() {
		if r.Kind == kind {
			ids = append(ids, r.ID)
		}
	}
	for _, m := range c.saved.Pending {
		for _, o := range m.Ops {
			if o.Op == board.OpPut && o.Kind == kind {
				ids = append(ids, o.ID)
			}
		}
	}
	return ids
}

func (w *world) pick(ids []string) string { return ids[w.r.IntN(len(ids))] }

// edit has the client do something, as its user sees the board.
func (w *world) edit(c *client) {
	columns, cards := w.rows(c, board.KindColumn), w.rows(c, board.KindCard)
	var ops []board.Op
	if len(columns) < 2 || len(columns) < 6 && w.chance(3) {
		w.tokens++
		ops = append(ops, board.Op{
			Op: board.OpPut, Kind: board.KindColumn, ID: fmt.Sprintf("column%d", w.tokens),
			Values: map[string]board.Value{"title": board.Text(w.token())},
		})
	} else {
		for range 1 + w.r.IntN(2) {
			ops = append(ops, w.cardOp(columns, cards))
		}
	}
	w.do(c, ops...)
}

func (w *world) cardOp(columns, cards []string) board.Op {
	if len(cards) < 3 || len(cards) < 25 && w.chance(20) {
		w.tokens++
		o := board.Op{
			Op: board.OpPut, Kind: board.KindCard, ID: fmt.Sprintf("card%d", w.tokens), Lane: w.pick(columns),
			Values: map[string]board.Value{"title": board.Text(w.token())},
		}
		if len(cards) > 0 {
			o.After = w.pick(cards)
		}
		return o
	}
	card := w.pick(cards)
	if w.chance(60) {
		card = w.pick(cards[:3]) // where people meet
	}
	switch w.r.IntN(20) {
	case 0, 1, 2, 3, 4, 5:
		v := board.Text(w.token())
		return board.Op{Op: board.OpSet, Kind: board.KindCard, ID: card, Group: "title", Value: &v}
	case 6, 7, 8, 9, 10:
		return board.Op{Op: board.OpMove, Kind: board.KindCard, ID: card, Lane: w.pick(columns), After: w.pick(cards)}
	case 11, 12:
		v := board.Text(w.pick(cards))
		return board.Op{Op: board.OpSet, Kind: board.KindCard, ID: card, Group: board.GroupParent, Value: &v}
	case 13:
		v := board.Text([]string{board.Live, board.Archived, board.Deleted, board.Deleted}[w.r.IntN(4)])
		return board.Op{Op: board.OpLife, Kind: board.KindCard, ID: card, Value: &v}
	case 14, 15:
		return board.Op{Op: board.OpMark, ID: card, Set: "label", Element: fmt.Sprintf("label%d", w.r.IntN(3)), Present: w.chance(70)}
	case 16, 17, 18:
		v := board.Text(fmt.Sprintf("%s\nmiddle\n%s\n", w.token(), w.token()))
		return board.Op{Op: board.OpText, ID: card, From: "", Value: &v}
	default:
		return board.Op{Op: board.OpColumnDelete, ID: w.pick(columns), Into: w.pick(columns)}
	}
}

// crowd makes the client insert at one spot again and again.
func (w *world) crowd(c *client) {
	cards := w.rows(c, board.KindCard)
	columns := w.rows(c, board.KindColumn)
	if len(cards) < 3 || len(columns) == 0 {
		return
	}
	anchor, lane := w.pick(cards), ""
	if row, _ := c.copy.View().Row(board.Key{Kind: board.KindCard, ID: anchor}); row != nil {
		p, _ := row.Place()
		lane = p.Lane
	}
	if lane == "" {
		return
	}
	for i := range 60 {
		card := cards[i%len(cards)]
		if card == anchor {
			continue
		}
		w.do(c, board.Op{Op: board.OpMove, Kind: board.KindCard, ID: card, Lane: lane, After: anchor})
	}
}

// do makes a mutation, and checks that its author sees it.
func (w *world) do(c *client, ops ...board.Op) {
	for i := range ops {
		if o := &ops[i]; o.Op == board.OpText {
			if row, _ := c.copy.View().Row(o.Key()); row != nil {
				o.From = row.Regs[board.GroupBody].Value.Text()
			}
		}
	}
	out := c.copy.Do(w.now+c.skew, 0, ops...)
	if out.Result.Code == replica.CodeNoBody {
		w.counts.Blind++
		w.askBodies(c, false)
	}
	if out.Result.Status == board.Rejected {
		return
	}
	w.counts.Mutations++
	c.saved = c.copy.State()
	w.history.issue(c.saved.Pending[len(c.saved.Pending)-1])
	last := ops[len(ops)-1]
	if last.Op == board.OpSet && last.Group == "title" {
		if row, _ := c.copy.View().Row(last.Key()); row == nil || row.Regs["title"].Value != *last.Value {
			w.history.fail("%s does not see what it wrote: %v", c.saved.Client, *last.Value)
		}
	}
}
