// Package check decides whether a history of publications kept the promise.
//
//	what publishers sent, and what was acknowledged ──┐
//	the `out` streams, entry by entry                 ├──▶ Check ──▶ Verdict
//	what each subscription got, in its order ─────────┘
//
// It is pure: no clock, no network, no goroutine. It owns nothing of the history and changes nothing in it. It refuses to guess:
// a history that proves nothing against the system is clean. What it costs in memory is the history itself, about 32 bytes for each
// publication, stream entry and delivery, and one bit's worth of a byte more for each delivery while a channel is judged.
package check
