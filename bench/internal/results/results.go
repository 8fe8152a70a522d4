// Package results is what a run of the benchmark came to: as JSON, as tables and as plots.
//
//	Row per contestant and round ─▶ Run ─┬─ run.json
//	                                     ├─ README.md   medians, and ratios to the limit in the same round
//	                                     └─ *.svg
//
// It measures nothing, and all of it can be made again from run.json.
package results

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/millracehq/millrace/bench/internal/generator"
)

// Run is one run of the benchmark.
type Run struct {
	Time        time.Time `json:"time"`
	Version     string    `json:"version"` // of the repository
	Machine     Machine   `json:"machine"`
	Size        Size      `json:"size"`
	Contestants []Entrant `json:"contestants"`
	LeftOut     []string  `json:"left_out,omitempty"` // by --skip and --only
	Rows        []Row     `json:"rows"`
}

// Entrant is a contestant as the legend names it.
type Entrant struct {
	Name  string `json:"name"`
	About string `json:"about"`
}

// Size is how large everything is.
type Size struct {
	Connections int     `json:"connections"`
	Channels    int     `json:"channels"`
	PerClient   int     `json:"subscriptions_with_bursts"`
	Body        int     `json:"body_bytes"`
	ConnectRate float64 `json:"connects_per_second"`
	Rates       []int   `json:"deliveries_per_second"`
	Requests    int     `json:"requests_per_second"`
	Seconds     float64 `json:"seconds"`      // of each load
	StepSeconds float64 `json:"step_seconds"` // of each step of a search
	Target      float64 `json:"p99_target_ms"`
	Rounds      int     `json:"rounds"`
}

// Row is one contestant in one round. What was not measured is nil.
type Row struct {
	Contestant   string    `json:"contestant"`
	Round        int       `json:"round"`
	BytesPerConn *float64  `json:"bytes_per_connection,omitempty"`
	Connect      *Traffic  `json:"connect,omitempty"`  // CPU per connection
	Rates        []Traffic `json:"rates,omitempty"`    // as Size.Rates
	Requests     *Traffic  `json:"requests,omitempty"` // CPU per reply
	Highest      *Peak     `json:"highest,omitempty"`
	Bursts       *Peak     `json:"bursts,omitempty"` // with Size.PerClient subscriptions
	Error        string    `json:"error,omitempty"`  // why the rest was not measured
}

// Traffic is what one load came to.
type Traffic struct {
	Rate float64            `json:"rate"`   // deliveries, replies or connections a second, as asked for
	CPU  map[string]float64 `json:"cpu_us"` // by process, for each that came
	generator.Result
	Conditions Conditions `json:"conditions"`
}

// Peak is the highest rate of deliveries whose p99 was within the target, with none lost; 0 when there was none.
type Peak struct {
	Rate  float64   `json:"rate"`
	Steps []Traffic `json:"steps"`
}

// Good says whether a step is within the target.
func (t *Traffic) Good(target float64) bool {
	return !t.GaveUp && t.Lost() == 0 && t.Closed == 0 && t.P99 <= target
}

// Save writes everything into dir.
func (r *Run) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	files := r.plots()
	files["run.json"] = string(text) + "\n"
	files["README.md"] = r.Markdown()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Read reads what Save wrote.
func Read(dir string) (*Run, error) {
	text, err := os.ReadFile(filepath.Join(dir, "run.json"))
	if err != nil {
		return nil, err
	}
	r := new(Run)
	return r, json.Unmarshal(text, r)
}
