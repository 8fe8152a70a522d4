-- What mutations have brought about that others count, and up to where each board's were counted. The functions are for the
-- reconciler, which works for no user: of all boards it sees what was brought about and by whom, and nothing else.

DO $$ BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'millrace_rewards') THEN
		CREATE ROLE millrace_rewards NOLOGIN NOSUPERUSER NOBYPASSRLS;
	END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN -- made at this moment, for another database of this server
END $$;

ALTER TABLE app.mutations ADD COLUMN deeds text; -- JSON; NULL: nothing
CREATE INDEX mutations_with_deeds ON app.mutations (board, seq) WHERE deeds IS NOT NULL;
CREATE POLICY definer ON app.mutations FOR SELECT TO CURRENT_USER USING (true);

CREATE TABLE app.trail_marks (
	board text COLLATE "C" PRIMARY KEY REFERENCES app.boards,
	seq   bigint NOT NULL
);
ALTER TABLE app.trail_marks ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.trail_marks FORCE ROW LEVEL SECURITY;
CREATE POLICY definer ON app.trail_marks TO CURRENT_USER USING (true) WITH CHECK (true);

CREATE FUNCTION app.trail_behind(after text, most int) RETURNS TABLE (board text, workspace text, marked bigint, seq bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = app, pg_temp AS $$
	SELECT b.id, b.workspace, COALESCE(m.seq, 0), b.seq FROM app.boards b LEFT JOIN app.trail_marks m ON m.board = b.id
	WHERE b.id > after COLLATE "C" AND b.seq > COALESCE(m.seq, 0) ORDER BY b.id LIMIT most
$$;
CREATE FUNCTION app.trail_log(board text, after bigint, most int) RETURNS TABLE (seq bigint, user_id text, at bigint, deeds text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = app, pg_temp AS $$
	SELECT l.seq, l.user_id, l.at, l.deeds FROM app.mutations l
	WHERE l.board = trail_log.board AND l.seq > after AND l.deeds IS NOT NULL ORDER BY l.seq LIMIT most
$$;
CREATE FUNCTION app.trail_mark(board text, seq bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = app, pg_temp AS $$
	INSERT INTO app.trail_marks (board, seq) VALUES (trail_mark.board, trail_mark.seq)
	ON CONFLICT (board) DO UPDATE SET seq = GREATEST(trail_marks.seq, excluded.seq)
$$;
GRANT EXECUTE ON FUNCTION app.trail_behind(text, int), app.trail_log(text, bigint, int), app.trail_mark(text, bigint) TO millrace_app, millrace_rewards;
