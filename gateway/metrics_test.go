package gateway

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/client"
	"github.com/millracehq/millrace/gateway/internal/conn"
	"github.com/millracehq/millrace/internal/loop"
)

// Every reason for which a connection can end is counted, and named in the documentation.
func TestEveryReasonIsExported(t *testing.T) {
	g := newTestGateway(t, Config{})
	_, metrics := g.get("/metrics")
	docs, err := os.ReadFile("../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	for why := range conn.Reasons {
		name := conn.ReasonName(loop.Reason(why))
		if !strings.Contains(metrics, fmt.Sprintf("millrace_connections_ended_total{reason=%q} ", name)) {
			t.Errorf("reason %s is not in /metrics", name)
		}
		if loop.Reason(why) != loop.ReasonRefused && !strings.Contains(string(docs), "`"+name+"`") { // refused is of those who dial
			t.Errorf("reason %s is not in docs/OPERATIONS.md", name)
		}
	}
}

// TestStages: each publication is in the histograms of its stages once a loop, in seconds.
func TestStages(t *testing.T) {
	g := newTestGateway(t, Config{Loops: 1})
	began := time.Now()
	a := g.connect(client.Options{})
	a.ask("sub 1 direct:x", "ok 1")
	const pubs = 5
	for i := range pubs {
		if err := a.Write(t.Context(), false, fmt.Appendf(nil, "pub - direct:x\n%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	for range pubs {
		a.read()
	}
	for _, stage := range []string{"stream_append", "stream_lag", "delivery"} {
		eventually(t, stage, func() bool { return g.metric("millrace_"+stage+"_seconds_count") == pubs })
		took := time.Since(began).Seconds()
		if sum := g.metric("millrace_" + stage + "_seconds_sum"); sum < 0 || sum > pubs*took {
			t.Errorf("%s: %v s of %v", stage, sum, took)
		}
		if n := g.metric(`millrace_` + stage + `_seconds_bucket{le="+Inf"}`); n != pubs {
			t.Errorf("%s: %v in the last bucket", stage, n)
		}
	}
}

// metric is the value of a line of /metrics; -1: there is none.
func (g *testGateway) metric(line string) float64 {
	g.t.Helper()
	_, page := g.get("/metrics")
	_, rest, ok := strings.Cut("\n"+page, "\n"+line+" ")
	if !ok {
		return -1
	}
	text, _, _ := strings.Cut(rest, "\n")
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		g.t.Fatal(err)
	}
	return v
}
