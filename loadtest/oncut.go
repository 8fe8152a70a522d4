package loadtest

import (
	"context"
	"fmt"
	"sync"
)

// Values of [Cut.By].
const (
	CutByReset  = "reset"  // the harness resets the connections
	CutByServer = "server" // the server is made to end them: see [Options.OnCut]
)

// onCut is the call of [Options.OnCut].
type onCut struct {
	called sync.WaitGroup
	err    error
}

// onEvent has whoever is to make the server end its connections do so.
func (r *run) onEvent(ctx context.Context, event string) {
	if event == "cut" && r.options.OnCut != nil {
		r.onCut.called.Go(func() { r.onCut.err = r.options.OnCut(ctx) })
	}
}

// evidence is that the call did what it was to do; none when there was no call to make.
func (c *onCut) evidence() []Check {
	c.called.Wait()
	if c.err == nil {
		return nil
	}
	return []Check{{false, fmt.Sprintf("what was to happen at the cut failed: %v", c.err)}}
}
