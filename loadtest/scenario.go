package loadtest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

// Scenario is one load run. NewScenario has the defaults; README.md explains each key.
type Scenario struct {
	URL            string            `yaml:"url" json:"url"`                            // ws:// or wss://HOST[:PORT]/PATH
	Connections    int               `yaml:"connections" json:"connections"`            // clients, one connection each
	ConnectRate    float64           `yaml:"connect_rate" json:"connect_rate"`          // new connections per second
	ConnectTimeout Duration          `yaml:"connect_timeout" json:"connect_timeout"`    // until it is subscribed, in whole seconds
	Handshakes     int               `yaml:"handshakes" json:"handshakes"`              // most connects under way at a time
	Channels       Channels          `yaml:"channels" json:"channels"`                  // that are subscribed to and published to
	Subscriptions  int               `yaml:"subscriptions" json:"subscriptions"`        // channels per connection
	Publish        Publish           `yaml:"publish" json:"publish"`                    // load of publications
	Requests       Requests          `yaml:"requests" json:"requests"`                  // load of requests
	Scenarios      map[string]Load   `yaml:"scenarios" json:"scenarios,omitempty"`      // work for virtual users in the steady phase
	Checks         map[string]string `yaml:"checks" json:"checks,omitempty"`            // named expressions on what is received
	Ping           Duration          `yaml:"ping" json:"ping,omitempty"`                // how often each connection sends a ping; 0: never
	Settle         Duration          `yaml:"settle" json:"settle"`                      // pause between the last connect and the first publication
	Warmup         Duration          `yaml:"warmup" json:"warmup"`                      // load before the steady phase
	Duration       Duration          `yaml:"duration" json:"duration"`                  // of the steady phase
	Drain          Duration          `yaml:"drain" json:"drain"`                        // longest wait, at the end, for what has not arrived
	Reconnect      bool              `yaml:"reconnect" json:"reconnect"`                // come back after a cut and resume
	Cut            Cut               `yaml:"cut" json:"cut,omitzero"`                   // a reconnect storm
	Churn          Churn             `yaml:"churn" json:"churn,omitzero"`               // clients that come and go
	Poll           Poll              `yaml:"poll" json:"poll,omitzero"`                 // HTTP polling instead of subscriptions
	StopReading    Stop              `yaml:"stop_reading" json:"stop_reading,omitzero"` // slow readers
	Target         Target            `yaml:"target" json:"target,omitzero"`             // what is watched of the server
	Token          string            `yaml:"token" json:"-"`                            // bearer credential of all clients

	// InsecureSkipTLSVerify takes any certificate of a wss:// server.
	InsecureSkipTLSVerify bool `yaml:"insecureSkipTLSVerify" json:"insecureSkipTLSVerify,omitempty"`

	LocalAddresses []string `yaml:"local_addresses" json:"local_addresses"` // source addresses; default: chosen

	Tags              map[string]string      `yaml:"tags" json:"tags,omitempty"` // copied into reports
	Thresholds        map[string][]Assertion `yaml:"thresholds" json:"thresholds"`
	SummaryTrendStats []string               `yaml:"summaryTrendStats" json:"summaryTrendStats"`

	part swarm.Part // of an agent
}

// Channels are count names made from a pattern; without one, NAMESPACE:load-%d with the namespace of the publish path.
type Channels struct {
	Count int    `yaml:"count" json:"count"`
	Name  string `yaml:"name" json:"name"` // with one %d, which becomes 0 to count-1

	// Zipf makes channels unequal: the r-th has subscribers in proportion to 1/r^zipf; 0: all have as many. Each gets as many publications.
	Zipf float64 `yaml:"zipf" json:"zipf,omitempty"`
}

// Publish is the open load of publications.
type Publish struct {
	Rate       float64 `yaml:"rate" json:"rate"`             // per second, of all publishers together; 0: none
	Burst      int     `yaml:"burst" json:"burst,omitempty"` // so many are due at once, at the same rate; default: one by one
	Publishers int     `yaml:"publishers" json:"publishers"` // connections that publish; default: as many as channels
	Path       string  `yaml:"path" json:"path"`             // PathBackend or PathDirect
	Payload    int     `yaml:"payload" json:"payload"`       // bytes
	IDs        bool    `yaml:"ids" json:"ids"`               // send an idempotency key with each
}

// Requests is the open load of requests.
type Requests struct {
	Rate    float64 `yaml:"rate" json:"rate"`       // per second, of all connections together; 0: none
	Channel string  `yaml:"channel" json:"channel"` // of all requests
}

// Cut ends connections at one moment of the steady phase, without a Close frame where they are reset; their clients come back and resume.
type Cut struct {
	By         string   `yaml:"by" json:"by"`                 // CutByReset, or CutByServer, which takes all connections; default: reset
	At         Duration `yaml:"at" json:"at"`                 // from the beginning of the steady phase
	Share      float64  `yaml:"share" json:"share"`           // of the connections, above 0 to 1; 0: none are cut
	Spread     Duration `yaml:"spread" json:"spread"`         // each comes back at a random time within it; default: all at once
	Publishers bool     `yaml:"publishers" json:"publishers"` // connections that publish are cut too
}

// Stop is a group of connections that stop reading; none of them publishes. Their deliveries count in the stopped_ metrics only.
type Stop struct {
	Connections   int      `yaml:"connections" json:"connections"`       // how many; 0: none
	At            Duration `yaml:"at" json:"at"`                         // from the beginning of the steady phase
	Until         Duration `yaml:"until" json:"until"`                   // when they read again; default: at its end
	ReceiveBuffer int      `yaml:"receive_buffer" json:"receive_buffer"` // SO_RCVBUF in bytes; default: the kernel's
}

