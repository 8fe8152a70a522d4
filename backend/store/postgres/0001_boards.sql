-- Run by the owner of the tables. Backends log in as a member of the role millrace_app, which owns nothing and may not
-- bypass row-level security: what a statement sees is decided by app.user_id, which each transaction sets.
--
-- Policies call functions without arguments in a subquery, so that they are evaluated once in a statement (InitPlan) and
-- their result can be used with an index. The functions run as the owner, who for that may read two tables whole.

DO $$ BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'millrace_app') THEN
		CREATE ROLE millrace_app NOLOGIN NOSUPERUSER NOBYPASSRLS;
	END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN -- made at this moment, for another database of this server
END $$;

GRANT USAGE ON SCHEMA app TO millrace_app;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM PUBLIC;

CREATE TABLE app.workspaces (id text COLLATE "C" PRIMARY KEY, name text NOT NULL);
CREATE TABLE app.members (
	workspace text COLLATE "C" NOT NULL REFERENCES app.workspaces,
	user_id   text COLLATE "C" NOT NULL,
	role      text NOT NULL, -- '' has left
	version   bigint NOT NULL,
	PRIMARY KEY (workspace, user_id)
);
CREATE INDEX members_of_user ON app.members (user_id, workspace);
CREATE TABLE app.boards (
	id        text COLLATE "C" PRIMARY KEY,
	workspace text COLLATE "C" NOT NULL REFERENCES app.workspaces,
	title     text NOT NULL,
	version   bigint NOT NULL,
	seq       bigint NOT NULL DEFAULT 0,
	hlc       bigint NOT NULL DEFAULT 0,
	hash      bigint NOT NULL DEFAULT 0, -- 64 bits, signed here
	gc        bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70); -- updated by every commit
CREATE INDEX boards_of_workspace ON app.boards (workspace);
CREATE TABLE app.board_rows (
	board text COLLATE "C" NOT NULL REFERENCES app.boards,
	kind  text COLLATE "C" NOT NULL,
	id    text COLLATE "C" NOT NULL,
	seq   bigint NOT NULL,
	lane  text COLLATE "C", -- NULL: has no place
	pos   text COLLATE "C", -- compared bytewise
	regs  text NOT NULL, -- JSON: registers by group
	PRIMARY KEY (board, kind, id)
);
CREATE INDEX rows_by_seq ON app.board_rows (board, seq);
CREATE INDEX rows_by_place ON app.board_rows (board, lane, pos) WHERE lane IS NOT NULL;
CREATE TABLE app.mutations (
	board   text COLLATE "C" NOT NULL REFERENCES app.boards,
	client  text COLLATE "C" NOT NULL,
	n       bigint NOT NULL,
	user_id text COLLATE "C" NOT NULL,
	seq     bigint, -- NULL: rejected
	at      bigint NOT NULL,
	body    text NOT NULL,
	result  text NOT NULL,
	PRIMARY KEY (board, client, n)
);
CREATE UNIQUE INDEX mutations_by_seq ON app.mutations (board, seq);
CREATE TABLE app.clients (
	board   text COLLATE "C" NOT NULL REFERENCES app.boards,
	client  text COLLATE "C" NOT NULL,
	user_id text COLLATE "C" NOT NULL,
	last    bigint NOT NULL,
	PRIMARY KEY (board, client)
);
CREATE TABLE app.conflicts (
	board text COLLATE "C" NOT NULL REFERENCES app.boards,
	seq   bigint NOT NULL,
	i     bigint NOT NULL, -- of those of its commit
	body  text NOT NULL,
	PRIMARY KEY (board, seq, i)
);

-- After a transaction that has set it, a setting is '' and not NULL.
CREATE FUNCTION app.user_id() RETURNS text LANGUAGE sql STABLE AS $$
	SELECT NULLIF(current_setting('app.user_id', true), '')
$$;
CREATE FUNCTION app.my_workspaces() RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = app, pg_temp AS $$
	SELECT workspace FROM app.members WHERE user_id = app.user_id() AND role <> ''
$$;
CREATE FUNCTION app.my_editable_workspaces() RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = app, pg_temp AS $$
	SELECT workspace FROM app.members WHERE user_id = app.user_id() AND role IN ('owner', 'editor')
$$;
CREATE FUNCTION app.my_owned_workspaces() RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = app, pg_temp AS $$
	SELECT workspace FROM app.members WHERE user_id = app.user_id() AND role = 'owner'
$$;
CREATE FUNCTION app.my_boards() RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = app, pg_temp AS $$
	SELECT b.id FROM app.members m JOIN app.boards b ON b.workspace = m.workspace WHERE m.user_id = app.user_id() AND m.role <> ''
$$;
CREATE FUNCTION app.my_editable_boards() RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = app, pg_temp AS $$
	SELECT b.id FROM app.members m JOIN app.boards b ON b.workspace = m.workspace
	WHERE m.user_id = app.user_id() AND m.role IN ('owner', 'editor')
