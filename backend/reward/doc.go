// Package reward counts what users do: points, levels, streaks, achievements and leaderboards.
//
//	events ──Count──▶ facts, each ID once ──▶ units ──▶ days ──▶ totals, scores of teams, unlocks
//	                  (all that is known      (what a    (what a day's
//	                   of one subject)         subject    items are worth
//	                                           is worth)  together)
//
// Nothing is ever added up from events as they come. What a unit is worth is a function of the set of its facts, what a day is worth one of the
// set of its items, a streak one of the set of days; a batch computes them for what it touches, before and after, and adds the
// difference to the totals. So the order of events, their division into batches and their repetition change nothing; and what is
// taken back (a task reopened, a card deleted) takes back exactly what it had given. docs/REWARDS.md says what the rules can say,
// docs/adr/0019-points-are-a-function-of-facts.md why it is so.
//
// [Count] is the same for all stores, which bring facts and a transaction; one transaction counts at a time. The suite of package
// rewardtest says what all of them must do.
package reward
