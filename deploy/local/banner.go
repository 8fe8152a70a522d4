package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
)

// banner says what is where, and what to try.
func banner(cfg *config, redisURL, redisNote string, backends, gateways []part) string {
	var b strings.Builder
	b.WriteString("\nMillrace is running.\n\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "  redis\t%s\t%s\n", redisURL, redisNote)
	for _, p := range slices.Concat(backends, gateways) {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", p.name, p.where, p.more)
	}
	t.Flush()
	b.WriteString("\nTry, in another terminal:\n")
	if !cfg.signIn {
		fmt.Fprintf(&b, "\n  bin/loadtest run smoke --url %s\n", gateways[0].where)
	}
	header := ""
	if cfg.secret != "" && len(backends) > 0 {
		b.WriteString(tryBoards(backends[0].where))
	}
	if cfg.signIn {
		header = "-H \"Authorization: Bearer $token\" "
	}
	fmt.Fprintf(&b, `
or by hand (docs/PROTOCOL.md), with a WebSocket client like wscat, which then sends what is typed:

  npx wscat %s-s millrace.v1 -c %s -w -1 \
    -x 'sub 1 echo:hall' -x $'pub 2 echo:hall\nhello' -x $'req 3 echo:hall\nwhat?'
  > ping 4

Ctrl-C stops everything.

`, header, gateways[0].where)
	return b.String()
}

// tryBoards signs in and makes a board over HTTP.
func tryBoards(backend string) string {
	return strings.ReplaceAll(`
or task boards over HTTP (docs/API.md), as anybody whom you name:

  token=$(curl -s BACKEND/demo/token -d '{"user":"ann"}' | cut -d'"' -f4)
  api() { curl -s -H "Authorization: Bearer $token" "BACKEND/v1/$@"; }
  api workspaces -d '{"id":"home","name":"Home"}'
  api 'workspaces/home/imports?format=csv&board=plan&title=Plan' --data-binary $'title,column\nBuy milk,To do\nRest,Done\n'
  api 'search?q=milk'
  api boards/plan/export
`, "BACKEND", backend)
}
