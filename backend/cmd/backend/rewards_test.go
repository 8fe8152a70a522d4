package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/freeport"
	"github.com/millracehq/millrace/internal/redistest"
)

func TestRewardsCommandLine(t *testing.T) {
	t.Parallel()
	runProgram(t, nil, "--help").want(t, 0, "--rewards", "backend rewards --help")
	runProgram(t, nil, "rewards", "--help").want(t, 0, "--database", "--hands", "--consumer", "--alert-webhook", "--sentry-dsn", "--rewards-token", "dlq --help", "rescore --help")
	runProgram(t, nil, "rewards", "--version").want(t, 0, "backend v1.2.3")
	runProgram(t, nil, "rewards").want(t, 2, "--database: where")
	runProgram(t, nil, "rewards", "--database", "mysql://x", "--batch", "-1", "--alert-webhook", "ftp://x", "--log-format", "xml", "--reconcile-every", "1ms", "go").
		want(t, 2, `"go"`, `"mysql://x" is neither`, "batch: -1", `"ftp://x"`, `"xml"`, "--reconcile-every: 1ms", "backend rewards --help")
	runProgram(t, []string{"MILLRACE_HANDS=many"}, "rewards", "--database", "sqlite:x").want(t, 2, `MILLRACE_HANDS="many"`)
	runProgram(t, nil, "rewards", "--handz", "1").want(t, 2, "-handz")
	runProgram(t, nil, "rewards", "dlq", "--help").want(t, 0, "list", "show", "replay", "drop", "PARTITION/MS-SEQ")
	runProgram(t, nil, "rewards", "dlq").want(t, 2, "list, show, replay or drop", "backend rewards dlq --help")
	runProgram(t, nil, "rewards", "dlq", "drop").want(t, 2, "IDs or --all")
	runProgram(t, nil, "rewards", "rescore", "--help").want(t, 0, "--rules", "--dry-run")
	runProgram(t, nil, "rewards", "rescore").want(t, 2, "--database ADDRESS")
	bad := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(bad, []byte("version: v9\nnonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	runProgram(t, nil, "rewards", "rescore", "--database", "sqlite:x", "--rules", bad).want(t, 2, bad)
}

// TestRewards is the whole life of a process that counts: an event of another application, an account, dead letters, other rules.
func TestRewards(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	database := "sqlite:" + filepath.Join(t.TempDir(), "boards.db")
	listen := freeport.MustAddr(t)
	var log strings.Builder
	cmd := exec.Command(built, "rewards", "--redis", s.URL(), "--database", database, "--listen", listen, "--rewards-token", "secret", "--consumer", "w")
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	ask := func(method, path, body string) (int, string) {
		req, err := http.NewRequest(method, "http://"+listen+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer secret")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text)
	}
	eventually(t, "/readyz answers 200", func() bool { code, _ := ask("GET", "/readyz", ""); return code == http.StatusOK })
	for range 2 { // it was not sure whether it had arrived
		if code, text := ask("POST", "/rewards/events", `{"id":"1","kind":"reviewed","user":"ann","subject":"x"}`); code != http.StatusAccepted {
			t.Fatalf("%d %s", code, text)
		}
	}
	eventually(t, "the points", func() bool {
		_, text := ask("GET", "/rewards/account?user=ann", "")
		return strings.Contains(text, `"counters"`)
	})
	eventually(t, "the second one is known", func() bool {
		_, text := ask("GET", "/metrics", "")
		return strings.Contains(text, "millrace_rewards_events_total 1\n") && strings.Contains(text, "millrace_rewards_duplicates_total 1\n")
	})

	p := stream.Partition("ann", stream.DefaultPartitions)
	s.CLI("XADD", stream.Keys{}.Queue(p, "rw"), "*", "what", "is this")
	dlq := func(args ...string) outcome {
		return runProgram(t, []string{"MILLRACE_REDIS=" + s.URL()}, append([]string{"rewards", "dlq"}, args...)...)
	}
	var id string
	eventually(t, "the dead letter", func() bool {
		lines := strings.Split(dlq("list").stdout, "\n")
		if len(lines) > 2 {
			id, _, _ = strings.Cut(lines[1], " ")
		}
		return id != ""
	})
	dlq("list").want(t, 0, id, fmt.Sprint(p, "/"), "id is missing")
	dlq("list", "--json").want(t, 0, `"reason":"no event: id is missing"`, `["what","is this"]`)
	dlq("show", id).want(t, 0, "what", "is this", "w-0")
	dlq("drop", id).want(t, 0, "dropped 1")
	dlq("replay", id).want(t, 1, "no such dead letter")
	dlq("replay", "--all").want(t, 0, "replayed 0")

	rules := filepath.Join(t.TempDir(), "rules.yaml")
	text, err := os.ReadFile("../../reward/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(rules, []byte(strings.Replace(string(text), "reviewed: {xp: 8", "reviewed: {xp: 9", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	runProgram(t, nil, "rewards", "rescore", "--database", database, "--rules", rules, "--dry-run").want(t, 0, "ann", "1 of 1 users differ", "dry run")
	runProgram(t, nil, "rewards", "rescore", "--database", database).want(t, 0, "0 of 1 users differ")

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, log.String())
	}
}
