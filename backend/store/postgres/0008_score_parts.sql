-- A point is one row of scores, not three: scores are kept for the longest stretches of days that lie in one week and in one month, and leaderboards
-- sum these up. It is a third of the writing for each event, and a few rows more to read for a refresh.

DROP VIEW reward.seen_leaders;
DROP MATERIALIZED VIEW reward.leaders;
ALTER TABLE reward.scores RENAME TO scores_of_periods;
ALTER TABLE reward.scores_of_periods RENAME CONSTRAINT scores_pkey TO scores_of_periods_pkey;
CREATE TABLE reward.scores (
	user_id text COLLATE "C" NOT NULL,
	team    text COLLATE "C" NOT NULL,
	first   date NOT NULL, -- day of the stretch: a Monday, or the first of a month
	xp      bigint NOT NULL,
	reached bigint NOT NULL, -- unix ms
	PRIMARY KEY (user_id, team, first)
) WITH (fillfactor = 50);

-- Of a week in which a month begins, the days before belong to the months before: what these have more than the weeks before it. (When that was reached is not
-- known better than for the week.)
INSERT INTO reward.scores
SELECT w.user_id, w.team, part.first, part.xp, w.reached
FROM (SELECT *, to_date(period, 'IYYY-"W"IW') AS first FROM reward.scores_of_periods WHERE period LIKE '____-W__') AS w
CROSS JOIN LATERAL (SELECT date_trunc('month', w.first + 6)::date AS first) AS m
CROSS JOIN LATERAL (SELECT CASE WHEN m.first <= w.first THEN w.xp ELSE
	(SELECT coalesce(sum(p.xp), 0) FROM reward.scores_of_periods p
		WHERE p.user_id = w.user_id AND p.team = w.team AND p.period LIKE '____-__' AND p.period < to_char(m.first, 'YYYY-MM'))
	- (SELECT coalesce(sum(p.xp), 0) FROM reward.scores_of_periods p
		WHERE p.user_id = w.user_id AND p.team = w.team AND p.period LIKE '____-W__' AND p.period < w.period) END AS xp) AS before
CROSS JOIN LATERAL (VALUES (false, w.first, before.xp), (true, m.first, w.xp - before.xp)) AS part (divided, first, xp)
WHERE NOT part.divided OR m.first > w.first;
DROP TABLE reward.scores_of_periods;

ALTER TABLE reward.scores ENABLE ROW LEVEL SECURITY;
ALTER TABLE reward.scores FORCE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE ON reward.scores TO millrace_rewards;
CREATE POLICY count_see ON reward.scores FOR SELECT TO millrace_rewards USING (true);
CREATE POLICY count_make ON reward.scores FOR INSERT TO millrace_rewards WITH CHECK (true);
CREATE POLICY count_change ON reward.scores FOR UPDATE TO millrace_rewards USING (true) WITH CHECK (true);
CREATE POLICY definer ON reward.scores FOR SELECT TO CURRENT_USER USING (true);

-- As before (0005), but for the sums.
CREATE MATERIALIZED VIEW reward.leaders AS
	WITH current AS (SELECT date_trunc('week', at)::date AS week, date_trunc('month', at)::date AS month FROM (SELECT now() AT TIME ZONE 'UTC') AS utc (at)),
	parts AS (
		SELECT s.team, s.user_id, s.xp, s.reached, s.first BETWEEN (SELECT week FROM current) AND (SELECT week + 6 FROM current) AS of_week,
			s.first >= (SELECT month FROM current) AND s.first < (SELECT (month + interval '1 month')::date FROM current) AS of_month
		FROM reward.scores s
	),
	sums AS MATERIALIZED (
		SELECT s.team, s.user_id, sum(s.xp)::bigint AS xp, max(s.reached) AS reached,
			sum(s.xp) FILTER (WHERE of_week)::bigint AS week_xp, max(s.reached) FILTER (WHERE of_week) AS week_reached,
			sum(s.xp) FILTER (WHERE of_month)::bigint AS month_xp, max(s.reached) FILTER (WHERE of_month) AS month_reached
		FROM parts s JOIN app.members m ON m.workspace = s.team AND m.user_id = s.user_id AND m.role <> ''
		LEFT JOIN reward.purses u ON u.user_id = s.user_id WHERE coalesce(u.privacy, 'public') <> 'out' GROUP BY s.user_id, s.team
	),
	periods AS (
		SELECT team, 'all' COLLATE "C" AS period, user_id, xp, reached FROM sums
		UNION ALL SELECT team, (SELECT to_char(week, 'IYYY-"W"IW') FROM current), user_id, week_xp, week_reached FROM sums
		UNION ALL SELECT team, (SELECT to_char(month, 'YYYY-MM') FROM current), user_id, month_xp, month_reached FROM sums
	)
	SELECT team, period, user_id, xp, row_number() OVER (PARTITION BY team, period ORDER BY xp DESC, reached, user_id) AS rank FROM periods WHERE xp > 0;
CREATE UNIQUE INDEX leaders_of_user ON reward.leaders (team, period, user_id);
CREATE INDEX leaders_by_rank ON reward.leaders (team, period, rank);
CREATE VIEW reward.seen_leaders WITH (security_barrier) AS
	SELECT l.team, l.period, l.user_id, l.xp, l.rank FROM reward.leaders l
	WHERE l.team = ANY (ARRAY(SELECT app.my_workspaces()))
	AND NOT EXISTS (SELECT FROM reward.purses p WHERE p.user_id = l.user_id
		AND (p.privacy = 'out' OR p.privacy = 'private' AND l.user_id <> app.user_id()));
GRANT SELECT ON reward.seen_leaders TO millrace_app;

-- A batch of 2,000 may change most rows of a page at once, whose old versions are in the way until it has committed: what does not fit goes to another page, with new entries in the indexes.
ALTER TABLE reward.days SET (fillfactor = 50);
ALTER TABLE reward.users SET (fillfactor = 50);
