package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"github.com/millracehq/millrace/gateway/client"
)

// probe is the healthy client: it publishes to a channel that it is subscribed to, and takes the time until the publication is back.
type probe struct {
	times []time.Duration
	err   error
}

// seen is what the process of a probe says at its end.
type seen struct {
	Times []time.Duration
	Error string
}

// probeMain is the other process, so that the client does not wait for a processor behind the goroutines of an attack: it says when it
// is connected, and what it has seen when in ends.
func probeMain(args []string, in io.Reader, out io.Writer) int {
	fs := flag.NewFlagSet("probe", flag.ContinueOnError)
	addr, root := fs.String("addr", "", ""), fs.String("root", "", "")
	if fs.Parse(args) != nil {
		return 2
	}
	answers := json.NewEncoder(out)
	conn, sub, err := remote(*addr, *root).healthy(context.Background())
	if err != nil {
		_ = answers.Encode(seen{Error: err.Error()})
		return 1
	}
	_ = answers.Encode(seen{})
	ctx, stop := context.WithCancel(context.Background())
	go func() { _, _ = io.Copy(io.Discard, in); stop() }()
	var p probe
	p.run(ctx, conn, sub)
	last := seen{Times: p.times}
	if p.err != nil {
		last.Error = p.err.Error()
	}
	_ = answers.Encode(last)
	_ = conn.Close()
	return 0
}

// watchOver runs f with a probe beside it.
func (t *target) watchOver(ctx context.Context, f func(context.Context) (string, error)) (note string, p probe, err error) {
	cmd := exec.CommandContext(ctx, t.exe, "probe", "--addr", t.addr, "--root", t.root)
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", p, err
	}
	lines, err := cmd.StdoutPipe()
	if err != nil {
		return "", p, err
	}
	if err := cmd.Start(); err != nil {
		return "", p, err
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	answers, said := json.NewDecoder(lines), seen{}
	if err := answers.Decode(&said); err != nil || said.Error != "" {
		return "", p, fmt.Errorf("the healthy client cannot connect: %s (%w)", said.Error, err)
	}
	note, err = f(ctx)
	_ = in.Close()
	if derr := answers.Decode(&said); derr != nil {
		said.Error = derr.Error()
	}
	p.times = said.Times
	if said.Error != "" {
		p.err = errors.New(said.Error)
	}
	return note, p, err
}

func (t *target) healthy(ctx context.Context) (*client.Conn, *client.Subscription, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := client.Dial(ctx, t.scheme()+"://"+t.addr+"/ws", client.Options{HTTPClient: t.http()})
	if err != nil {
		return nil, nil, err
	}
	sub, err := conn.Subscribe(ctx, "direct:probe", "")
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, sub, nil
}

func (t *target) http() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: t.client, DisableKeepAlives: true}}
}

func (p *probe) run(ctx context.Context, conn *client.Conn, sub *client.Subscription) {
	for i := 0; ; i++ {
		look, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		begun, text := time.Now(), strconv.Itoa(i)
		err := conn.Publish(look, sub.Channel(), "", []byte(text))
		for err == nil {
			var back client.Publication
			if back, err = sub.Next(look); err == nil && string(back.Data) == text {
				break
			}
		}
		cancel()
		if err != nil {
			p.err = fmt.Errorf("echo %d of the healthy client: %w", i, err)
			return
		}
		p.times = append(p.times, time.Since(begun))
		if !wait(ctx, 10*time.Millisecond) {
			return
		}
	}
}

// quantile of the times, and how many there are.
func (p *probe) quantile(q float64) time.Duration {
	if len(p.times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(p.times))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
