-- The tables of package reward. Who counts logs in as a member of millrace_rewards, a role of its own: it sees no board, and writes
-- nothing but what is here. Users see what is theirs, as members of millrace_app.

DO $$ BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'millrace_rewards') THEN
		CREATE ROLE millrace_rewards NOLOGIN NOSUPERUSER NOBYPASSRLS;
	END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN -- made at this moment, for another database of this server
END $$;

CREATE SCHEMA reward;
REVOKE ALL ON SCHEMA reward FROM PUBLIC;
GRANT USAGE ON SCHEMA reward TO millrace_app, millrace_rewards;
GRANT USAGE ON SCHEMA app TO millrace_rewards;
GRANT SELECT ON app.migrations TO millrace_rewards;
CREATE POLICY see_version ON app.migrations FOR SELECT TO millrace_rewards USING (true);

CREATE TABLE reward.facts (
	id      text COLLATE "C" PRIMARY KEY,
	unit    text COLLATE "C" NOT NULL,
	ord     bigint NOT NULL, -- among the facts of the unit
	kind    text COLLATE "C" NOT NULL,
	user_id text COLLATE "C" NOT NULL,
	team    text COLLATE "C" NOT NULL,
	subject text COLLATE "C" NOT NULL,
	whom    text COLLATE "C" NOT NULL,
	at      bigint NOT NULL, -- unix ms, born too
	prio    bigint NOT NULL,
	est     bigint NOT NULL,
	born    bigint NOT NULL
);
CREATE INDEX facts_of_unit ON reward.facts (unit);
-- What counting updates again and again leaves room on its pages, so that no index has to be touched.
CREATE TABLE reward.days (
	user_id text COLLATE "C" NOT NULL,
	day     bigint NOT NULL,
	state   text NOT NULL,
	PRIMARY KEY (user_id, day)
) WITH (fillfactor = 70);
CREATE TABLE reward.users (
	user_id text COLLATE "C" PRIMARY KEY,
	xp      bigint NOT NULL,
	told    bigint NOT NULL,
	state   text NOT NULL
) WITH (fillfactor = 70);
CREATE TABLE reward.scores (
	team    text COLLATE "C" NOT NULL,
	period  text COLLATE "C" NOT NULL,
	user_id text COLLATE "C" NOT NULL,
	xp      bigint NOT NULL,
	reached bigint NOT NULL, -- unix ms
	PRIMARY KEY (team, period, user_id)
) WITH (fillfactor = 70);
CREATE TABLE reward.purses (
	user_id text COLLATE "C" PRIMARY KEY,
	spent   bigint NOT NULL,
	claimed bigint NOT NULL,
	privacy text NOT NULL CHECK (privacy IN ('public', 'private', 'out')),
	version bigint NOT NULL
);
CREATE TABLE reward.redeemed (
	user_id text COLLATE "C" NOT NULL,
	id      text COLLATE "C" NOT NULL,
	item    text NOT NULL,
	cost    bigint NOT NULL CHECK (cost > 0),
	at      timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (user_id, id)
);
CREATE TABLE reward.refreshed (one boolean PRIMARY KEY DEFAULT true CHECK (one), at timestamptz NOT NULL);
INSERT INTO reward.refreshed (at) VALUES ('epoch');

DO $$ DECLARE t text; BEGIN
	FOREACH t IN ARRAY ARRAY['facts', 'days', 'users', 'scores', 'purses', 'redeemed', 'refreshed'] LOOP
		EXECUTE format('ALTER TABLE reward.%I ENABLE ROW LEVEL SECURITY', t);
		EXECUTE format('ALTER TABLE reward.%I FORCE ROW LEVEL SECURITY', t);
	END LOOP;
END $$;

GRANT SELECT, INSERT ON reward.facts TO millrace_rewards; -- what has happened is not changed
CREATE POLICY count_see ON reward.facts FOR SELECT TO millrace_rewards USING (true);
CREATE POLICY count_make ON reward.facts FOR INSERT TO millrace_rewards WITH CHECK (true);
DO $$ DECLARE t text; BEGIN
	FOREACH t IN ARRAY ARRAY['days', 'users', 'scores'] LOOP
		EXECUTE format('GRANT SELECT, INSERT, UPDATE ON reward.%I TO millrace_rewards', t);
		EXECUTE format('CREATE POLICY count_see ON reward.%I FOR SELECT TO millrace_rewards USING (true)', t);
		EXECUTE format('CREATE POLICY count_make ON reward.%I FOR INSERT TO millrace_rewards WITH CHECK (true)', t);
		EXECUTE format('CREATE POLICY count_change ON reward.%I FOR UPDATE TO millrace_rewards USING (true) WITH CHECK (true)', t);
	END LOOP;
