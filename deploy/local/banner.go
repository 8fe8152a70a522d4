package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
)

// banner says what is where, and what to try.
func banner(redisURL, redisNote string, backends, gateways []part) string {
	var b strings.Builder
	b.WriteString("\nMillrace is running.\n\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "  redis\t%s\t%s\n", redisURL, redisNote)
	for _, p := range slices.Concat(backends, gateways) {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", p.name, p.where, p.more)
	}
	t.Flush()
	fmt.Fprintf(&b, `
Try, in another terminal:

  bin/loadtest run loadtest/scenarios/smoke.yaml

or by hand (docs/PROTOCOL.md), with a WebSocket client like wscat, which then sends what is typed:

  npx wscat -s millrace.v1 -c %s -w -1 \
    -x 'sub 1 echo:hall' -x $'pub 2 echo:hall\nhello' -x $'req 3 echo:hall\nwhat?'
  > ping 4

Ctrl-C stops everything.

`, gateways[0].where)
	return b.String()
}