$$;
-- A workspace and its first member come together: nobody could be let in by a policy before there is one.
CREATE FUNCTION app.create_workspace(new_id text, new_name text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = app, pg_temp AS $$
BEGIN
	IF app.user_id() IS NULL THEN
		RAISE EXCEPTION 'app.user_id is not set' USING ERRCODE = '42501';
	END IF;
	INSERT INTO app.workspaces (id, name) VALUES (new_id, new_name) ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	INSERT INTO app.members (workspace, user_id, role, version) VALUES (new_id, app.user_id(), 'owner', 1);
	RETURN true;
END $$;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA app TO millrace_app;

DO $$ DECLARE t text; BEGIN
	FOREACH t IN ARRAY ARRAY['workspaces', 'members', 'boards', 'board_rows', 'mutations', 'clients', 'conflicts'] LOOP
		EXECUTE format('ALTER TABLE app.%I ENABLE ROW LEVEL SECURITY', t);
		EXECUTE format('ALTER TABLE app.%I FORCE ROW LEVEL SECURITY', t);
	END LOOP;
END $$;

-- For the functions above, which run as the owner.
CREATE POLICY definer ON app.workspaces TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY definer ON app.members TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY definer ON app.boards FOR SELECT TO CURRENT_USER USING (true);

GRANT SELECT ON app.migrations TO millrace_app;
CREATE POLICY see ON app.migrations FOR SELECT TO millrace_app USING (true);

GRANT SELECT ON app.workspaces TO millrace_app;
CREATE POLICY see ON app.workspaces FOR SELECT TO millrace_app USING (id = ANY (ARRAY(SELECT app.my_workspaces())));

GRANT SELECT, INSERT, UPDATE ON app.members TO millrace_app;
CREATE POLICY see ON app.members FOR SELECT TO millrace_app USING (workspace = ANY (ARRAY(SELECT app.my_workspaces())));
CREATE POLICY make ON app.members FOR INSERT TO millrace_app WITH CHECK (workspace = ANY (ARRAY(SELECT app.my_owned_workspaces())));
CREATE POLICY change ON app.members FOR UPDATE TO millrace_app
	USING (workspace = ANY (ARRAY(SELECT app.my_owned_workspaces())))
	WITH CHECK (workspace = ANY (ARRAY(SELECT app.my_owned_workspaces())));

GRANT SELECT, INSERT, UPDATE ON app.boards TO millrace_app;
CREATE POLICY see ON app.boards FOR SELECT TO millrace_app USING (workspace = ANY (ARRAY(SELECT app.my_workspaces())));
CREATE POLICY make ON app.boards FOR INSERT TO millrace_app WITH CHECK (workspace = ANY (ARRAY(SELECT app.my_editable_workspaces())));
CREATE POLICY change ON app.boards FOR UPDATE TO millrace_app
	USING (workspace = ANY (ARRAY(SELECT app.my_editable_workspaces())))
	WITH CHECK (workspace = ANY (ARRAY(SELECT app.my_editable_workspaces())));

GRANT SELECT, INSERT, UPDATE, DELETE ON app.board_rows TO millrace_app;
CREATE POLICY see ON app.board_rows FOR SELECT TO millrace_app USING (board = ANY (ARRAY(SELECT app.my_boards())));
CREATE POLICY make ON app.board_rows FOR INSERT TO millrace_app WITH CHECK (board = ANY (ARRAY(SELECT app.my_editable_boards())));
CREATE POLICY change ON app.board_rows FOR UPDATE TO millrace_app
	USING (board = ANY (ARRAY(SELECT app.my_editable_boards()))) WITH CHECK (board = ANY (ARRAY(SELECT app.my_editable_boards())));
CREATE POLICY purge ON app.board_rows FOR DELETE TO millrace_app USING (board = ANY (ARRAY(SELECT app.my_editable_boards())));

-- What a viewer tried is remembered, too, but only as rejected.
GRANT SELECT, INSERT ON app.mutations TO millrace_app;
CREATE POLICY see ON app.mutations FOR SELECT TO millrace_app USING (board = ANY (ARRAY(SELECT app.my_boards())));
CREATE POLICY make ON app.mutations FOR INSERT TO millrace_app WITH CHECK (
	user_id = (SELECT app.user_id())
	AND (board = ANY (ARRAY(SELECT app.my_editable_boards())) OR seq IS NULL AND board = ANY (ARRAY(SELECT app.my_boards()))));

GRANT SELECT, INSERT, UPDATE ON app.clients TO millrace_app;
CREATE POLICY see ON app.clients FOR SELECT TO millrace_app USING (board = ANY (ARRAY(SELECT app.my_boards())));
CREATE POLICY make ON app.clients FOR INSERT TO millrace_app
	WITH CHECK (user_id = (SELECT app.user_id()) AND board = ANY (ARRAY(SELECT app.my_boards())));
CREATE POLICY change ON app.clients FOR UPDATE TO millrace_app
	USING (user_id = (SELECT app.user_id()) AND board = ANY (ARRAY(SELECT app.my_boards())))
	WITH CHECK (user_id = (SELECT app.user_id()) AND board = ANY (ARRAY(SELECT app.my_boards())));

GRANT SELECT, INSERT ON app.conflicts TO millrace_app;
CREATE POLICY see ON app.conflicts FOR SELECT TO millrace_app USING (board = ANY (ARRAY(SELECT app.my_boards())));
CREATE POLICY make ON app.conflicts FOR INSERT TO millrace_app WITH CHECK (board = ANY (ARRAY(SELECT app.my_editable_boards())));
