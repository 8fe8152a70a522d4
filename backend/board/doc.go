// Package board is the merge of task boards: what becomes of mutations that people made at the same time, some of them
// hours ago and without a network. It is pure: no I/O, no clock, no randomness. The rules and the sync protocol
// built on them are docs/BOARDS.md; the reasons are ADR 10.
//
//	mutation ──▶ Rules.Apply ──▶ Outcome: result, changes, conflicts
//	               │  ▲
//	               ▼  │ reads; changes stay in a Buffer until the caller takes them
//	              Rows: one board
//
// A board is a set of rows: columns, cards, items of checklists, comments, labels, and the elements of a card's sets. A
// [Row] is a set of registers, each written whole and stamped with the time of the intent and its client. A mutation is
// a few [Op]s that take effect together or not at all.
//
// The caller, a store, holds the board's lock, gives mutations their sequence numbers through [Head], and persists what
// comes out. A client runs the same code over its own copy to show what it expects the server to decide.
//
// Every mutation ends with one [Result]. Nothing that somebody wrote vanishes: a value that loses against one of which its
// author knew nothing is a [Conflict], a mutation that is refused stays with its client.
package board
