CREATE TABLE reward_facts (
	id      TEXT PRIMARY KEY,
	unit    TEXT NOT NULL,
	ord     INTEGER NOT NULL, -- among the facts of the unit
	kind    TEXT NOT NULL,
	user_id TEXT NOT NULL,
	team    TEXT NOT NULL,
	subject TEXT NOT NULL,
	whom    TEXT NOT NULL,
	at      INTEGER NOT NULL, -- unix ms, born too
	prio    INTEGER NOT NULL,
	est     INTEGER NOT NULL,
	born    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX reward_facts_of_unit ON reward_facts (unit);
CREATE TABLE reward_days (user_id TEXT NOT NULL, day INTEGER NOT NULL, state TEXT NOT NULL, PRIMARY KEY (user_id, day)) STRICT, WITHOUT ROWID;
CREATE TABLE reward_users (user_id TEXT PRIMARY KEY, xp INTEGER NOT NULL, told INTEGER NOT NULL, state TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE reward_scores (
	team    TEXT NOT NULL,
	period  TEXT NOT NULL,
	user_id TEXT NOT NULL,
	xp      INTEGER NOT NULL,
	reached INTEGER NOT NULL, -- unix ms
	PRIMARY KEY (team, period, user_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE reward_purses (
	user_id TEXT PRIMARY KEY,
	spent   INTEGER NOT NULL,
	claimed INTEGER NOT NULL,
	privacy TEXT NOT NULL CHECK (privacy IN ('public', 'private', 'out')),
	version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE reward_redeemed (user_id TEXT NOT NULL, id TEXT NOT NULL, item TEXT NOT NULL, cost INTEGER NOT NULL, at INTEGER NOT NULL,
	PRIMARY KEY (user_id, id)) STRICT, WITHOUT ROWID;
CREATE TABLE reward_leaders (
	team    TEXT NOT NULL,
	period  TEXT NOT NULL,
	rank    INTEGER NOT NULL,
	user_id TEXT NOT NULL,
	xp      INTEGER NOT NULL,
	PRIMARY KEY (team, period, rank)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX reward_leaders_of_user ON reward_leaders (team, period, user_id);
CREATE TABLE reward_refreshed (one INTEGER PRIMARY KEY CHECK (one = 1), at INTEGER NOT NULL) STRICT;
INSERT INTO reward_refreshed VALUES (1, 0);
