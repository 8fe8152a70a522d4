-- The words of cards, items and comments. They are kept by triggers, and only when a text has changed; the texts themselves are not kept twice.
-- A table with a key of its own gives each row a number that VACUUM leaves alone.
CREATE TABLE search_keys (
	id    INTEGER PRIMARY KEY,
	board TEXT NOT NULL,
	kind  TEXT NOT NULL,
	row   TEXT NOT NULL,
	ts    INTEGER NOT NULL, -- of the latest of the texts
	UNIQUE (board, kind, row)
) STRICT;
CREATE VIRTUAL TABLE search_words USING fts5 (words, content = '', contentless_delete = 1, tokenize = "unicode61 remove_diacritics 0");

CREATE TRIGGER search_insert AFTER INSERT ON board_rows WHEN new.kind IN ('card', 'item', 'comment') BEGIN
	INSERT INTO search_keys (board, kind, row, ts) VALUES (new.board, new.kind, new.id,
		max(coalesce(new.regs ->> '$.title[1]', 0), coalesce(new.regs ->> '$.body[1]', 0), coalesce(new.regs ->> '$.text[1]', 0)));
	INSERT INTO search_words (rowid, words) SELECT id, concat_ws(' ', new.regs ->> '$.title[0]', new.regs ->> '$.body[0]', new.regs ->> '$.text[0]')
		FROM search_keys WHERE board = new.board AND kind = new.kind AND row = new.id;
END;
CREATE TRIGGER search_update AFTER UPDATE OF regs ON board_rows
WHEN new.kind IN ('card', 'item', 'comment') AND json_extract(new.regs, '$.title', '$.body', '$.text') <> json_extract(old.regs, '$.title', '$.body', '$.text') BEGIN
	UPDATE search_keys SET ts = max(coalesce(new.regs ->> '$.title[1]', 0), coalesce(new.regs ->> '$.body[1]', 0), coalesce(new.regs ->> '$.text[1]', 0))
		WHERE board = new.board AND kind = new.kind AND row = new.id;
	DELETE FROM search_words WHERE rowid = (SELECT id FROM search_keys WHERE board = new.board AND kind = new.kind AND row = new.id);
	INSERT INTO search_words (rowid, words) SELECT id, concat_ws(' ', new.regs ->> '$.title[0]', new.regs ->> '$.body[0]', new.regs ->> '$.text[0]')
		FROM search_keys WHERE board = new.board AND kind = new.kind AND row = new.id;
END;
CREATE TRIGGER search_delete AFTER DELETE ON board_rows WHEN old.kind IN ('card', 'item', 'comment') BEGIN
	DELETE FROM search_words WHERE rowid = (SELECT id FROM search_keys WHERE board = old.board AND kind = old.kind AND row = old.id);
	DELETE FROM search_keys WHERE board = old.board AND kind = old.kind AND row = old.id;
END;

INSERT INTO search_keys (board, kind, row, ts) SELECT board, kind, id,
	max(coalesce(regs ->> '$.title[1]', 0), coalesce(regs ->> '$.body[1]', 0), coalesce(regs ->> '$.text[1]', 0))
	FROM board_rows WHERE kind IN ('card', 'item', 'comment');
INSERT INTO search_words (rowid, words) SELECT k.id, concat_ws(' ', r.regs ->> '$.title[0]', r.regs ->> '$.body[0]', r.regs ->> '$.text[0]')
	FROM search_keys k JOIN board_rows r ON r.board = k.board AND r.kind = k.kind AND r.id = k.row;
