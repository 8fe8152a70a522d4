CREATE TABLE workspaces (id TEXT PRIMARY KEY, name TEXT NOT NULL) STRICT;
CREATE TABLE members (
	workspace TEXT NOT NULL REFERENCES workspaces,
	user_id   TEXT NOT NULL,
	role      TEXT NOT NULL, -- '' has left
	version   INTEGER NOT NULL,
	PRIMARY KEY (workspace, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_of_user ON members (user_id, workspace);
CREATE TABLE boards (
	id        TEXT PRIMARY KEY,
	workspace TEXT NOT NULL REFERENCES workspaces,
	title     TEXT NOT NULL,
	version   INTEGER NOT NULL,
	seq       INTEGER NOT NULL DEFAULT 0,
	hlc       INTEGER NOT NULL DEFAULT 0,
	hash      INTEGER NOT NULL DEFAULT 0, -- 64 bits, signed here
	gc        INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX boards_of_workspace ON boards (workspace);
CREATE TABLE board_rows (
	board TEXT NOT NULL REFERENCES boards,
	kind  TEXT NOT NULL,
	id    TEXT NOT NULL,
	seq   INTEGER NOT NULL,
	lane  TEXT, -- NULL: has no place
	pos   TEXT,
	regs  TEXT NOT NULL, -- JSON: registers by group
	PRIMARY KEY (board, kind, id)
) STRICT;
CREATE INDEX rows_by_seq ON board_rows (board, seq);
CREATE INDEX rows_by_place ON board_rows (board, lane, pos) WHERE lane IS NOT NULL;
CREATE TABLE mutations (
	board   TEXT NOT NULL REFERENCES boards,
	client  TEXT NOT NULL,
	n       INTEGER NOT NULL,
	user_id TEXT NOT NULL,
	seq     INTEGER, -- NULL: rejected
	at      INTEGER NOT NULL,
	body    TEXT NOT NULL,
	result  TEXT NOT NULL,
	PRIMARY KEY (board, client, n)
) STRICT;
CREATE UNIQUE INDEX mutations_by_seq ON mutations (board, seq);
CREATE TABLE clients (
	board   TEXT NOT NULL REFERENCES boards,
	client  TEXT NOT NULL,
	user_id TEXT NOT NULL,
	last    INTEGER NOT NULL,
	PRIMARY KEY (board, client)
) STRICT, WITHOUT ROWID;
CREATE TABLE conflicts (
	board TEXT NOT NULL REFERENCES boards,
	seq   INTEGER NOT NULL,
	i     INTEGER NOT NULL, -- of those of its mutation
	body  TEXT NOT NULL,
	PRIMARY KEY (board, seq, i)
) STRICT, WITHOUT ROWID;
