// Command compression measures what permessage-deflate is worth with many subscribers of one channel: the same load on a gateway
// without it and on one with it, each a process of its own.
//
//	bin/gateway ═▶ 15,000 subscribers in this process, each holding what it gets against what the first one got
//
// The next publication goes out when the last one has come everywhere, so the time until then is that of one publication alone.
// It fails when a publication does not come, comes altered, or costs more than one compression.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"

	"github.com/millracehq/millrace/e2e/internal/rig"
)

// options are the flags.
type options struct {
	gateway      string
	subscribers  int
	publications int
	bytes        int
	level        int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main. Exit codes: 0 all came as it should, 1 something did not, 2 bad usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	fs := flag.NewFlagSet("compression", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.gateway, "gateway", "bin/gateway", "the gateway's `FILE`")
	fs.IntVar(&o.subscribers, "subscribers", 15_000, "of one channel")
	fs.IntVar(&o.publications, "publications", 50, "one after the other")
	fs.IntVar(&o.bytes, "bytes", 1200, "of JSON in each")
	fs.IntVar(&o.level, "level", 1, "of DEFLATE, 1 to 9")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	results := make([]result, 2)
	for i, on := range []bool{false, true} {
		var err error
		if results[i], err = o.measure(ctx, on); err != nil {
			_, _ = fmt.Fprintf(stderr, "compression: %v\n", err)
			return 1
		}
	}
	o.report(stdout, results)
	return 0
}

// measure is one load on one gateway.
func (o *options) measure(ctx context.Context, on bool) (res result, err error) {
	r, err := rig.New()
	if err != nil {
		return res, err
	}
	defer func() {
		if stopped := r.Stop(); err == nil {
			err = stopped
		}
	}()
	g, err := r.Start(ctx, o.gateway, "namespaces:\n  direct: {publish: direct}\n", fmt.Sprintf("--compression=%v", on), fmt.Sprint("--compression-level=", o.level))
	if err != nil {
		return res, err
	}
	a := &audience{options: o, gateway: g, deflate: on}
	defer a.leave()
	if err := a.gather(ctx); err != nil {
		return res, err
	}
	return a.listen(ctx)
}

func (o *options) report(w io.Writer, results []result) {
	_, _ = fmt.Fprintf(w, "%d publications of %d bytes to %d subscribers of one channel\n\n", o.publications, o.bytes, o.subscribers)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprint(t, "compression\tdeliveries\tcompressions\tbytes on the wire\ta delivery\tuntil the last, mean\tgateway's CPU\tmemory\t\n")
	for i, r := range results {
		name := [...]string{"off", "on"}[i]
		_, _ = fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%.1f\t%.1f ms\t%.2f s\t%.0f MB\t\n", name, r.deliveries, r.compressions, r.bytes,
			float64(r.bytes)/float64(r.deliveries), r.mean.Seconds()*1000, r.cpu, r.memory/1e6)
	}
	_ = t.Flush()
}
