package main

import (
	"bufio"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/faulty"
)

// startAgent starts one as a process of its own and returns where it listens.
func startAgent(t *testing.T, flags ...string) (address string, agent *exec.Cmd) {
	t.Helper()
	agent = exec.CommandContext(t.Context(), binary, append([]string{"agent", "--listen", "127.0.0.1:0"}, flags...)...)
	out, err := agent.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the agent says nothing")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines.Scan() { // so that it never waits for a reader
		}
	}()
	t.Cleanup(func() {
		_ = agent.Process.Kill()
		<-done
		_ = agent.Wait()
	})
	return lines.Text()[strings.LastIndex(lines.Text(), " ")+1:], agent
}

// TestAgents has two agents do a run that one process could do: the figures must be those of one.
func TestAgents(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		faults   faulty.Faults
		scenario string
		exit     int
		counts   map[string]float64
	}{
		{"load", faulty.Faults{}, scenario, 0, map[string]float64{"pubs_sent": 150, "pubs_acked": 150, "msgs_expected": 1500, "msgs_received": 1500, "ws_sessions": 20}},
		{"losses", faulty.Faults{Drop: 100}, scenario, loadtest.ExitFailed, map[string]float64{"pubs_acked": 150, "msgs_expected": 1500}},
		{"gaps", faulty.Faults{Gap: 100}, scenario, loadtest.ExitFailed, map[string]float64{"msgs_expected": 1500, "msgs_lost": 0}},
		{"no answers", faulty.Faults{NoAck: 10}, scenario, loadtest.ExitFailed, map[string]float64{"pubs_sent": 150}},
		{"scenarios", faulty.Faults{}, population + `scenarios:
  shared: {executor: shared-iterations, vus: 3, iterations: 31}
  rate: {executor: constant-arrival-rate, rate: 50, duration: 1s, preAllocatedVUs: 40}
  sessions: {executor: per-vu-iterations, vus: 5, iterations: 2, exec: session, hold: 100ms}
`, 0, map[string]float64{"iterations": 91, "pubs_acked": 81, "ws_sessions": 73}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			one, _ := startAgent(t)
			two, _ := startAgent(t)
			s := newFaulty(t, tc.faults)
			o := runScenario(t, s.URL, tc.scenario, "AGENTS="+one+","+two)
			if o.exit != tc.exit && !o.busy(tc.exit) {
				t.Errorf("exit %d, want %d", o.exit, tc.exit)
			}
			for metric, want := range tc.counts {
				if n := o.count(metric); n != want {
					t.Errorf("%s is %v, want %v", metric, n, want)
				}
			}
			received, lost, announced, expected := o.count("msgs_received"), o.count("msgs_lost"), o.count("msgs_announced"), o.count("msgs_expected")
			if tc.name != "no answers" && received+lost+announced != expected {
				t.Errorf("%v received, %v lost and %v announced, of %v", received, lost, announced, expected)
			}
			if tc.name == "gaps" && announced < 10 {
				t.Errorf("%v announced, want one in a hundred", announced)
			}
			if tc.name == "losses" && lost < 10 {
				t.Errorf("%v lost, want one in a hundred", lost)
			}
			if len(o.report.Agents) != 2 || o.report.Agents[0].BoundMS <= 0 || o.report.Agents[0].BoundMS > 1000 {
				t.Errorf("agents: %+v", o.report.Agents)
			}
			for _, a := range o.report.Agents {
				if off := max(a.AheadMS, -a.AheadMS); off > a.BoundMS {
					t.Errorf("%s: its clock is %v ms ahead, by at most %v wrong; it is the same clock", a.Address, a.AheadMS, a.BoundMS)
				}
			}
			wantOut(t, o, fmt.Sprintf("%s clock ", one))
			if t.Failed() {
				t.Logf("%s%s", o.stdout, o.stderr)
			}
		})
	}
}

// TestAgentsAbort ends a run by a threshold that is judged on the sum.
func TestAgentsAbort(t *testing.T) {
	t.Parallel()
	one, _ := startAgent(t)
	two, _ := startAgent(t)
	s := newFaulty(t, faulty.Faults{})
	k := &k6Run{dir: t.TempDir()}
	file := k.write(t, "s.yaml", "url: "+s.URL+`
connections: 4
publish: {rate: 50, payload: 64}
warmup: 0s
duration: 60s
drain: 100ms
thresholds: {pubs_acked: [{threshold: "count<20", abortOnFail: true}]}
`)
	wantExit(t, execute(t, "run", "-q", "--agents", one+","+two, file), loadtest.ExitFailed, "")
}

// TestAgentURL has an agent connect to another server than the scenario says.
func TestAgentURL(t *testing.T) {
	t.Parallel()
	s := newFaulty(t, faulty.Faults{})
	one, _ := startAgent(t, "--url", s.URL)
	wantExit(t, runScenario(t, "ws://127.0.0.1:9/ws", scenario, "AGENTS="+one), 0, "")
}

// TestLostAgent kills one in the middle: there is no verdict, and it is said why.
func TestLostAgent(t *testing.T) {
	t.Parallel()
	one, _ := startAgent(t)
	two, agent := startAgent(t)
	s := newFaulty(t, faulty.Faults{})
	k := &k6Run{dir: t.TempDir()}
	file := k.write(t, "s.yaml", scenario)
	cmd := exec.CommandContext(t.Context(), binary, "run", "-q", "-e", "URL="+s.URL, "-e", "DURATION=60s", "--phase-file", "-", "--agents", one+","+two, file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), `"steady"`) {
			if err := agent.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != loadtest.ExitAgent || !strings.Contains(stderr.String(), "an agent was lost, so that there is no verdict: agent "+two) {
		t.Errorf("exit %d, %s, want %d and which agent", code, &stderr, loadtest.ExitAgent)
	}
	o := runScenario(t, s.URL, scenario, "AGENTS="+one) // the other one is free again
	wantExit(t, o, 0, "")
	wantExit(t, execute(t, "run", "-q", "-e", "URL="+s.URL, "--agents", two, file), loadtest.ExitStart, "agent "+two)
}

func TestAgentBadCalls(t *testing.T) {
	t.Parallel()
	k := &k6Run{dir: t.TempDir()}
	file := k.write(t, "s.yaml", "url: ws://127.0.0.1:9/ws\nreconnect: true\ncut: {share: 1, at: 1s}\n")
	wantExit(t, execute(t, "run", "--agents", "127.0.0.1:1", file), loadtest.ExitConfig, "cut: agents do not do that")
	wantExit(t, execute(t, "agent", "--listen", "nowhere"), loadtest.ExitStart, "nowhere")
	wantExit(t, execute(t, "agent", "x"), loadtest.ExitConfig, "loadtest agent")
	wantExit(t, execute(t, "agent", "--help"), loadtest.ExitOK, "")
}
