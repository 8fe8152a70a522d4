package results

import (
	"fmt"
	"slices"
	"strings"

	"github.com/millracehq/millrace/bench/internal/contest"
)

// target is what the gateway is to reach, by a figure of its own or a ratio.
type target struct {
	text  string
	got   summary
	limit float64
	least bool // the limit is the least, not the most
}

// rivals are those the highest rate is compared with.
var rivals = []string{"gorilla", "gws", "nats", "socketio"}

func (r *Run) allTargets() (list []target) {
	most := func(text string, got summary, limit float64) {
		list = append(list, target{text: text, got: got, limit: limit})
	}
	most("direct: bytes per connection", r.over("direct", bytesPerConn), 300)
	for i, limit := range map[int]float64{20_000: 1.3, 60_000: 1.1} {
		if at := slices.Index(r.Size.Rates, i); at >= 0 {
			most(fmt.Sprintf("direct-1: CPU per delivery at %d/s, x limit", i), r.ratio("direct-1", contest.Limit, rate(at).server()), limit)
		}
	}
	slices.SortFunc(list, func(a, b target) int { return strings.Compare(a.text, b.text) })
	most("direct-1: CPU per accepted connection, x limit", r.ratio("direct-1", contest.Limit, pick(connect).server()), 2)
	most("direct-jwt: CPU per accepted connection, x limit", r.ratio("direct-jwt", contest.Limit, pick(connect).server()), 2.5)
	most(fmt.Sprintf("backend: p99 of %d requests a second, ms", r.Size.Requests), r.over("backend", pick(requests).p99()), 10)
	for _, rival := range rivals {
		list = append(list, target{"direct: highest rate, x " + rival, r.ratio("direct", rival, highest), 1, true})
	}
	return append(list, target{"direct: highest rate in bursts, x gorilla", r.ratio("direct", "gorilla", bursts), 3, true})
}

// targets writes which of them are met. A figure that others disturbed proves neither.
func (r *Run) targets(b *strings.Builder) {
	b.WriteString("\n## Targets\n\n| | target | measured | |\n|---|---|---|---|\n")
	for _, t := range r.allTargets() {
		if t.got.rounds == 0 {
			continue
		}
		bound, met := "at most", t.got.median <= t.limit
		if t.least {
			bound, met = "at least", t.got.median >= t.limit
		}
		verdict := "missed"
		switch {
		case t.got.marked:
			verdict = "open: disturbed"
		case met:
			verdict = "met"
		}
		fmt.Fprintf(b, "| %s | %s %g | %s | %s |\n", t.text, bound, t.limit, t.got.text("%.2f"), verdict)
	}
}
