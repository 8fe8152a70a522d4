package store

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/millracehq/millrace/backend/board"
)

// MaxBatch is the most mutations of one call of Commit.
const MaxBatch = 500

// Tx is a transaction on one board, as [Apply] sees it. Until Save nothing is changed.
type Tx interface {
	board.Rows
	// Prepare comes first and says what will be asked for, so that it can be fetched at once.
	Prepare(Wanted) error
	// Head locks the board until the end of the transaction. ErrNotFound if none of the wanted users sees such a board.
	Head() (board.Head, error)
	// Role is what a wanted user may do with the board.
	Role(user string) (Role, error)
	// Client is what is known of a client of this board; the zero Client if nothing is.
	Client(id string) (Client, error)
	// Result is the result that a mutation had.
	Result(client string, n int64) (board.Result, error)
	// Before is the sequence number of the last mutation that came before a time, unix ms; 0 if none did.
	Before(at int64) (seq int64, err error)
	// All are all rows.
	All() ([]*board.Row, error)
	// Save writes everything.
	Save(*Changes) error
}

// Client is what a board knows of a client.
type Client struct {
	User string
	Last int64 // number of its last mutation that has a result
}

// Wanted is what a transaction will ask for; it may ask for other rows, too.
type Wanted struct {
	Users, Clients []string
	Keys           []board.Key
}

// Changes is what a transaction writes.
type Changes struct {
	Head      board.Head
	Rows      []*board.Row
	Purged    []board.Key
	Log       []Entry
	Clients   map[string]Client
	Conflicts []board.Conflict
	Resolved  int64 // conflicts of mutations up to this sequence number go
}

// Entry is what the log keeps of a mutation.
type Entry struct {
	User   string
	Client string
	N      int64
	At     int64           // unix ms
	Body   json.RawMessage // the mutation
	Result board.Result
	Deeds  []board.Deed // what it has brought about
}

// Apply takes mutations of a board to their ends: each is known by its client and number, and applied once, in the
// order of its client's numbers. A mutation that is refused counts, too: it has its result and never comes again.
func Apply(tx Tx, rules board.Rules, id string, mutations []*board.Mutation, now time.Time) (board.Delta, error) {
	b := &batch{tx: tx, rules: rules, now: now.UnixMilli(), roles: make(map[string]Role)}
	b.changes.Clients = make(map[string]Client)
	if err := tx.Prepare(wanted(mutations)); err != nil {
		return board.Delta{}, err
	}
	head, err := b.head(mutations)
	if err != nil {
		return board.Delta{}, err
	}
	b.changes.Head = head
	b.rows = board.NewBuffer(tx)
	b.delta = board.Delta{Board: id, From: head.Seq}
	for _, m := range mutations {
		if err := b.one(m); err != nil {
			return board.Delta{}, err
		}
	}
	for _, row := range b.rows.Changed() {
		b.changes.Rows = append(b.changes.Rows, row)
	}
	if b.changes.Head.Seq == head.Seq {
		b.changes.Head = head // what is rejected leaves the clock alone, too
	}
	if len(b.changes.Log) > 0 {
		if err := tx.Save(&b.changes); err != nil {
			return board.Delta{}, err
		}
	}
	b.delta.To, b.delta.HLC, b.delta.Hash = b.changes.Head.Seq, b.changes.Head.HLC, board.FormatHash(b.changes.Head.Hash)
	return b.delta, nil
}

// wanted lists the users, the clients and the rows that the operations name.
func wanted(mutations []*board.Mutation) Wanted {
	var w Wanted
	add := func(kind string, ids ...string) {
		for _, id := range ids {
			if id != "" {
				w.Keys = append(w.Keys, board.Key{Kind: kind, ID: id})
			}
		}
	}
	for _, m := range mutations {
		w.Users, w.Clients = append(w.Users, m.User), append(w.Clients, m.Client)
		for i := range m.Ops {
			o := &m.Ops[i]
			w.Keys = append(w.Keys, o.Key())
			add(o.Kind, o.After, o.Before)
			add(board.KindColumn, o.Into)
			switch {
			case o.Op == board.OpMark:
				add(board.KindCard, o.ID)
			case o.Kind == board.KindCard:
				add(board.KindColumn, o.Lane)
			case o.Kind == board.KindItem:
				add(board.KindCard, o.Lane)
			}
		}
	}
	w.Users, w.Clients = unique(w.Users), unique(w.Clients)
	return w
}

