package swarm

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"

	"github.com/millracehq/millrace/loadtest/internal/metric"
)

// Config of a swarm. It is taken as valid: package loadtest checks what users write.
type Config struct {
	Remote netip.AddrPort
	Locals []netip.Addr // source addresses, taken in turn; none: the kernel chooses
	Host   string       // of the handshake
	URI    string       // of the handshake, with its query
	TLS    *tls.Config  // nil: none
	Token  string       // credential, sent as Authorization: Bearer; empty: none

	Connections    int
	ConnectRate    float64       // dials per second
	ConnectTimeout time.Duration // for connect, handshake, hello and subscriptions; in whole seconds
	Handshakes     int           // most clients that are connecting at a time
	Reconnect      bool          // come back after a cut, resuming from the last position

	Channels      []string
	Subscriptions int     // per connection; at most as many as there are channels
	Zipf          float64 // the channel of rank r has subscribers in proportion to 1/r^Zipf; 0: all have as many

	Rate       float64 // publications per second, of all publishers together
	Burst      int     // so many are due at once, the rate being the same; 0 and 1: one
	Publishers int     // clients that publish
	Payload    int     // bytes of a body, at least StampSize
	IDs        bool    // send an idempotency key with each publication, and repeat it until it is acknowledged

	Cut   Cut
	Stop  Stop
	Churn Churn
	Poll  Poll

	RequestRate    float64 // requests per second, of all clients together
	RequestChannel string

	Loads  []Load        // of the steady phase, beside the above; at most MaxLoads
	Ping   time.Duration // how often each client sends a ping in the steady phase; 0: never
	Checks []Check
	Part   Part // of several processes; zero: the whole run

	Settle, Warmup, Duration, Drain time.Duration

	Logger *slog.Logger
}

// MaxLoads is how many loads labels can tell apart.
const MaxLoads = metric.MaxScenarios - 1

// Scenarios are the labels of the loads; the first is of what is in no load.
func (c *Config) Scenarios() []metric.ScenarioTags {
	list := []metric.ScenarioTags{{Name: "default"}}
	for _, l := range c.Loads {
		if l.Name == list[0].Name {
			list[0].Name = ""
		}
		list = append(list, metric.ScenarioTags{Name: l.Name, Tags: l.Tags})
	}
	return list
}

// users is how many virtual users all loads have.
func (c *Config) users() (n int) {
	for _, l := range c.Loads {
		n += l.VUs
	}
	return n
}
