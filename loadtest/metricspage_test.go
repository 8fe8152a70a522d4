package loadtest

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

var update = flag.Bool("update", false, "write the table of docs/loadtest/METRICS.md")

// metricsTable is the table of docs/loadtest/METRICS.md as the code has it.
func metricsTable(t *testing.T) string {
	t.Helper()
	set, err := NewScenario().metrics(swarm.NewMetrics())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	group := ""
	for _, e := range set {
		if e.Group != group {
			group = e.Group
			fmt.Fprintf(&b, "\n**%s**\n\n| metric | kind | unit | meaning |\n|---|---|---|---|\n", group)
		}
		name := e.Name
		if m, ok := e.Metric.(*metric.Tagged); ok {
			name += "{" + m.Tag + "}"
		}
		name = "`" + name + "`"
		if e.Late {
			name += " †"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, e.Metric.Kind(), e.UnitName(), e.Help)
	}
	return b.String() + "\n"
}

// TestMetricsPage holds docs/loadtest/METRICS.md to the code: the same metrics, in the same order, with the same words. After a change:
//
//	go test ./loadtest -run TestMetricsPage -update
func TestMetricsPage(t *testing.T) {
	const file, begin, end = "../docs/loadtest/METRICS.md", "<!-- table -->\n", "<!-- end -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	table, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal(file, "has no marks around its table")
	}
	want := metricsTable(t)
	if table == want {
		return
	}
	if *update {
		if err := os.WriteFile(file, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s is not what the code has: go test ./loadtest -run TestMetricsPage -update\n%s\nwant:\n%s", file, table, want)
}