func unique(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

type batch struct {
	tx      Tx
	rules   board.Rules
	now     int64
	rows    *board.Buffer
	roles   map[string]Role
	changes Changes
	delta   board.Delta
}

// head is the board's, or nothing if only strangers ask: they are not even told how far it is.
func (b *batch) head(mutations []*board.Mutation) (board.Head, error) {
	for _, m := range mutations {
		role, err := b.role(m.User)
		if err != nil {
			return board.Head{}, err
		}
		if role != None {
			return b.tx.Head()
		}
	}
	return board.Head{}, nil
}

func (b *batch) one(m *board.Mutation) error {
	role, err := b.role(m.User)
	if err != nil {
		return err
	}
	refuse := func(code, text string) { // nothing of it is kept
		r := board.Result{N: m.N, Status: board.Rejected, Code: code, Text: text}
		b.delta.Results = append(b.delta.Results, board.ClientResult{Client: m.Client, Result: r, Private: true})
	}
	if role == None {
		refuse(board.CodeNoBoard, "there is no such board, or not for you")
		return nil // nothing is written for strangers
	}
	if !board.ValidID(m.Client) || m.N < 1 {
		refuse(board.CodeMalformed, "client must be an ID, and n count from 1")
		return nil
	}
	client, err := b.client(m.Client)
	if err != nil {
		return err
	}
	switch {
	case client.User != "" && client.User != m.User:
		refuse(board.CodeDenied, "this client's name is somebody else's: take a new one")
		return nil
	case m.N <= client.Last:
		return b.repeat(m)
	case m.N > client.Last+1:
		b.answer(m, board.Result{N: m.N, Status: board.Gap, Next: client.Last + 1})
		return nil
	}
	body, err := json.Marshal(m) // before an upgrade of its schema
	if err != nil {
		return err
	}
	var o board.Outcome
	if role.Edits() {
		if o, err = b.rules.Apply(b.rows, &b.changes.Head, m, b.now); err != nil {
			return err
		}
	} else {
		o.Result = board.Result{N: m.N, Status: board.Rejected, Code: board.CodeDenied, Text: "you may see this board and not change it"}
	}
	b.delta.Add(m.Client, o)
	deeds, err := board.Deeds(b.rows, &o, b.userOf(m))
	if err != nil {
		return err
	}
	if len(deeds) > 0 {
		b.delta.Records = append(b.delta.Records, board.Record{
			Board: b.delta.Board, Workspace: b.changes.Head.Workspace, Seq: o.Result.Seq, User: m.User, At: b.now, Deeds: deeds,
		})
	}
	b.changes.Conflicts = append(b.changes.Conflicts, o.Conflicts...)
	b.changes.Clients[m.Client] = Client{m.User, m.N}
	b.changes.Log = append(b.changes.Log, Entry{m.User, m.Client, m.N, b.now, body, o.Result, deeds})
	return nil
}

// userOf says who is behind a client, that of the mutation included, which is not known yet if it is new.
func (b *batch) userOf(m *board.Mutation) func(string) (string, error) {
	return func(id string) (string, error) {
		if id == m.Client {
			return m.User, nil
		}
		c, err := b.client(id)
		return c.User, err
	}
}

func (b *batch) answer(m *board.Mutation, r board.Result) {
	b.delta.Results = append(b.delta.Results, board.ClientResult{Client: m.Client, Result: r})
}

func (b *batch) role(user string) (Role, error) {
	if role, ok := b.roles[user]; ok {
		return role, nil
	}
	role, err := b.tx.Role(user)
	b.roles[user] = role
	return role, err
}

func (b *batch) client(id string) (Client, error) {
	if c, ok := b.changes.Clients[id]; ok {
		return c, nil
	}
	return b.tx.Client(id)
}

// repeat answers a mutation as it was answered before.
func (b *batch) repeat(m *board.Mutation) error {
	for _, e := range b.changes.Log {
		if e.Client == m.Client && e.N == m.N {
			b.answer(m, e.Result)
			return nil
		}
	}
	result, err := b.tx.Result(m.Client, m.N)
	if err != nil {
		return err
	}
	b.answer(m, result)
	return nil
}

// Collect purges what was deleted before a time, and conflicts that came about before it. A purge of rows has a sequence number; who has
// seen less needs a snapshot then.
func Collect(tx Tx, user, id string, before time.Time, now time.Time) (board.Delta, error) {
	if err := tx.Prepare(Wanted{Users: []string{user}}); err != nil {
		return board.Delta{}, err
	}
	head, err := tx.Head()
	if err != nil {
		return board.Delta{}, err
	}
	if role, err := tx.Role(user); err != nil || !role.Edits() {
		return board.Delta{}, cmp.Or(err, ErrDenied)
	}
	upTo, err := tx.Before(before.UnixMilli())
	if err != nil {
		return board.Delta{}, err
	}
	rows, err := tx.All()
	if err != nil {
		return board.Delta{}, err
	}
	d := board.Delta{Board: id, From: head.Seq, Purged: board.Collect(rows, upTo)}
	changes := &Changes{Purged: d.Purged, Resolved: upTo}
	if len(d.Purged) > 0 {
		gone := make(map[board.Key]bool)
		for _, k := range d.Purged {
			gone[k] = true
		}
		for _, r := range rows {
			if gone[r.Key] {
				head.Hash -= r.Hash()
			}
		}
		head.Seq++
		head.GC = head.Seq
		head.HLC = max(head.HLC+1, now.UnixMilli()*1000)
	}
	changes.Head = head
	if err := tx.Save(changes); err != nil {
		return board.Delta{}, err
	}
	d.To, d.GC, d.HLC, d.Hash = head.Seq, head.GC, head.HLC, board.FormatHash(head.Hash)
	return d, nil
}
