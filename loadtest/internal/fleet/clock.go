package fleet

import "errors"

// ErrBusy is what Measure returns when the agent has another run.
var ErrBusy = errors.New(Busy)

// Offset is how far another clock is ahead, and how wrong that can be, both in ns.
type Offset struct{ Ahead, Bound int64 }

const clockRounds = 20

// Measure asks the other side for its time some times. Of each round trip it is only known that the other clock was read within it; the shortest
// one says most: half of it is the bound (as NTP does it, RFC 5905 section 8).
func Measure(c *Conn, now func() int64) (best Offset, err error) {
	for round := range clockRounds {
		sent := now()
		if err := c.Send(Message{Clock: &Clock{}}); err != nil {
			return best, err
		}
		m, err := c.Receive()
		came := now()
		switch {
		case err != nil:
			return best, err
		case m.Fault == Busy:
			return best, ErrBusy
		case m.Fault != "":
			return best, errors.New(m.Fault)
		case m.Clock == nil:
			return best, errors.New("it does not tell its time")
		}
		if o := (Offset{m.Clock.Nanos - (sent + (came-sent)/2), (came - sent + 1) / 2}); round == 0 || o.Bound < best.Bound {
			best = o
		}
	}
	return best, nil
}
