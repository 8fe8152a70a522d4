package main

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/millracehq/millrace/internal/freeport"
)

func TestRestarts(t *testing.T) {
	r := restarts{timing: timing{firstWait: 100 * time.Millisecond, lastWait: 300 * time.Millisecond, young: 10 * time.Second, deaths: 5}}
	young, old := time.Second, 10*time.Second
	for i, step := range []struct {
		age  time.Duration
		wait time.Duration // 0: gives up
	}{
		{young, 100 * time.Millisecond},
		{young, 200 * time.Millisecond},
		{young, 300 * time.Millisecond},
		{old, 100 * time.Millisecond}, // a long life is forgiven everything before it
		{young, 200 * time.Millisecond},
		{young, 300 * time.Millisecond},
		{young, 300 * time.Millisecond},
		{young, 300 * time.Millisecond},
		{young, 0},
	} {
		wait, ok := r.died(step.age)
		if wait != step.wait || ok != (step.wait > 0) {
			t.Errorf("step %d: waits %v, %v; want %v", i, wait, ok, step.wait)
		}
	}
}

func TestChildLog(t *testing.T) {
	var out strings.Builder
	l := childLog{console: &console{w: &out, width: 9}, name: "backend-1"}
	for _, s := range []string{"one\ntw", "o\r\n", "\nthree"} {
		l.Write([]byte(s))
	}
	l.flush()
	if want := "backend-1 | one\nbackend-1 | two\nbackend-1 | \nbackend-1 | three\n"; out.String() != want {
		t.Errorf("console got %q, want %q", out.String(), want)
	}

	l.console = &console{w: io.Discard}
	for range tailLines {
		io.WriteString(&l, "more\n")
	}
	l.Write(make([]byte, maxLogLine))
	l.Write([]byte("last\n"))
	if tail := l.last(); !strings.HasSuffix(tail, "\n    last") || strings.Count(tail, "\n") != tailLines-1 {
		t.Errorf("tail is %d lines, ending in %q", strings.Count(tail, "\n")+1, tail[len(tail)-10:])
	}
}

func TestParseFlags(t *testing.T) {
	cfg, err := parseFlags([]string{"--gateways", "3", "--backends", "0", "--redis", "redis://db:6379/2"}, io.Discard)
	if err != nil || cfg.gateways != 3 || cfg.backends != 0 || cfg.redis != "redis://db:6379/2" {
		t.Errorf("got %+v, %v", cfg, err)
	}
	_, err = parseFlags([]string{"--gateways", "0", "--redis", "db:6379", "--admin-port", "70000"}, io.Discard)
	wantError(t, err, "--gateways 0: at least 1", "--redis db:6379: want redis://", "--admin-port 70000")
	_, err = parseFlags([]string{"--gateways=2", "up"}, io.Discard)
	wantError(t, err, `unexpected argument "up"`)
}

func TestGatewayParts(t *testing.T) {
	cfg := config{bin: "bin", host: "0.0.0.0", gateways: 2, gatewayPort: 8080, adminPort: 9090, gatewayConfig: "g.yaml"}
	p := cfg.gatewayParts("redis://r:1/0")[1]
	want := "--listen 0.0.0.0:8081 --admin 127.0.0.1:9091 --redis redis://r:1/0 --node gateway-2 --config g.yaml --insecure"
	if got := strings.Join(p.args, " "); got != want || p.path != "bin/gateway" || p.ready != "http://127.0.0.1:9091/readyz" {
		t.Errorf("%s %s, ready at %s", p.path, got, p.ready)
	}
}

func TestRewardsParts(t *testing.T) {
	cfg := config{bin: "bin", backends: 1, rewards: 2, backendPort: 8000, rewardsPort: 8050}
	if got := cfg.rewardsParts("redis://r:1/0"); got != nil {
		t.Errorf("without boards: %+v", got)
	}
	cfg.database = "sqlite:b.db"
	p := cfg.rewardsParts("redis://r:1/0")[1]
	want := "rewards --redis redis://r:1/0 --listen 127.0.0.1:8051 --database sqlite:b.db --consumer rewards-2"
	if got := strings.Join(p.args, " "); got != want || p.path != "bin/backend" || p.ready != "http://127.0.0.1:8051/readyz" {
		t.Errorf("%s %s, ready at %s", p.path, got, p.ready)
	}
	if got := strings.Join(cfg.backendParts("redis://r:1/0")[0].args, " "); !strings.HasSuffix(got, "--database sqlite:b.db --rewards") {
		t.Errorf("backend %s", got)
	}
}

// TestSecret: it is in no argument, which other users of the machine could see.
func TestSecret(t *testing.T) {
	cfg := config{bin: "bin", host: loopback, gateways: 1, backends: 1, secret: "s3cret", database: "sqlite:x", signIn: true}
	for _, p := range []part{cfg.gatewayParts("redis://r:1/0")[0], cfg.backendParts("redis://r:1/0")[0]} {
		if strings.Contains(strings.Join(p.args, " "), "s3cret") || strings.Join(p.env, " ") != "MILLRACE_JWT_SECRET=s3cret" {
			t.Errorf("%s %v %v", p.name, p.args, p.env)
		}
	}
	text := banner(&cfg, "redis", "", cfg.backendParts("r"), cfg.gatewayParts("r"))
	if strings.Contains(text, "s3cret") || !strings.Contains(text, "/demo/token") || !strings.Contains(text, `wscat -H "Authorization`) {
		t.Error(text)
	}
}

func TestRedisTakesTheNextFreePort(t *testing.T) {
	port := freeport.Must(t, 2)[0]
	taken, err := net.Listen("tcp", hostPort(loopback, port))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r, err := startRedis(t.Context(), port)
	if err != nil {
		t.Fatal(err)
	}
	defer r.stop()
	if want := "redis://" + hostPort(loopback, port+1) + "/0"; r.url() != want {
		t.Errorf("redis is at %s, want %s", r.url(), want)
	}
}

func TestRedisKeysExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := embeddedRedis{server: miniredis.NewMiniRedis()}
		db := r.server.DB(0)
		db.Set("short", "x")
		db.SetTTL("short", 2500*time.Millisecond)
		go r.expire(t.Context())
		wait := func(d time.Duration) { <-time.After(d); synctest.Wait() }
		if wait(2 * time.Second); !db.Exists("short") {
			t.Error("expired too early")
		}
		if wait(time.Second); db.Exists("short") {
			t.Error("did not expire")
		}
	})
}
