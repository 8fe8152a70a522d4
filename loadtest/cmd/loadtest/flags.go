package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/millracehq/millrace/loadtest"
)

// settings are the flags of run and inspect.
type settings struct {
	env, tags pairs
	stderr    io.Writer

	given       map[string]bool // flags that were used
	url         string
	connections int
	vus         int
	duration    time.Duration
	rate        float64
	iterations  int64
	stages      list

	json, export, ledger, phases string
	onCut                        string // a command
	out                          list   // --out
	trendStats                   string // comma-separated
	quiet, verbose, noColor      bool
	insecure                     bool
	noThresholds                 bool
	localIPs                     string // comma-separated
	agents                       string // comma-separated
	web                          string
	targets                      targets
}

// list collects a flag that may be given again.
type list []string

// String implements flag.Value.
func (l *list) String() string { return "" }

// Set implements flag.Value.
func (l *list) Set(s string) error {
	*l = append(*l, s)
	return nil
}

// pairs collects K=V flags.
type pairs map[string]string

// String implements flag.Value.
func (p pairs) String() string { return "" }

// Set implements flag.Value.
func (p pairs) Set(s string) error {
	k, v, ok := strings.Cut(s, "=")
	if !ok || k == "" {
		return errors.New("want NAME=VALUE")
	}
	p[k] = v
	return nil
}

const runUsage = `Usage: loadtest %s [flags] SCENARIO

SCENARIO is a YAML or JSON file, an archive, or the name of one that comes with the program (loadtest --help lists them).

Flags override the scenario:
      --url URL              ws:// or wss://HOST[:PORT]/PATH
      --insecure-skip-tls-verify   take any certificate
      --connections N        connections that subscribe
  -u, --vus N                the same, unless the scenario has scenarios, or with -i or -s: then VUs of one scenario in the place of all
  -d, --duration D           length of the steady phase, such as 60s; with such a VU scenario, its length
  -i, --iterations N         one scenario in the place of all publications, requests and scenarios: N iterations shared among the VUs
  -s, --stage D:N            the same with VUs that ramp to N within D; may be given again
      --rate R               publications per second, in total
  -e, --env K=V              set ${K} in the scenario; before the environment's own
      --tag K=V              add a tag to the reports
      --agents A,B           HOST:PORT of agents that make the load together, on this machine or others (loadtest agent --help)
      --local-ips A,B        source addresses, each with some 28,000 ports towards one server; the same as local_addresses
      --no-thresholds        judge by the evidence alone
      --on-cut COMMAND       run by sh when the scenario's cut is due; with cut: {by: server} it has the server end its connections

What is watched of the server, each second, as metrics server_…; each may be given again, and have NAME= in front:
      --target-metrics URL   a page in Prometheus's text format
      --target-pid PID       CPU and memory of a process of this machine
      --target-redis URL     INFO of a Redis: redis://[USER:PASSWORD@]HOST:PORT
      --target-read M=FROM   metric server_M from the page: NAME, NAME{label="value"} or histogram(NAME)

Output: the summary goes to standard output, progress and messages to standard error.
      --json FILE            everything, as JSON
      --summary-export FILE  the summary as k6 exports it (true beside a threshold: crossed)
      --ledger FILE          acknowledged publications that somebody did not get, as JSON
      --phase-file FILE      a JSON line when each phase begins; - is standard output
  -o, --out NAME=ARG         an output, fed each second; may be given again: html=FILE (a report),
                         json=FILE, csv=FILE, hdr=NAME (HdrHistogram), prometheus-rw=URL
      --web HOST:PORT        show the run in a browser while it goes on; :PORT is on loopback
      --summary-trend-stats  columns of trends, such as avg,p(95),p(99.9),count
  -q, --quiet                no progress
  -v, --verbose              more messages
      --no-color             no colours (nor when NO_COLOR is set, nor off a terminal)
`

