package main

import (
	"bytes"
	"encoding/json"
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

// TestAPI is the API in the program: sign-in, a board, and a role that is taken, of which the gateways hear.
func TestAPI(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	listen := freeport.MustAddr(t)
	var log bytes.Buffer
	cmd := exec.Command(built, "--redis", s.URL(), "--listen", listen, "--database", "sqlite:"+filepath.Join(t.TempDir(), "b.db"), "--demo-sign-in")
	cmd.Env = append(os.Environ(), "MILLRACE_JWT_SECRET="+strings.Repeat("s", 32))
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	token := ""
	ask := func(method, path, body string, headers ...string) (int, string) {
		req, err := http.NewRequest(method, "http://"+listen+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(text)
	}
	eventually(t, "/readyz answers 200", func() bool { code, _ := ask("GET", "/readyz", ""); return code == http.StatusOK })
	var signedIn struct {
		Token string `json:"access_token"`
	}
	if _, body := ask("POST", "/demo/token", `{"user":"ann"}`); json.Unmarshal([]byte(body), &signedIn) != nil || signedIn.Token == "" {
		t.Fatal(body)
	}
	token = signedIn.Token
	for _, one := range [][]string{
		{"POST", "/v1/workspaces", `{"id":"w","name":"W"}`},
		{"POST", "/v1/workspaces/w/boards", `{"id":"b","title":"B"}`},
		{"PUT", "/v1/workspaces/w/members/bob", `{"role":"editor"}`, "If-None-Match", "*"},
		{"DELETE", "/v1/workspaces/w/members/bob", "", "If-Match", `"1"`},
		{"GET", "/v1/boards/b/snapshot", ""},
		{"GET", "/openapi.json", ""},
	} {
		if code, body := ask(one[0], one[1], one[2], one[3:]...); code/100 != 2 {
			t.Errorf("%v: %d %s", one, code, body)
		}
	}
	if out := s.CLI("XRANGE", stream.Keys{}.Out(stream.Partition("board:b", stream.DefaultPartitions)), "-", "+"); !strings.Contains(out, "revoke\nch\nboard:b\nuser\nbob") {
		t.Errorf("gateways are told %q", out)
	}
	if _, body := ask("GET", "/metrics", ""); !strings.Contains(body, `millrace_api_requests_total{route="GET /openapi.json",code="200"} 1`) {
		t.Error("no metrics of the API")
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, log.String())
	}
	if !strings.Contains(log.String(), "sign in as anybody") || strings.Contains(log.String(), strings.Repeat("s", 32)) {
		t.Errorf("log: %s", log.String())
	}
}
