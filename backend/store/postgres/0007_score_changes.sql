-- What batches of rewards add to scores, a row for each batch. It is written while nobody else counts, in one step, and added to the scores, a step
-- for each of them, when others count again. Who adds it deletes it in the same transaction: so it is added once.

CREATE TABLE reward.score_changes (
	n       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	teams   text[] NOT NULL, -- what is at the same place in each of these belongs together
	days    bigint[] NOT NULL, -- since 1970-01-01
	users   text[] NOT NULL,
	xps     bigint[] NOT NULL,
	reached bigint[] NOT NULL -- unix ms
);
ALTER TABLE reward.score_changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE reward.score_changes FORCE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, DELETE ON reward.score_changes TO millrace_rewards;
CREATE POLICY count_see ON reward.score_changes FOR SELECT TO millrace_rewards USING (true);
CREATE POLICY count_make ON reward.score_changes FOR INSERT TO millrace_rewards WITH CHECK (true);
CREATE POLICY count_end ON reward.score_changes FOR DELETE TO millrace_rewards USING (true);

-- Scores of a user in a team lie side by side, those of all periods on one page: what counts finds them at once, and who reads a leaderboard reads them all.
ALTER TABLE reward.scores DROP CONSTRAINT scores_pkey, ADD PRIMARY KEY (user_id, team, period);
