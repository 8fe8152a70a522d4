// Package swarm is a load generator for millrace.v1: many clients in one process, on one event loop.
//
//	agenda ──▶ dial ──▶ handshake ──▶ hello ──▶ sub … ok ──▶ ready          connecting
//	                                                            │ settle, roll call: who is subscribed to what
//	schedule ──▶ pub (stamped) ──▶ server ──▶ msg ──▶ ledger, histograms     warmup, steady
//	                                 └──────▶ ok ──▶ what must arrive        draining: wait for it, then audit
//
// A client is what survives a connection: 15,000 of them are one slice of 48-byte records without pointers. Everything belongs
// to the loop's goroutine; others have [Swarm.Do], [Swarm.Stop], [Swarm.Phases] and [Swarm.Done]. A delivery allocates nothing.
//
// The load is open: publication k is due at start + k/rate whatever came of those before it, and latency counts from when it was
// due, so that a stall of the server (or of this program) is charged in full. Only publications due in the steady phase count
// in the metrics.
//
// The frames are read and written here and not by the gateway's own code, so that one mistake cannot hide on both sides.
package swarm
