-- A transaction on one board says so (app.board_id), and then sees no other of the user's boards. Policies are evaluated in every statement; with
-- this they look up one board by its key, however many the user has.
--
-- In PL/pgSQL, which keeps its plans for the session: a function in SQL is planned anew in each statement, which cost more than the statement.
CREATE FUNCTION app.board_id() RETURNS text LANGUAGE sql STABLE AS $$
	SELECT NULLIF(current_setting('app.board_id', true), '')
$$;
GRANT EXECUTE ON FUNCTION app.board_id() TO millrace_app;
CREATE OR REPLACE FUNCTION app.my_boards() RETURNS SETOF text LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = app, pg_temp AS $$
BEGIN
	IF app.board_id() IS NULL THEN
		RETURN QUERY SELECT b.id FROM app.members m JOIN app.boards b ON b.workspace = m.workspace
			WHERE m.user_id = app.user_id() AND m.role <> '';
	ELSE
		RETURN QUERY SELECT b.id FROM app.boards b JOIN app.members m ON m.workspace = b.workspace
			WHERE b.id = app.board_id() AND m.user_id = app.user_id() AND m.role <> '';
	END IF;
END $$;
CREATE OR REPLACE FUNCTION app.my_editable_boards() RETURNS SETOF text LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = app, pg_temp AS $$
BEGIN
	IF app.board_id() IS NULL THEN
		RETURN QUERY SELECT b.id FROM app.members m JOIN app.boards b ON b.workspace = m.workspace
			WHERE m.user_id = app.user_id() AND m.role IN ('owner', 'editor');
	ELSE
		RETURN QUERY SELECT b.id FROM app.boards b JOIN app.members m ON m.workspace = b.workspace
			WHERE b.id = app.board_id() AND m.user_id = app.user_id() AND m.role IN ('owner', 'editor');
	END IF;
END $$;
CREATE OR REPLACE FUNCTION app.my_workspaces() RETURNS SETOF text LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = app, pg_temp AS $$
BEGIN
	RETURN QUERY SELECT m.workspace FROM app.members m WHERE m.user_id = app.user_id() AND m.role <> '';
END $$;
CREATE OR REPLACE FUNCTION app.my_editable_workspaces() RETURNS SETOF text LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = app, pg_temp AS $$
BEGIN
	RETURN QUERY SELECT m.workspace FROM app.members m WHERE m.user_id = app.user_id() AND m.role IN ('owner', 'editor');
END $$;
CREATE OR REPLACE FUNCTION app.my_owned_workspaces() RETURNS SETOF text LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = app, pg_temp AS $$
BEGIN
	RETURN QUERY SELECT m.workspace FROM app.members m WHERE m.user_id = app.user_id() AND m.role = 'owner';
END $$;
