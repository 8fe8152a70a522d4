package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway"
)

func writeTest(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "millrace.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagWinsOverVariableWinsOverFile(t *testing.T) {
	file := writeTest(t, "listen: 127.0.0.1:1\nadmin: 127.0.0.1:1\nredis: redis://file:1\nheartbeat: 7s\nnamespaces:\n  chat: {publish: direct, authorize: anyone, max_body: 9}\n")
	s, err := parse([]string{"--config", file, "--listen", "127.0.0.1:3"}, []string{"MILLRACE_LISTEN=127.0.0.1:2", "MILLRACE_ADMIN=127.0.0.1:2", "MILLRACE_MAX_FRAME=5000"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := s.cfg
	if c.Listen != "127.0.0.1:3" || c.Admin != "127.0.0.1:2" || c.Redis != "redis://file:1" || c.Heartbeat != 7*time.Second || c.MaxFrame != 5000 || c.Namespaces["chat"].MaxBody != 9 {
		t.Fatalf("%+v", c)
	}
	if s, err := parse(nil, []string{"MILLRACE_CONFIG=" + file}, nil, nil); err != nil || s.cfg.Heartbeat != 7*time.Second {
		t.Fatalf("the file from the environment: %+v, %v", s.cfg, err)
	}
}

func TestBadSettings(t *testing.T) {
	f := func(args, env []string, want ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(args, env, &out, &errs); code != 2 {
			t.Fatalf("%v %v: exit %d, want 2\n%s", args, env, code, errs.String())
		}
		for _, w := range append(want, "--help") {
			if !strings.Contains(errs.String(), w) {
				t.Errorf("%v %v: %q is not in\n%s", args, env, w, errs.String())
			}
		}
	}
	file := func(text string) []string { return []string{"--config", writeTest(t, text)} }
	f(file("listen: 127.0.0.1:0\nlissten: x\n"), nil, "lissten", "2")
	f(file("namespaces:\n  chat:\n    publish: direct\n    colour: red\n"), nil, "colour", "4")
	f(file("namespaces:\n  chat: {publish: sideways}\n"), nil, "chat", "sideways")
	f(file("heartbeat: soon\n"), nil, "soon")
	f([]string{"--config", "/nowhere/at/all.yaml"}, nil, "/nowhere/at/all.yaml")
	f([]string{"--bogus"}, nil, "bogus")
	f([]string{"surplus"}, nil, "surplus")
	f([]string{"--loops", "many"}, nil, "loops")
	f(nil, []string{"MILLRACE_LOOPS=many"}, "MILLRACE_LOOPS")
	f([]string{"--auth", "jwt"}, nil, "JWT secret", "MILLRACE_JWT_SECRET")
	f([]string{"--listen", "0.0.0.0:8080"}, nil, "auth none", "--insecure")
	f([]string{"--listen", "nonsense", "--auth", "maybe", "--heartbeat", "1ms"}, nil, "nonsense", "maybe", "heartbeat")
	f([]string{"--log-format", "xml"}, nil, "xml")
}

func TestInsecureMustBeSaid(t *testing.T) {
	if _, err := parse([]string{"--listen", "0.0.0.0:8080", "--insecure"}, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
}

func TestHelpAndVersion(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"--help"}, nil, &out, &errs); code != 0 || !strings.Contains(out.String(), "-redis") || !strings.Contains(out.String(), "MILLRACE_") {
		t.Fatalf("exit %d\n%s%s", code, out.String(), errs.String())
	}
	out.Reset()
	secret := writeTest(t, "jwt_secret: do-not-show-this-to-anybody-please\n")
	if run([]string{"--config", secret, "--help"}, nil, &out, &errs); strings.Contains(out.String(), "do-not-show") {
		t.Fatal("--help shows the secret of the file")
	}
	out.Reset()
	if code := run([]string{"--version"}, nil, &out, &errs); code != 0 || !strings.Contains(out.String(), version) {
		t.Fatalf("exit %d, %s", code, out.String())
	}
}

// FuzzConfig: no file makes the parser panic.
func FuzzConfig(f *testing.F) {
	f.Add("listen: 127.0.0.1:0\nnamespaces:\n  a: {publish: deny}\n")
	f.Fuzz(func(t *testing.T, text string) {
		var cfg gateway.Config
		if gateway.ParseConfig([]byte(text), &cfg) == nil {
			_ = cfg.Validate()
		}
	})
}
