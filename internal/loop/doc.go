// Package loop is the event loop that owns connections: a gateway's clients, or a load generator's.
//
//	netpoll's poller ──Accept()──▶ Loop ─┬─ listening socket (SO_REUSEPORT)   ─▶ Handler.Open
//	  (one goroutine)                    ├─ connections                       ─▶ Handler.Data, Drained, Closed
//	                                     ├─ eventfd: inbox, Post from outside ─▶ the posted functions
//	                                     ├─ timerfd: the wheel, each second   ─▶ Handler.Timer
//	                                     └─ timerfd: WakeAt
//	                                        end of each turn                  ─▶ Handler.Turn
//
// A Loop is a netpoll.Listener whose descriptor is its own epoll instance: epoll nests, so netpoll's poller finds the
// whole loop "readable" and calls Accept inline, and Accept handles what is ready and returns nothing
// (docs/adr/0002). A connection is a 36-byte record in a slab indexed by its seat, a number of the loop's own, so
// that it costs the same however many loops there are; unread bytes and unsent bytes hang on it only while there are any.
//
// Ownership: everything a Loop has belongs to the goroutine that runs it. Other goroutines have Post, Stop and
// Stats. A Handler runs on that goroutine and must not block: a slow Handler is a slow server.
//
// It refuses to know WebSocket, to keep a lock over a callback, and to buffer without a bound: what a slow reader
// leaves unsent is bounded per connection and per process, and Send says [Full].
package loop
