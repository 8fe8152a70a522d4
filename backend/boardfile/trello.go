package boardfile

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/millracehq/millrace/backend/board"
)

// trello is what is read of Trello's export (Menu, Share, Export as JSON).
type trello struct {
	Name   string       `json:"name"`
	Lists  []trelloList `json:"lists"`
	Labels []struct {
		ID    string `json:"id"`
		Name  string `json:"name"`
		Color string `json:"color"`
	} `json:"labels"`
	Cards      []trelloCard `json:"cards"`
	Checklists []struct {
		Name   string        `json:"name"`
		Card   string        `json:"idCard"`
		Pos    float64       `json:"pos"`
		Points []trelloPoint `json:"checkItems"`
	} `json:"checklists"`
	Actions []struct {
		ID     string `json:"id"`
		Type   string `json:"type"`
		Author struct {
			Name string `json:"username"`
		} `json:"memberCreator"`
		Data struct {
			Text string `json:"text"`
			Card struct {
				ID string `json:"id"`
			} `json:"card"`
		} `json:"data"`
	} `json:"actions"`
}

type trelloList struct {
	ID     string  `json:"id"`
	Name   string  `json:"name"`
	Closed bool    `json:"closed"`
	Pos    float64 `json:"pos"`
}

type trelloPoint struct {
	ID    string  `json:"id"`
	Name  string  `json:"name"`
	State string  `json:"state"`
	Pos   float64 `json:"pos"`
}

type trelloCard struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Desc        string            `json:"desc"`
	Closed      bool              `json:"closed"`
	List        string            `json:"idList"`
	Pos         float64           `json:"pos"`
	Due         *time.Time        `json:"due"`
	Done        bool              `json:"dueComplete"`
	Labels      []string          `json:"idLabels"`
	Members     []string          `json:"idMembers"`
	Attachments []json.RawMessage `json:"attachments"`
}

// ReadTrello reads Trello's export: lists, cards, labels, checklists and comments, in their order. Members are other people there, and
// attachments are elsewhere: both are left out.
func ReadTrello(r io.Reader) (*File, error) {
	var t trello
	if err := json.NewDecoder(r).Decode(&t); err != nil {
		return nil, fmt.Errorf("not Trello's JSON: %w", err)
	}
	if t.Lists == nil || t.Cards == nil {
		return nil, fmt.Errorf("not Trello's JSON of a board: there are no lists or no cards in it")
	}
	f := newFile()
	f.Title = f.text("the board's name", t.Name, board.MaxTitle).Text()
	columns, cards, labels := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	slices.SortStableFunc(t.Lists, func(a, b trelloList) int { return cmp.Compare(a.Pos, b.Pos) })
	for _, l := range t.Lists {
		if first(f, columns, "list", l.ID) {
			f.put(board.KindColumn, idOf(l.ID), "", map[string]board.Value{"title": f.text("list "+l.Name, l.Name, board.MaxTitle)})
		}
	}
	for _, l := range t.Labels {
		if first(f, labels, "label", l.ID) {
			f.put(board.KindLabel, idOf(l.ID), "", map[string]board.Value{
				"title": f.text("a label", l.Name, board.MaxTitle), "color": f.text("a label's color", l.Color, board.MaxID),
			})
		}
	}
	slices.SortStableFunc(t.Cards, func(a, b trelloCard) int { return cmp.Compare(a.Pos, b.Pos) })
	for i := range t.Cards {
		f.trelloCard(&t.Cards[i], columns, cards, labels)
	}
	f.trelloParts(&t, cards)
	for _, l := range t.Lists {
		if l.Closed && columns[l.ID] {
			f.archive(board.KindColumn, idOf(l.ID))
		}
	}
	return f.end()
}

// first notes an ID, and says whether it is one, for the first time.
func first(f *File, seen map[string]bool, what, id string) bool {
	if id == "" || seen[id] {
		f.skip("a %s without an ID, or with one that is there twice: %.40q", what, id)
		return false
	}
	seen[id] = true
	return true
}

func (f *File) trelloCard(c *trelloCard, columns, cards, labels map[string]bool) {
	if !columns[c.List] {
		f.skip("card %.60q: its list is not in the file", c.Name)
		return
	}
	if !first(f, cards, "card", c.ID) {
		return
	}
	id := idOf(c.ID)
	what := fmt.Sprintf("card %.60q", c.Name)
	values := map[string]board.Value{"title": f.text(what, c.Name, board.MaxTitle)}
	if c.Desc != "" {
		values[board.GroupBody] = f.text(what+", description", c.Desc, board.MaxText)
	}
	if c.Due != nil && c.Due.UnixMilli() >= 0 {
		values["due"] = board.Integer(c.Due.UnixMilli())
	}
	if c.Done {
		values["done"] = board.Bool(true)
	}
	f.put(board.KindCard, id, idOf(c.List), values)
	for _, l := range c.Labels {
		if labels[l] {
			f.label(id, idOf(l))
		}
	}
	if n := len(c.Members); n > 0 {
		f.skip("%s: %d members", what, n)
	}
	if n := len(c.Attachments); n > 0 {
		f.skip("%s: %d attachments", what, n)
	}
	if c.Closed {
		f.archive(board.KindCard, id)
	}
}

// trelloParts reads checklists and comments, oldest first.
func (f *File) trelloParts(t *trello, cards map[string]bool) {
	items, comments := make(map[string]bool), make(map[string]bool)
	for _, list := range t.Checklists {
		if !cards[list.Card] {
			f.skip("checklist %.60q: its card is not in the file", list.Name)
			continue
		}
		points := list.Points
		slices.SortStableFunc(points, func(a, b trelloPoint) int { return cmp.Compare(a.Pos, b.Pos) })
		for _, p := range points {
			if first(f, items, "point of a checklist", p.ID) {
				f.put(board.KindItem, idOf(p.ID), idOf(list.Card), map[string]board.Value{
					"title": f.text("a point of a checklist", p.Name, board.MaxTitle), "done": board.Bool(p.State == "complete"),
				})
			}
		}
	}
	for _, a := range slices.Backward(t.Actions) { // the newest comes first there
		if a.Type != "commentCard" || !cards[a.Data.Card.ID] || !first(f, comments, "comment", a.ID) {
			continue
		}
		f.put(board.KindComment, idOf(a.ID), "", map[string]board.Value{
			board.GroupCard: board.Text(idOf(a.Data.Card.ID)), "text": f.text("a comment", a.Author.Name+": "+a.Data.Text, board.MaxText),
		})
	}
}
