package gateway

import (
	"fmt"
	"os"
	"strings"
	"testing"

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
