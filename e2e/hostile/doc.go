// Command hostile does to a gateway what the open internet does, and looks at who is connected properly meanwhile.
//
//	hostile ─┬─ gateway, plain ─┐
//	         ├─ gateway, TLS ───┴─ Redis, embedded
//	         ├─ attacks, one after the other, on one of them
//	         ├─ probe: a healthy client beside each attack, whose publications come back within 250 ms
//	         └─ crowd: thousands of TLS connections, in a process of their own
//
// After each attack it waits until descriptors, goroutines and memory of the gateway are what they were. Exit codes: 0 all held, 1 something
// did not, 2 it could not run. It shows nothing about machines other than this one: attacker, victim and probe share its cores.
package main
