package main

import (
	"flag"
	"maps"

	"github.com/millracehq/millrace/loadtest"
)

// targets are the flags --target-…: what is watched beside what the scenario says.
type targets struct {
	metrics, pids, redis list
	read                 pairs
}

func (t *targets) flags(fs *flag.FlagSet) {
	t.read = pairs{}
	fs.Var(&t.metrics, "target-metrics", "")
	fs.Var(&t.pids, "target-pid", "")
	fs.Var(&t.redis, "target-redis", "")
	fs.Var(t.read, "target-read", "")
}

// apply adds them to a scenario's.
func (t *targets) apply(to *loadtest.Target) {
	to.Metrics = append(to.Metrics, t.metrics...)
	to.PIDs = append(to.PIDs, t.pids...)
	to.Redis = append(to.Redis, t.redis...)
	if len(t.read) > 0 && to.Read == nil {
		to.Read = map[string]string{}
	}
	maps.Copy(to.Read, t.read)
}
