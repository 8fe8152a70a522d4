-- The words of cards, items and comments, and with them the board as a word of its own: so the index leads to the rows of certain boards, and no
-- row of another is read.
CREATE FUNCTION app.search_words(board text, regs text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT array_to_tsvector(ARRAY['/' || board]) || to_tsvector('pg_catalog.simple',
		regexp_replace(concat_ws(' ', r -> 'title' ->> 0, r -> 'body' ->> 0, r -> 'text' ->> 0), '[^[:alnum:]]+', ' ', 'g'))
	FROM (SELECT regs::json AS r) AS j
$$;
GRANT EXECUTE ON FUNCTION app.search_words(text, text) TO millrace_app; -- who writes a row writes the index
CREATE INDEX rows_by_word ON app.board_rows USING gin (app.search_words(board, regs)) WHERE kind IN ('card', 'item', 'comment');

-- An operator that might tell what it compares may not use an index before a policy has been asked. So this runs as the owner, and says
-- itself whose boards are searched. words is a tsquery; "" for in_workspace and in_board: everywhere; from_ts 0: from the newest.
CREATE POLICY definer ON app.board_rows FOR SELECT TO CURRENT_USER USING (true);
CREATE FUNCTION app.search(words text, in_workspace text, in_board text, from_ts bigint, from_board text, from_kind text, from_id text, most int)
RETURNS TABLE (found_board text, found_kind text, found_id text, found_regs text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = app, pg_temp AS $$
	WITH mine AS MATERIALIZED (
		SELECT b.id FROM app.members m JOIN app.boards b ON b.workspace = m.workspace
		WHERE m.user_id = app.user_id() AND m.role <> '' AND ($2 = '' OR b.workspace = $2) AND ($3 = '' OR b.id = $3)
	), hits AS MATERIALIZED (
		SELECT r.board, r.kind, r.id, r.lane, r.regs, r.regs::json AS j FROM app.board_rows r
		WHERE r.kind IN ('card', 'item', 'comment') AND app.search_words(r.board, r.regs)
			@@ (SELECT to_tsquery('pg_catalog.simple', $1) && string_agg(quote_literal('/' || id), ' | ')::tsquery FROM mine)
	), dated AS (
		SELECT h.*, coalesce(greatest((j -> 'title' ->> 1)::bigint, (j -> 'body' ->> 1)::bigint, (j -> 'text' ->> 1)::bigint), 0) AS ts FROM hits h
	)
	SELECT d.board, d.kind, d.id, d.regs FROM dated d JOIN mine ON mine.id = d.board
	JOIN app.board_rows c ON c.board = d.board AND c.kind = 'card'
		AND c.id = CASE d.kind WHEN 'item' THEN d.lane WHEN 'comment' THEN d.j -> 'card' ->> 0 ELSE d.id END
	WHERE d.j -> 'life' ->> 0 <> 'deleted' AND c.regs::json -> 'life' ->> 0 <> 'deleted'
	AND ($4 = 0 OR d.ts < $4 OR d.ts = $4 AND (d.board, d.kind, d.id) > ($5, $6, $7))
	ORDER BY d.ts DESC, d.board, d.kind, d.id LIMIT $8
$$;
GRANT EXECUTE ON FUNCTION app.search(text, text, text, bigint, text, text, text, int) TO millrace_app;
