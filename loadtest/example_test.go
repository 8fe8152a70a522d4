package loadtest_test

import (
	"context"
	"fmt"
	"time"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/faulty"
)

// A scenario can be written in Go, as a test of one's own server.
func ExampleRun() {
	server, err := faulty.Start("", faulty.Faults{}) // a small server in this process
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	s := loadtest.NewScenario()
	s.URL, s.Connections, s.Publish.Rate = server.URL, 10, 50
	s.Settle, s.Warmup, s.Duration = 0, 0, loadtest.Duration(time.Second)
	s.Thresholds = map[string][]loadtest.Assertion{"msgs_lost": {{Threshold: "count==0"}}}

	report, err := loadtest.Run(context.Background(), s, loadtest.Options{Name: "example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Thresholds[0].Outcome, report.Metrics["msgs_received"].Values["count"])
	// Output: pass 500
}
