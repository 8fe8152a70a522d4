// Command faults breaks a running system by a seeded plan and checks that it kept its promises. `make faults` runs it.
//
//	plan (seed) ──▶ run ──▶ stack: redis-server, gateways, backends, links   kill -9, SIGSTOP, cut, stall, failover
//	                 │
//	                 └────▶ traffic: publishers, subscribers, the streams ──▶ history ──▶ check ──▶ verdict
//
// Everything is a real process on 127.0.0.1, with ports, data and logs of its own, and dies with the runner. The seed decides what
// goes wrong and when; how the processes take it is up to the machine, so a seed repeats the plan and not each interleaving.
// docs/TESTING.md says how each figure of the verdict comes about.
package main
