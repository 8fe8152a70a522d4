-- What mutations have brought about that others count, and up to where each board's were counted.
ALTER TABLE mutations ADD COLUMN deeds TEXT; -- JSON; NULL: nothing
CREATE INDEX mutations_with_deeds ON mutations (board, seq) WHERE deeds IS NOT NULL;
CREATE TABLE trail_marks (
	board TEXT PRIMARY KEY REFERENCES boards,
	seq   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
