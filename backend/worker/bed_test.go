package worker

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/redistest"
)

const (
	testPartitions = 4
	testClaimAfter = 60 * time.Millisecond
	patience       = 20 * time.Second // for what must happen; it is never waited out
)

// bed is a Redis, in which the test is the gateway.
type bed struct {
	t     *testing.T
	addr  string
	keys  stream.Keys
	url   string   // of a Cluster
	addrs []string // of its servers
}

// onRedis runs a test on a Redis of its own. (An imitation will not do: leases hang on its clock.)
func onRedis(t *testing.T, test func(b *bed)) {
	t.Helper()
	t.Parallel()
	test(&bed{t: t, addr: redistest.Start(t).Addr()})
}

// do is one command on a connection of its own.
func (b *bed) do(args ...any) any {
	b.t.Helper()
	v, err := b.try(args)
	if err != nil {
		b.t.Fatalf("%v: %v", args, err)
	}
	return v
}

// try is one command, in a Cluster to the server that has its key, and what is to follow it there.
func (b *bed) try(args []any, more ...[]any) (v any, err error) {
	if b.url == "" {
		return roundTrip(b.addr, append([][]any{args}, more...)...)
	}
	for _, addr := range b.addrs {
		v, err = roundTrip(addr, append([][]any{args}, more...)...)
		if err != nil && strings.Contains(err.Error(), "MOVED ") {
			words := strings.Fields(err.Error())
			v, err = roundTrip(words[len(words)-1], append([][]any{args}, more...)...)
		}
		if err == nil {
			return v, nil
		}
	}
	return v, err
}

// roundTrip is the answer to the last command.
func roundTrip(addr string, commands ...[]any) (v any, err error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	var req bytes.Buffer
	for _, args := range commands {
		fmt.Fprintf(&req, "*%d\r\n", len(args))
		for _, a := range args {
			s := fmt.Sprint(a)
			fmt.Fprintf(&req, "$%d\r\n%s\r\n", len(s), s)
		}
	}
	if _, err := c.Write(req.Bytes()); err != nil {
		return nil, err
	}
	replies := bufio.NewReader(c)
	for range commands {
		if v, err = readReply(replies); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func readReply(r *bufio.Reader) (any, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	kind, rest := line[0], strings.TrimSpace(line[1:])
	n, _ := strconv.Atoi(rest)
	switch kind {
	case '-':
		return nil, fmt.Errorf("redis: %s", rest)
	case ':':
		return n, nil
	case '$':
		if n < 0 {
			return nil, nil
		}
		data := make([]byte, n+2)
		_, err := io.ReadFull(r, data)
		return string(data[:n]), err
	case '*':
		list := make([]any, max(n, 0))
		for i := range list {
			if list[i], err = readReply(r); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	return rest, nil
}

// add writes an entry as a gateway does.
func (b *bed) add(e stream.Event) {
	b.t.Helper()
	if e.Node == "" {
		e.Node, e.Conn = "n1", "conn1"
	}
	if e.User == "" {
		e.User = "ann"
	}
	if e.Ref == "" {
		e.Ref = "7"
	}
	b.addRaw(b.partition(e.Channel), e.Values()...)
}

func (b *bed) addRaw(partition int, values ...any) {
	b.t.Helper()
	b.do(append([]any{"XADD", b.keys.In(partition), "*"}, values...)...)
}

func (b *bed) partition(channel string) int { return stream.Partition(channel, testPartitions) }

// entries are the fields of all entries of a stream.
func (b *bed) entries(key string) (all [][]string) {
	b.t.Helper()
	for _, e := range b.do("XRANGE", key, "-", "+").([]any) {
		var fields []string
		for _, f := range e.([]any)[1].([]any) {
			fields = append(fields, f.(string))
		}
		all = append(all, fields)
	}
	return all
}

// out are the publications of a channel.
func (b *bed) out(channel string) (all []stream.Publication) {
	b.t.Helper()
	for _, fields := range b.entries(b.keys.Out(b.partition(channel))) {
		p, err := stream.DecodePublication(fields)
		if err != nil {
			b.t.Fatal(err)
		}
		if p.Channel == channel {
			all = append(all, p)
		}
	}
	return all
}

// openNode makes the stream of a node, as a gateway does at its start.
func (b *bed) openNode(node string) {
	b.t.Helper()
	b.do("XADD", b.keys.Node(node), "*", "kind", "wake")
}

func (b *bed) answers(node string) (all []stream.Answer) {
	b.t.Helper()
	for _, fields := range b.entries(b.keys.Node(node))[1:] {
		a, err := stream.DecodeAnswer(fields)
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, a)
	}
	return all
}

// backlog is the number of entries that are not acknowledged.
func (b *bed) backlog() (n int) {
	b.t.Helper()
	for p := range testPartitions {
		last := "-"
		groups, _ := b.try([]any{"XINFO", "GROUPS", b.keys.In(p)}) // an error when there is no stream
		if list, _ := groups.([]any); len(list) > 0 {
			g := list[0].([]any)
			last = "(" + g[slices.Index(g, "last-delivered-id")+1].(string)
			n += g[slices.Index(g, "pending")+1].(int)
		}
		n += len(b.do("XRANGE", b.keys.In(p), last, "+").([]any))
	}
	return n
}

// wantDone waits until everything is acknowledged.
func (b *bed) wantDone() {
	b.t.Helper()
	eventually(b.t, "nothing is pending", func() bool { return b.backlog() == 0 })
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); <-time.After(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// testWorker is a worker that runs.
type testWorker struct {
	*Worker
	t      *testing.T
	log    *logBuffer
	cancel context.CancelFunc
	done   chan struct{}
	err    error // of Run, after done
}

// start runs a worker until the test ends.
func (b *bed) start(handlers map[string]Handler, change ...func(*Config)) *testWorker {
	b.t.Helper()
	return b.startWith(func(w *Worker) {
		for namespace, h := range handlers {
			w.Handle(namespace, h)
		}
	}, change...)
}

func (b *bed) startWith(register func(*Worker), change ...func(*Config)) *testWorker {
	b.t.Helper()
	log := &logBuffer{}
	cfg := Config{
		Redis: cmp.Or(b.url, "redis://"+b.addr+"/0"), Prefix: b.keys.Prefix, Partitions: testPartitions, Concurrency: 2, ClaimAfter: testClaimAfter,
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	}
	for _, c := range change {
		if c != nil {
			c(&cfg)
		}
	}
	w, err := New(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	register(w)
	ctx, cancel := context.WithCancel(context.Background())
	r := &testWorker{Worker: w, t: b.t, log: log, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = w.Run(ctx)
	}()
	b.t.Cleanup(func() { cancel(); <-r.done })
	eventually(b.t, "the worker is ready", func() bool { return w.Ready() == nil })
	return r
}

// stop ends the worker and wants no error of it.
func (r *testWorker) stop() {
	r.t.Helper()
	r.cancel()
	select {
	case <-r.done:
	case <-time.After(patience):
		r.t.Fatal("Run does not return")
	}
	if r.err != nil {
		r.t.Fatalf("Run: %v", r.err)
	}
}

// logBuffer is what a worker has logged.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

func wantEqual[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}
