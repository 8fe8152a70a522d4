package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/millracehq/millrace/gateway/client"
)

// crowdMost is what a TLS connection may cost a gateway, in bytes.
const crowdMost = 12 << 10

// tally is what a crowd says of itself when it is asked.
type tally struct {
	Open  int64 // connections that live
	Got   int64 // publications, all connections together
	Error string
}

// crowdMain is the other process: it opens --n connections, says so with a line, and answers each line on in with a tally.
func crowdMain(args []string, in io.Reader, out io.Writer) int {
	fs := flag.NewFlagSet("crowd", flag.ContinueOnError)
	addr, root, n := fs.String("addr", "", ""), fs.String("root", "", ""), fs.Int("n", 0, "")
	if fs.Parse(args) != nil {
		return 2
	}
	c := &crowd{}
	say := func(err error) {
		t := tally{Open: c.open.Load(), Got: c.got.Load()}
		if err != nil {
			t.Error = err.Error()
		}
		_ = json.NewEncoder(out).Encode(t)
	}
	err := c.gather(remote(*addr, *root), *n)
	say(err)
	for lines := bufio.NewScanner(in); err == nil && lines.Scan(); {
		say(nil)
	}
	return 0
}

// remote is the target as another process sees it; without a root it is plain.
func remote(addr, root string) *target {
	t := &target{addr: addr}
	if root != "" {
		pem, _ := os.ReadFile(root) // without it no handshake succeeds, and that is said
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		t.client = &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
	}
	return t
}

type crowd struct{ open, got atomic.Int64 }

func (c *crowd) gather(t *target, n int) error {
	todo := make(chan int, n)
	for i := range n {
		todo <- i
	}
	close(todo)
	return each(16, func(int) error {
		for range todo {
			s, err := t.open()
			if err == nil {
				_ = s.SetDeadline(time.Time{})
				_, err = s.Write(masked(0x81, []byte("sub 1 direct:news")))
			}
			for subscribed := false; err == nil && !subscribed; { // hello, then ok
				var payload []byte
				_, payload, err = s.frame()
				subscribed = len(payload) > 3 && string(payload[:3]) == "ok "
			}
			if err != nil {
				return err
			}
			c.open.Add(1)
			go c.read(s)
		}
		return nil
	})
}

func (c *crowd) read(s *socket) {
	defer c.open.Add(-1)
	for {
		op, payload, err := s.frame()
		switch {
		case err != nil || op == 8:
			return
		case op == 9:
			_, _ = s.Write(masked(0x8a, payload))
		case len(payload) > 3 && string(payload[:3]) == "msg":
			c.got.Add(1)
		}
	}
}

// crowd measures what TLS connections cost, and replaces the certificate twice while they are sent to: once with SIGHUP, once by the files
// alone.
func (a *arena) crowd(ctx context.Context, o options, out io.Writer) error {
	t, n := a.tls, o.size.crowd
	ctx, cancel := context.WithTimeout(ctx, attackMost)
	defer cancel()
	before, err := t.rested(ctx, usage{})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, t.exe, "crowd", "--addr", t.addr, "--root", a.pair.rootFile, "--n", fmt.Sprint(n))
	cmd.Stderr = out
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	lines, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	answers := json.NewDecoder(lines)
	ask := func() (c tally, err error) {
		if err = answers.Decode(&c); err == nil && c.Error != "" {
			err = errors.New(c.Error)
		}
		return c, err
	}
	begun := time.Now()
	if c, err := ask(); err != nil || c.Open != int64(n) {
		return fmt.Errorf("%d of %d connections: %w", c.Open, n, err)
	}
	took := time.Since(begun)
	wait(ctx, 2*time.Second) // what the last handshakes have left is garbage
	with, err := t.usage()
	if err != nil {
		return err
	}
	each, rss := (with.Heap-before.Heap)/int64(n), (with.RSS-before.RSS)/int64(n)
	fmt.Fprintf(out, "crowd: %d TLS connections, opened in %.1f s: %d bytes of heap each, %d resident; goroutines %+d; %v handshakes\n",
		n, took.Seconds(), each, rss, with.Goroutines-before.Goroutines, t.metric(`millrace_tls_handshakes_total{result="done"}`))
	sent, p, err := a.replaceUnderLoad(ctx)
	if err != nil {
		return err
	}
	var c tally
	if !eventually(ctx, 10*time.Second, func() bool {
		_, _ = io.WriteString(in, "\n")
		c, err = ask()
		return err != nil || c.Got == int64(sent*n)
	}) || err != nil {
		return fmt.Errorf("%d of %d publications came to the crowd, of which %d live: %w", c.Got, sent*n, c.Open, err)
	}
	fmt.Fprintf(out, "crowd: certificate replaced twice under %d deliveries: %d of %d connections live, none missed anything; echo p99 %.1f ms, max %.1f ms\n",
		c.Got, c.Open, n, ms(p.quantile(0.99)), ms(p.quantile(1)))
	var errs []error
	if worst := max(each, rss); worst > crowdMost {
		errs = append(errs, fmt.Errorf("a TLS connection costs %d bytes, the limit is %d", worst, crowdMost))
	}
	if more := with.Goroutines - before.Goroutines; more > moreGoroutines {
		errs = append(errs, fmt.Errorf("%d more goroutines", more))
	}
	if c.Open != int64(n) {
		errs = append(errs, fmt.Errorf("%d connections were dropped", int64(n)-c.Open))
	}
	if p.err != nil || p.quantile(1) > o.limit {
		errs = append(errs, fmt.Errorf("the healthy client: %v after %v at most", p.err, p.quantile(1))) //nolint:errorlint // may be nil
	}
	_ = in.Close()
	_ = cmd.Wait()
	_, err = t.rested(ctx, before)
	return errors.Join(append(errs, err)...)
}

// replaceUnderLoad publishes to the crowd ten times a second, and has the certificate replaced meanwhile. It returns how many publications that were.
func (a *arena) replaceUnderLoad(ctx context.Context) (sent int, p probe, err error) {
	t := a.tls
	_, p, err = t.watchOver(ctx, func(ctx context.Context) (string, error) {
		conn, err := client.Dial(ctx, t.scheme()+"://"+t.addr+"/ws", client.Options{HTTPClient: t.http()})
		if err != nil {
			return "", err
		}
		defer func() { _ = conn.Close() }()
		loading, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		var lost error
		wg.Go(func() { sent, lost = load(loading, conn) })
		replaced := a.replace(ctx, func() error { return t.cmd.Process.Signal(syscall.SIGHUP) })
		if replaced == nil {
			replaced = a.replace(ctx, func() error { return nil })
		}
		stop()
		wg.Wait()
		return "", errors.Join(replaced, lost)
	})
	return sent, p, err
}

func load(ctx context.Context, conn *client.Conn) (sent int, err error) {
	for wait(ctx, 250*time.Millisecond) {
		publishing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		err := conn.Publish(publishing, "direct:news", "", []byte("news"))
		cancel()
		if err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}

// replace issues a new certificate, calls tell, and waits until it is what a new connection sees.
func (a *arena) replace(ctx context.Context, tell func() error) error {
	if err := errors.Join(a.pair.issue(), tell()); err != nil {
		return err
	}
	seen := int64(0)
	if !eventually(ctx, 30*time.Second, func() bool {
		c, err := a.tls.dial()
		if err != nil {
			return false
		}
		defer c.Close()
		seen = c.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64()
		return seen == a.pair.serial
	}) {
		return fmt.Errorf("the certificate was not replaced: its serial is %d, not %d", seen, a.pair.serial)
	}
	return nil
}
