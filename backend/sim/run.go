package sim

import (
	"fmt"
	"strings"

	"github.com/millracehq/millrace/backend/store"
)

// maxRounds is how many exchanges all clients together may need to agree when nothing goes wrong any more.
const maxRounds = 200

// Failure is a broken promise.
type Failure struct {
	Config Config
	What   []string
}

func (f *Failure) Error() string {
	var without []string
	for i, name := range troubleNames {
		if f.Config.Without&(1<<i) != 0 {
			without = append(without, name)
		}
	}
	return fmt.Sprintf("seed %d, %d clients, %d steps, without [%s]:\n%s",
		f.Config.Seed, f.Config.Clients, f.Config.Steps, strings.Join(without, " "), strings.Join(f.What, "\n"))
}

// Run runs one seed. The failure is nil when every promise was kept.
func Run(cfg Config) (Counts, *Failure) {
	w := newWorld(cfg)
	for range w.cfg.Steps {
		if w.step(); len(w.history.failures) > 0 {
			break
		}
	}
	w.heal()
	w.check()
	if len(w.history.failures) > 0 {
		return w.counts, &Failure{w.cfg, w.history.failures}
	}
	return w.counts, nil
}

// heal ends all trouble and has everybody exchange what there is.
func (w *world) heal() {
	w.healed = true
	for _, c := range w.clients {
		w.setRole(c.user, store.Editor)
		c.toCut, c.fromCut = false, false
	}
	for range maxRounds {
		quiet := true
		for _, c := range w.clients {
			for len(c.to) > 0 {
				w.deliverTo(c)
			}
			for len(c.from) > 0 {
				w.deliverFrom(c)
			}
			w.askPull(c, c.copy.Seq())
			w.deliverTo(c)
			w.deliverFrom(c)
			w.askBodies(c, true)
			w.deliverTo(c)
			w.deliverFrom(c)
			w.send(c)
			quiet = quiet && c.copy.Pending() == 0 && len(c.to) == 0
		}
		if quiet && w.level() {
			return
		}
	}
}

func (w *world) level() bool {
	head := w.pullAll().To
	for _, c := range w.clients {
		if c.copy.Seq() != head || len(c.from) > 0 || c.copy.Base().Missing() > 0 {
			return false
		}
	}
	return true
}

// Shrink makes a failing run smaller as long as it fails: fewer troubles, fewer clients, fewer steps.
func Shrink(f *Failure) *Failure {
	try := func(cfg Config) bool {
		if _, smaller := Run(cfg); smaller != nil {
			f = smaller
			return true
		}
		return false
	}
	for shrunk := true; shrunk; {
		shrunk = false
		for i := range troubleNames {
			cfg := f.Config
			cfg.Without |= 1 << i
			shrunk = cfg.Without != f.Config.Without && try(cfg) || shrunk
		}
		for cfg := f.Config; cfg.Clients > 1; {
			if cfg.Clients--; !try(cfg) {
				break
			}
			shrunk = true
		}
		for _, part := range []int{2, 4, 10} {
			cfg := f.Config
			cfg.Steps -= cfg.Steps / part
			shrunk = cfg.Steps < f.Config.Steps && try(cfg) || shrunk
		}
	}
	return f
}

// Add sums counts.
func (c *Counts) Add(o Counts) {
	for i, v := range o.fields() {
		*c.fields()[i] += *v
	}
}

func (c *Counts) fields() []*int {
	return []*int{
		&c.Steps, &c.Mutations, &c.Committed, &c.Merged, &c.Redirected, &c.Superseded, &c.Rejected, &c.Conflicts, &c.Repeats, &c.Dropped,
		&c.Duplicated, &c.Cuts, &c.ClientCrashes, &c.ServerCrashes, &c.Purged, &c.Revocations, &c.Pulls, &c.Bodies, &c.Blind,
	}
}
