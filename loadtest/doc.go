// Package loadtest runs load scenarios against a millrace.v1 server and judges them: k6's habits, with delivery to every
// subscriber measured and accounted for.
//
//	file ─ Parse ─▶ Scenario ─ Run ─▶ Report ─┬▶ WriteSummary   for people
//	                 │          │             ├▶ WriteJSON      everything
//	                 │          │             └▶ WriteExport    as k6 --summary-export
//	                 │          └ preflight, swarm (one event loop, all clients), thresholds every 2 s
//	                 └ strict: an unknown key is an error that names its line
//
// A run passes when all thresholds hold and there is evidence for it: as many connections as were asked for, samples for
// every threshold, and a generator that was not itself the limit (see [Report.Exit]).
//
// One run at a time per process: it raises the limit of open files and uses all of the process's CPU time as its own.
package loadtest
