package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/redistest"
)

func TestBadCalls(t *testing.T) {
	for _, tc := range []struct {
		args []string
		exit int
		says string
	}{
		{[]string{"--fast"}, 2, "-fast"},
		{[]string{"now"}, 2, `"now" is not a flag`},
		{[]string{"--redis", "http://x"}, 1, "redis address"},
		{[]string{"--redis", "redis+cluster://127.0.0.1:1"}, 1, "not from a Cluster"},
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), tc.args, &stderr, &stderr); code != tc.exit || !strings.Contains(stderr.String(), tc.says) {
			t.Errorf("%v: exit %d, saying %q, want %d and %q", tc.args, code, &stderr, tc.exit, tc.says)
		}
	}
	var stdout bytes.Buffer
	if code := run(t.Context(), []string{"-h"}, &stdout, &stdout); code != 0 || !strings.Contains(stdout.String(), "--listen ADDR") {
		t.Errorf("-h: exit %d, saying %q", code, &stdout)
	}
}

func awhile() { <-time.After(10 * time.Millisecond) }

// TestAnswersFromTheStreams publishes into a real Redis and polls.
func TestAnswersFromTheStreams(t *testing.T) {
	server := redistest.Start(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	says, stderr := io.Pipe()
	var running sync.WaitGroup
	running.Go(func() {
		if code := run(ctx, []string{"--listen", "127.0.0.1:0", "--redis", server.URL()}, io.Discard, stderr); code != 0 {
			t.Errorf("exit %d", code)
		}
		stderr.Close()
	})
	line, err := bufio.NewReader(says).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, says) }()
	url := strings.TrimSpace(strings.TrimPrefix(line, "pollserver: "))
	want := func(url, body string) {
		t.Helper()
		got := ""
		for ; got != body; awhile() {
			if t.Context().Err() != nil {
				t.Fatalf("%s says %q, want %q", url, got, body)
			}
			resp, err := http.Get(url) //nolint:gosec,noctx // our own
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			got = string(b)
		}
	}
	want(strings.Replace(url, "/poll", "/readyz", 1), "ok\n")
	want(url+"?channel=echo:hall", "0\n")
	key := stream.Keys{}.Out(stream.Partition("echo:hall", stream.DefaultPartitions))
	for i := range 3 {
		server.CLI("XADD", key, "*", "ch", "echo:hall", "data", fmt.Sprint("n", i))
	}
	want(url+"?channel=echo:hall&after=1", "3\n2\nn12\nn2")
	want(strings.Replace(url, "/poll", "/debug/gc", 1), "ok\n")
	stop()
	running.Wait()
}
