package generator

import (
	"context"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Load is one load: publications, in bursts or one by one, or requests.
type Load struct {
	Rate     float64 // bodies a second: publications or requests
	Duration time.Duration
	Burst    bool // publications come PerClient at a time, to all channels of one block
	Requests bool
}

// Result is what a load came to. Times are milliseconds.
type Result struct {
	Sent      int64   `json:"sent"`              // bodies
	Expected  int64   `json:"expected"`          // deliveries, or replies
	Received  int64   `json:"received"`          // of those
	GaveUp    bool    `json:"gave_up,omitempty"` // the server was so far behind that the load was ended early
	Closed    int64   `json:"closed,omitempty"`  // connections that the server ended
	Seconds   float64 `json:"seconds"`           // until the last delivery
	P50       float64 `json:"p50_ms"`            // from when a body was due to when it was received
	P99       float64 `json:"p99_ms"`
	Max       float64 `json:"max_ms"`
	LagP99    float64 `json:"lag_p99_ms"` // from when a body was due to when the generator sent it
	Complaint string  `json:"complaint,omitempty"`
}

// Lost is how many deliveries did not come.
func (r Result) Lost() int64 { return r.Expected - r.Received }

const (
	bodiesPerTurn = 64
	// hopeless is how many seconds of deliveries may be outstanding: the load is over then, since p99 will not be under 50 ms any more.
	hopeless = 1.0
	// quiet is how long nothing may come at the end until the rest counts as lost.
	quiet = 1500 * time.Millisecond
	// patience bounds the whole wait at the end.
	patience = 20 * time.Second
	// histogram range, us
	maxLatency = 60_000_000
)

// load is a Load under way. Owned by the loop.
type load struct {
	Load
	number   uint16
	start    int64
	next     int64 // body, or burst of them
	total    int64
	interval float64 // ns
	ended    int64   // when the last one was sent; 0: not yet
	last     int64   // when the last delivery came
	closed   int64   // of Generator, at the start
	fan      float64 // deliveries per body
	result   Result
	latency  *hdrhistogram.Histogram
	lag      *hdrhistogram.Histogram
	answer   chan<- Result
}

// Run puts a load on the connections that are there, and returns when everything has come or the rest is lost.
func (g *Generator) Run(ctx context.Context, l Load) (Result, error) {
	if l.Rate <= 0 || l.Duration <= 0 {
		return Result{}, fmt.Errorf("generator: %v bodies a second for %v is no load", l.Rate, l.Duration)
	}
	return ask(ctx, g, func(answer chan<- Result) { g.begin(l, answer) })
}

func (g *Generator) begin(l Load, answer chan<- Result) {
	g.fault = ""
	g.loads++
	w := &load{
		Load: l, number: g.loads, start: g.loop.Clock() + int64(10*time.Millisecond), closed: g.closed, answer: answer, fan: 1,
		latency: hdrhistogram.New(1, maxLatency, 3), lag: hdrhistogram.New(1, maxLatency, 3),
	}
	step := 1
	if l.Burst {
		step = g.cfg.PerClient
	}
	w.interval = 1e9 / l.Rate * float64(step)
	w.total = int64(l.Duration.Seconds() * l.Rate / float64(step))
	if !l.Requests {
		channel := 0
		if l.Burst {
			channel = g.cfg.Channels
		}
		w.fan = float64(g.members[channel])
	}
	g.load = w
}

// loadDue sends what is due, and ends the load when its time has come. wake is when there will be more to do.
func (g *Generator) loadDue() (more bool, wake int64) {
	w := g.load
	now := g.loop.Clock()
	if w.ended == 0 && float64(w.result.Expected-w.result.Received) > hopeless*w.Rate*w.fan+w.fan {
		w.result.GaveUp, w.ended = true, now
	}
	for range bodiesPerTurn {
		if w.ended == 0 && w.next == w.total {
			w.ended = now
		}
		if w.ended != 0 {
			return g.wait(w, now)
		}
		due := w.start + int64(float64(w.next)*w.interval)
		if due > now {
			return false, due
		}
		g.send(w, due, now)
		w.next++
	}
	return true, 0
}

// wait ends a load of which everything has been sent when everything has come, or nothing comes any more.
func (g *Generator) wait(w *load, now int64) (more bool, wake int64) {
	silent := max(w.last, w.ended) + int64(quiet)
	if w.result.Received >= w.result.Expected || now >= silent || now >= w.ended+int64(patience) {
		g.end()
		return false, 0
	}
	return false, min(silent, w.ended+int64(patience))
}

func (g *Generator) send(w *load, due, now int64) {
	g.body = stamp{w.number, due}.appendBody(g.body[:0], g.cfg.Body)
	k := int(w.next)
	n, c := len(g.clients), g.cfg.Channels
	var from int
	g.out = g.out[:0]
	switch {
	case w.Requests:
		from = k * 7919 % n // a prime, so that neighbours do not ask one after the other
		if cl := &g.clients[from]; !cl.inbox && cl.state == ready {
			cl.inbox = true
			g.out = g.cfg.Dialect.Inbox(g.out, from)
		}
		g.out = g.cfg.Dialect.Request(g.out, from, g.body)
		w.expect(1, 1)
	case w.Burst:
		from = k % n // has the block, each time another one
		for _, channel := range g.block(from) {
			g.out = g.cfg.Dialect.Publish(g.out, channel, g.body)
			w.expect(1, g.members[channel])
		}
	default:
		from = k % n // a member of the channel, each time another one
		g.out = g.cfg.Dialect.Publish(g.out, k%c, g.body)
		w.expect(1, g.members[k%c])
	}
	_ = w.lag.RecordValue(min(max((now-due)/1000, 1), maxLatency))
	g.loop.SendCopy(g.clients[from].conn, g.out) // what cannot be sent is expected all the same, and so counts as lost
}

func (w *load) expect(bodies, deliveries int64) {
	w.result.Sent += bodies
	w.result.Expected += deliveries
}

// received takes a body. Bodies of a load that is over do not count.
func (w *load) received(body []byte, now int64) {
	s, ok := parseStamp(body)
	if !ok || s.load != w.number {
		return
	}
	w.result.Received++
	w.last = now
	_ = w.latency.RecordValue(min(max((now-s.due)/1000, 1), maxLatency))
}

func (g *Generator) end() {
	w := g.load
	g.load = nil
	r := &w.result
	ms := func(h *hdrhistogram.Histogram, q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	r.P50, r.P99, r.Max, r.LagP99 = ms(w.latency, 50), ms(w.latency, 99), ms(w.latency, 100), ms(w.lag, 99)
	r.Seconds = float64(max(w.last, w.ended)-w.start) / 1e9
	r.Closed = g.closed - w.closed
	r.Complaint = g.fault
	w.answer <- *r
}
