package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/client"
	"github.com/millracehq/millrace/internal/freeport"
	"github.com/millracehq/millrace/internal/redistest"
)

// Two gateways that ask the backend who may come and what they may hear; both kick, and both take up what SIGHUP brings.
func TestPermissionsOnTwoGateways(t *testing.T) {
	redis := redistest.Start(t)
	health := freeport.MustAddr(t)
	start(t, "http://"+health+"/readyz", "backend", "--redis", redis.URL(), "--listen", health)
	file := filepath.Join(t.TempDir(), "millrace.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const config = "authorize: backend\nnamespaces:\n  echo: {authorize: backend}\n  closed: {authorize: backend}\n"
	write(config)
	var urls, admins [2]string
	var gateways [2]*process
	for i := range gateways {
		listen, admin := freeport.MustAddr(t), freeport.MustAddr(t)
		urls[i], admins[i] = "ws://"+listen+"/ws", "http://"+admin
		gateways[i] = start(t, admins[i]+"/readyz", "gateway", "--redis", redis.URL(), "--listen", listen, "--admin", admin, "--config", file)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dial := func(i int) *client.Raw {
		t.Helper()
		c, err := client.DialRaw(ctx, urls[i], client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Abort)
		return c
	}
	want := func(c *client.Raw, command, head string) {
		t.Helper()
		if command != "" {
			if err := c.Write(ctx, false, []byte(command)); err != nil {
				t.Fatal(err)
			}
		}
		f, err := c.Read(ctx)
		if err != nil || !strings.HasPrefix(f.Head, head) {
			t.Fatalf("%q %v, want %q", f.Head, err, head)
		}
	}
	a, b := dial(0), dial(1)
	for _, c := range []*client.Raw{a, b} {
		want(c, "", "hello ")
		want(c, "sub 1 echo:x", "ok 1 ")
		want(c, "sub 2 closed:x", "err 2 404 no backend for this namespace")
	}
	var took []time.Duration
	for range 20 {
		start := time.Now()
		res, err := http.Post(admins[0]+"/api/kick", "application/json", strings.NewReader(`{"user":"anonymous"}`))
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatal(res, err)
		}
		res.Body.Close()
		for _, c := range []*client.Raw{a, b} {
			want(c, "", "bye 4102 0")
		}
		took = append(took, time.Since(start))
		a, b = dial(0), dial(1) // now without a subscription
		want(a, "", "hello ")
		want(b, "", "hello ")
	}
	slices.Sort(took)
	t.Logf("both gateways have kicked after %v (median of %d, at most %v)", took[len(took)/2], len(took), took[len(took)-1])
	write(config + "max_subscriptions: 1\n")
	for i, g := range gateways {
		if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, fmt.Sprintf("gateway %d has taken it up", i), func() bool {
			c := dial(i)
			defer c.Abort()
			f, err := c.Read(ctx)
			return err == nil && strings.Contains(string(f.Body), `"max_subscriptions":1,`)
		})
	}
}
