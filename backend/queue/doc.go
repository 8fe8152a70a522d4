// Package queue has things counted that happened, each exactly once, off the path of who did them. Where they are counted is a
// [Counter]'s affair: a store of package reward. Why it is so: docs/adr/0020-the-log-is-the-outbox.md.
//
//	board commit ──Feeder──▶ {P}:rw ──▶ Worker ──▶ Counter     one transaction a batch
//	   │ log                  ▲  ▲        │ ├──▶ {Q}:out        pushes to the user's channel, after the transaction
//	   └──── Reconciler ──────┘  │        │ └──▶ XACK           after that
//	other applications ──────────┘        └──▶ waiting, dead letters
//
// An event has an ID, and the Counter counts each ID once. So everything here may happen twice, and does: entries are delivered again after a
// crash, claimed from who is slow, added again by the Reconciler when Redis has lost them. The log of each board is where its
// events survive; Redis is the fast way.
//
// Worker: hands read, gather a batch by size and time, and have it counted; how many hands, and how large a batch, follows the lag
// (see [Config]). An error of the Counter is either of the data: then the batch is halved until what cannot be counted is
// alone, and that waits for another attempt and at last is a dead letter; or it will pass: then the same batch is tried again. What
// does not decode is a dead letter at once. Nothing holds up others.
//
// Goroutines: MaxHands hands, a keeper and, where it is wanted, a reconciler; all end before Run returns. In memory are at most a batch
// for each hand (and one entry of each of its partitions), what a Feeder holds, and the IDs that a Reconciler has added again.
package queue