func (p program) parse(command string, args []string) (s settings, file string, exit int, done bool) {
	s = settings{stderr: p.stderr, env: pairs{}, tags: pairs{}, given: map[string]bool{}}
	fs := flag.NewFlagSet(command, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&s.url, "url", "", "")
	for _, name := range []string{"u", "vus"} {
		fs.IntVar(&s.vus, name, 0, "")
	}
	fs.IntVar(&s.connections, "connections", 0, "")
	for _, name := range []string{"i", "iterations"} {
		fs.Int64Var(&s.iterations, name, 0, "")
	}
	for _, name := range []string{"s", "stage"} {
		fs.Var(&s.stages, name, "")
	}
	for _, name := range []string{"d", "duration"} {
		fs.DurationVar(&s.duration, name, 0, "")
	}
	for _, name := range []string{"o", "out"} {
		fs.Var(&s.out, name, "")
	}
	for _, name := range []string{"v", "verbose"} {
		fs.BoolVar(&s.verbose, name, false, "")
	}
	fs.StringVar(&s.trendStats, "summary-trend-stats", "", "")
	fs.StringVar(&s.localIPs, "local-ips", "", "")
	fs.StringVar(&s.agents, "agents", "", "")
	fs.StringVar(&s.web, "web", "", "")
	s.targets.flags(fs)
	fs.BoolVar(&s.noThresholds, "no-thresholds", false, "")
	fs.Float64Var(&s.rate, "rate", 0, "")
	fs.StringVar(&s.json, "json", "", "")
	fs.StringVar(&s.export, "summary-export", "", "")
	fs.StringVar(&s.ledger, "ledger", "", "")
	fs.BoolVar(&s.insecure, "insecure-skip-tls-verify", false, "")
	fs.StringVar(&s.onCut, "on-cut", "", "")
	fs.StringVar(&s.phases, "phase-file", "", "")
	fs.BoolVar(&s.noColor, "no-color", false, "")
	for _, name := range []string{"q", "quiet"} {
		fs.BoolVar(&s.quiet, name, false, "")
	}
	for _, name := range []string{"e", "env"} {
		fs.Var(s.env, name, "")
	}
	fs.Var(s.tags, "tag", "")
	var files []string
	for len(args) > 0 { // flags may stand behind the file
		if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
			fmt.Fprintf(p.stdout, runUsage, command)
			return s, "", loadtest.ExitOK, true
		} else if err != nil {
			return s, "", p.fail(loadtest.ExitConfig, fmt.Errorf("%w (loadtest %s --help)", err, command)), true
		}
		if args = fs.Args(); len(args) > 0 {
			files, args = append(files, args[0]), args[1:]
		}
	}
	fs.Visit(func(f *flag.Flag) { s.given[f.Name] = true })
	if len(files) != 1 {
		return s, "", p.fail(loadtest.ExitConfig, fmt.Errorf("want one scenario file, got %d (loadtest %s --help)", len(files), command)), true
	}
	return s, files[0], 0, false
}

// scenario reads the file and applies the flags.
func (s settings) scenario(file string) (*loadtest.Scenario, int, error) {
	text, kept, err := read(file)
	if err != nil {
		return nil, loadtest.ExitNoFile, err
	}
	sc, err := loadtest.Parse(text, func(name string) (string, bool) {
		if v, ok := s.env[name]; ok {
			return v, true
		}
		if v, ok := os.LookupEnv(name); ok {
			return v, true
		}
		v, ok := kept[name]
		return v, ok
	})
	if err != nil {
		return nil, loadtest.ExitConfig, fmt.Errorf("%s:\n%w", file, err)
	}
	if s.given["url"] {
		sc.URL = s.url
	}
	if s.given["rate"] {
		sc.Publish.Rate = s.rate
	}
	if s.given["connections"] {
		sc.Connections = s.connections
	}
	if err := s.load(sc); err != nil {
		return nil, loadtest.ExitConfig, err
	}
	if s.trendStats != "" {
		sc.SummaryTrendStats = strings.Split(s.trendStats, ",")
	}
	if s.localIPs != "" {
		sc.LocalAddresses = strings.Split(s.localIPs, ",")
	}
	s.targets.apply(&sc.Target)
	if s.insecure {
		sc.InsecureSkipTLSVerify = true
	}
	if s.noThresholds {
		sc.Thresholds = nil
	}
	if sc.Tags == nil {
		sc.Tags = map[string]string{}
	}
	maps.Copy(sc.Tags, s.tags)
	if err := sc.Validate(); err != nil {
		return nil, loadtest.ExitConfig, fmt.Errorf("%s:\n%w", file, err)
	}
	return sc, 0, nil
}

// load applies -u, -d, -i and -s. As in k6, what they ask for takes the place of scenarios.
func (s settings) load(sc *loadtest.Scenario) error {
	vus, duration := s.given["vus"] || s.given["u"], s.given["duration"] || s.given["d"]
	counted := s.given["iterations"] || s.given["i"]
	if counted && s.iterations < 1 || vus && s.vus < 1 {
		return fmt.Errorf("-i %d, -u %d: at least 1 is wanted", s.iterations, s.vus)
	}
	if !counted && len(s.stages) == 0 && (len(sc.Scenarios) == 0 || !vus && !duration) {
		if vus {
			sc.Connections = s.vus
		}
		if duration {
			sc.Duration = loadtest.Duration(s.duration)
		}
		return nil
	}
	if len(sc.Scenarios) > 0 {
		fmt.Fprintln(s.stderr, "loadtest: -u, -d, -i and -s override the scenarios of the file entirely")
	}
	short := loadtest.Shortcut{VUs: s.vus, Iterations: s.iterations, Duration: loadtest.Duration(s.duration)}
	for _, text := range s.stages {
		stage, err := loadtest.ParseStage(text)
		if err != nil {
			return fmt.Errorf("-s %s: %w", text, err)
		}
		short.Stages = append(short.Stages, stage)
	}
	return short.Apply(sc)
}
