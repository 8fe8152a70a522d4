// Package boardfile reads boards that come from elsewhere: Trello's export and tables in CSV, as operations that make a board of
// them. It is pure. The same file makes the same operations, IDs included, so an import can be repeated.
//
// What a board has no place for is left out and said in [File.Skipped]; what breaks the format is an error that says where.
package boardfile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/millracehq/millrace/backend/board"
)

// Bounds of a file.
const (
	MaxRows    = 50_000
	maxSkipped = 100 // lines; then "and more"
)

// File is a board as a file has it.
type File struct {
	Title   string // "": the file has none
	Ops     []board.Op
	Rows    map[string]int // how many of each kind
	Skipped []string       // what was left out or changed, for people

	more int // of Skipped
}

func newFile() *File { return &File{Rows: make(map[string]int)} }

func (f *File) skip(format string, args ...any) {
	if len(f.Skipped) < maxSkipped {
		f.Skipped = append(f.Skipped, fmt.Sprintf(format, args...))
		return
	}
	f.more++
}

// end checks the size.
func (f *File) end() (*File, error) {
	rows := 0
	for _, n := range f.Rows {
		rows += n
	}
	if rows > MaxRows {
		return nil, fmt.Errorf("%d rows, at most %d: import it in parts", rows, MaxRows)
	}
	if f.more > 0 {
		f.Skipped = append(f.Skipped, fmt.Sprintf("and %d more", f.more))
	}
	return f, nil
}

// put makes a row. Texts are cut to what a row can hold.
func (f *File) put(kind, id, lane string, values map[string]board.Value) {
	f.Rows[kind]++
	f.Ops = append(f.Ops, board.Op{Op: board.OpPut, Kind: kind, ID: id, Lane: lane, Values: values})
}

func (f *File) archive(kind, id string) {
	archived := board.Text(board.Archived)
	f.Ops = append(f.Ops, board.Op{Op: board.OpLife, Kind: kind, ID: id, Value: &archived})
}

func (f *File) label(card, label string) {
	f.Rows[board.KindMark]++
	f.Ops = append(f.Ops, board.Op{Op: board.OpMark, ID: card, Set: "label", Element: label, Present: true})
}

// text is a text that a register can hold: UTF-8 without U+0000, and not too long.
func (f *File) text(what, text string, most int) board.Value {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "")
	if len(text) > most {
		f.skip("%s: cut from %d bytes to %d", what, len(text), most)
		text = strings.ToValidUTF8(text[:most], "")
	}
	return board.Text(text)
}

// idOf is the ID for a name of the file: itself where it can be one.
func idOf(name string) string {
	if board.ValidID(name) {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}