END $$;

GRANT SELECT ON reward.users TO millrace_app;
CREATE POLICY see ON reward.users FOR SELECT TO millrace_app USING (user_id = (SELECT app.user_id()));
GRANT SELECT, INSERT, UPDATE ON reward.purses TO millrace_app;
CREATE POLICY see ON reward.purses FOR SELECT TO millrace_app USING (user_id = (SELECT app.user_id()));
CREATE POLICY make ON reward.purses FOR INSERT TO millrace_app WITH CHECK (user_id = (SELECT app.user_id()));
CREATE POLICY change ON reward.purses FOR UPDATE TO millrace_app USING (user_id = (SELECT app.user_id())) WITH CHECK (user_id = (SELECT app.user_id()));
GRANT SELECT, INSERT ON reward.redeemed TO millrace_app;
CREATE POLICY see ON reward.redeemed FOR SELECT TO millrace_app USING (user_id = (SELECT app.user_id()));
CREATE POLICY make ON reward.redeemed FOR INSERT TO millrace_app WITH CHECK (user_id = (SELECT app.user_id()));
GRANT SELECT ON reward.refreshed TO millrace_app, millrace_rewards;
CREATE POLICY see ON reward.refreshed FOR SELECT TO millrace_app USING (true);
CREATE POLICY count_see ON reward.refreshed FOR SELECT TO millrace_rewards USING (true);

-- For the view and the refresh, which run as the owner.
CREATE POLICY definer ON reward.scores FOR SELECT TO CURRENT_USER USING (true);
CREATE POLICY definer ON reward.purses FOR SELECT TO CURRENT_USER USING (true);
CREATE POLICY definer ON reward.refreshed TO CURRENT_USER USING (true) WITH CHECK (true);

-- A materialized view knows no row-level security: nobody is given rights to it, but to a view that asks who looks. That one joins nothing but
-- the few who are not public.
CREATE MATERIALIZED VIEW reward.leaders AS
	SELECT s.team, s.period, s.user_id, s.xp, row_number() OVER (PARTITION BY s.team, s.period ORDER BY s.xp DESC, s.reached, s.user_id) AS rank
	FROM reward.scores s JOIN app.members m ON m.workspace = s.team AND m.user_id = s.user_id AND m.role <> ''
	LEFT JOIN reward.purses p ON p.user_id = s.user_id
	WHERE s.xp > 0 AND coalesce(p.privacy, 'public') <> 'out'
	AND s.period IN ('all', to_char(now() AT TIME ZONE 'UTC', 'IYYY-"W"IW'), to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM'));
CREATE UNIQUE INDEX leaders_of_user ON reward.leaders (team, period, user_id);
CREATE INDEX leaders_by_rank ON reward.leaders (team, period, rank);
CREATE VIEW reward.seen_leaders WITH (security_barrier) AS
	SELECT l.team, l.period, l.user_id, l.xp, l.rank FROM reward.leaders l
	WHERE l.team = ANY (ARRAY(SELECT app.my_workspaces()))
	AND NOT EXISTS (SELECT FROM reward.purses p WHERE p.user_id = l.user_id
		AND (p.privacy = 'out' OR p.privacy = 'private' AND l.user_id <> app.user_id()));
GRANT SELECT ON reward.seen_leaders TO millrace_app;

-- One at a time, and only if nobody has since: the rest go on without waiting.
CREATE FUNCTION reward.refresh(since timestamptz) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = reward, pg_temp AS $$
BEGIN
	IF NOT pg_try_advisory_xact_lock(7236419) OR (SELECT at >= since FROM reward.refreshed) THEN
		RETURN false;
	END IF;
	REFRESH MATERIALIZED VIEW CONCURRENTLY reward.leaders;
	UPDATE reward.refreshed SET at = now();
	RETURN true;
END $$;
REVOKE ALL ON FUNCTION reward.refresh(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reward.refresh(timestamptz) TO millrace_rewards;
