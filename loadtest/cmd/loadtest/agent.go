package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"

	"github.com/millracehq/millrace/loadtest"
)

const agentUsage = `Usage: loadtest agent [--listen ADDR] [--url URL]

Does shares of the runs that loadtest run --agents asks for, one run at a time, until it is interrupted.

      --listen ADDR  HOST:PORT (127.0.0.1:7460); port 0: one that is free, which is told on standard error
      --url URL      connect there, not where scenarios say: one gateway of several

There is neither authentication nor encryption: who reaches the address can have this machine make load, and credentials of scenarios go over
it. Listen where only your own machines are.
`

// agent serves the runs of others.
func (p program) agent(ctx context.Context, args []string) int {
	fs := flag.NewFlagSet("agent", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	address := fs.String("listen", "127.0.0.1:7460", "")
	url := fs.String("url", "", "")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(p.stdout, agentUsage)
		return loadtest.ExitOK
	case err != nil:
		return p.fail(loadtest.ExitConfig, fmt.Errorf("%w (loadtest agent --help)", err))
	case fs.NArg() > 0:
		return p.fail(loadtest.ExitConfig, errors.New("an agent takes no arguments: loadtest agent [--listen ADDR]"))
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *address)
	if err != nil {
		return p.fail(loadtest.ExitStart, err)
	}
	fmt.Fprintln(p.stderr, "loadtest: agent listens on", l.Addr())
	if err := loadtest.ServeAgent(ctx, l, loadtest.AgentOptions{Version: version, URL: *url, Logger: p.logger(slog.LevelInfo)}); err != nil {
		return p.fail(loadtest.ExitStart, err)
	}
	return loadtest.ExitOK
}