// Paths of a publication, and the namespace of the default channel names for each.
const (
	PathBackend = "backend" // client, stream, backend, stream, subscribers: namespace echo
	PathDirect  = "direct"  // client, stream, subscribers: namespace direct
)

// Assertion is one threshold on a metric.
type Assertion struct {
	Threshold      string   `yaml:"threshold" json:"threshold"`
	AbortOnFail    bool     `yaml:"abortOnFail" json:"abortOnFail,omitempty"`
	DelayAbortEval Duration `yaml:"delayAbortEval" json:"delayAbortEval,omitempty"`
}

// UnmarshalYAML reads both of k6's forms: the expression alone, or an object.
func (a *Assertion) UnmarshalYAML(decode func(any) error) error {
	if decode(&a.Threshold) == nil {
		return nil
	}
	type object Assertion // without this method
	return decode((*object)(a))
}

// Duration is a time.Duration that is written as "90s" in files; a bare number is refused, since it has no unit.
type Duration time.Duration

// UnmarshalYAML reads "500ms", "1m30s"; its errors name the line.
func (d *Duration) UnmarshalYAML(node ast.Node) error {
	at := node.GetToken()
	if err := d.UnmarshalText([]byte(at.Value)); err != nil {
		return fmt.Errorf("[%d:%d] %w", at.Position.Line, at.Position.Column, err)
	}
	return nil
}

// UnmarshalText reads what String writes.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration: want a number and a unit, such as 500ms, 10s or 1m30s", text)
	}
	*d = Duration(v)
	return nil
}

// String is the duration as time.Duration writes it.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the duration as String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// NewScenario is a scenario with all defaults.
func NewScenario() *Scenario {
	return &Scenario{
		URL:               "ws://127.0.0.1:8080/ws",
		Connections:       1,
		ConnectRate:       1000,
		ConnectTimeout:    Duration(10 * time.Second),
		Handshakes:        256,
		Channels:          Channels{Count: 1},
		Subscriptions:     1,
		Publish:           Publish{Path: PathBackend, Payload: 128},
		Requests:          Requests{Channel: "echo:requests"},
		Settle:            Duration(time.Second),
		Warmup:            Duration(5 * time.Second),
		Duration:          Duration(30 * time.Second),
		Drain:             Duration(5 * time.Second),
		Churn:             Churn{Away: Duration(time.Second)},
		SummaryTrendStats: []string{"avg", "min", "med", "max", "p(95)", "p(99)", "p(99.9)"},
	}
}

// Resolved is the scenario with the defaults that depend on other keys: channel names, the number of publishers, and when
// those who stop reading read again. Where there is no load but that of scenarios, they say how long the steady phase is, and there is no warm-up.
func (s Scenario) Resolved() *Scenario {
	if s.Channels.Name == "" {
		s.Channels.Name = "echo:load-%d"
		if s.Publish.Path == PathDirect {
			s.Channels.Name = "direct:load-%d"
		}
	}
	if len(s.Scenarios) > 0 && s.Publish.Rate == 0 {
		s.Warmup = 0
		if s.Requests.Rate == 0 {
			s.Duration = s.longest(false)
		}
	}
	s.Cut.By = cmp.Or(s.Cut.By, CutByReset)
	if s.StopReading.Connections > 0 && s.StopReading.Until == 0 {
		s.StopReading.Until = s.Duration
	}
	switch {
	case s.Publish.Rate == 0:
		s.Publish.Publishers = 0
	case s.Publish.Publishers == 0:
		s.Publish.Publishers = min(s.Channels.Count, s.Connections)
	}
	return &s
}

// channel is the name of the i-th channel of a resolved scenario.
func (c Channels) channel(i int) string { return strings.ReplaceAll(c.Name, "%d", strconv.Itoa(i)) }

// selectors are what thresholds are about, sorted.
func (s *Scenario) selectors() []string { return slices.Sorted(maps.Keys(s.Thresholds)) }

// bind finds the metrics of all thresholds in set, which has the parts that they ask for. All faults come together.
func (s *Scenario) bind(set metric.Set) (bound []metric.Bound, faults []string) {
	names := make([]string, 0, len(s.Thresholds))
	for name := range s.Thresholds {
		names = append(names, name)
	}
	order := func(name string) int { return slices.Index(set.Names(), strings.SplitN(name, "{", 2)[0]) }
	slices.SortFunc(names, func(a, b string) int {
		if d := order(a) - order(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	for _, name := range names {
		for _, a := range s.Thresholds[name] {
			t, err := metric.ParseThreshold(name, a.Threshold)
			if err != nil {
				faults = append(faults, err.Error())
				continue
			}
			t.AbortOnFail, t.AbortDelay = a.AbortOnFail, time.Duration(a.DelayAbortEval)
			b, err := set.Bind(t)
			if err != nil {
				faults = append(faults, err.Error())
				continue
			}
			bound = append(bound, b)
		}
	}
	return bound, faults
}

// trendStats are the columns of trends in the summary.
func (s *Scenario) trendStats() (stats []metric.Method, faults []string) {
	for _, name := range s.SummaryTrendStats {
		m, err := metric.ParseStat(name)
		if err != nil {
			faults = append(faults, "summaryTrendStats: "+err.Error())
		}
		stats = append(stats, m)
	}
	return stats, faults
}
