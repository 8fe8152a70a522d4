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

or by hand, with a WebSocket client that sends what is typed (docs/PROTOCOL.md):

  wscat -s millrace.v1 -c %[1]s
  > sub 1 echo:hall
  > ping 2

  printf 'sub 1 echo:hall\0pub 2 echo:hall\nhello\0' | websocat -0 --no-close --protocol millrace.v1 %[1]s

Ctrl-C stops everything.

`, gateways[0].where)
	return b.String()
}
