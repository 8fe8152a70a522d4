package main

import (
	"bytes"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Every case, against the gateway of this tree.
func TestGatewayConforms(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "gateway")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "../../gateway/cmd/gateway").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	args := []string{"--gateway", binary}
	if testing.Short() {
		args = append(args, "--skip", "5 seconds")
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), args, &out, &errs); code != 0 {
		t.Fatalf("exit %d\n%s%s", code, out.String(), errs.String())
	}
	if n := len(newSuite().all); n < 1000 {
		t.Fatalf("%d cases", n)
	}
}

func TestNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range newSuite().all {
		name := c.group + ": " + c.name
		if seen[name] {
			t.Errorf("%s: twice", name)
		}
		seen[name] = true
	}
}

// Servers that are wrong in one way fail all of the cases: none passes without having looked.
func TestNoCasePassesByItself(t *testing.T) {
	for name, answer := range map[string]string{
		"silent":    "",
		"garbage":   "hello\r\n\r\n",
		"no hello":  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + exampleAccept + "\r\n\r\n",
		"then gone": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + exampleAccept + "\r\n\r\n\x81\x08hello s\n",
		"refuses":   "HTTP/1.1 418 Teapot\r\nConnection: close\r\nContent-Length: 17\r\n\r\na teapot, you see",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = c.Write([]byte(answer))
					_ = c.Close()
				}
			}()
			for _, r := range newSuite().run(gateways{l.Addr().String(), l.Addr().String()}) {
				if r.err == nil {
					t.Errorf("%s: %s has passed", r.group, r.name)
				}
			}
		})
	}
}

func TestReport(t *testing.T) {
	var out bytes.Buffer
	if n := report(&out, []result{{check: check{group: "a", name: "x"}}, {check: check{group: "b", name: "y"}, err: net.ErrClosed}, {check: check{group: "b", name: "z"}}}); n != 1 {
		t.Fatalf("%d failures", n)
	}
	for _, want := range []string{"FAIL  b: y\n", "a                      1       0\n", "b                      1       1\n", "all                    2       1\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if code := run(t.Context(), []string{"--gateway", "/nowhere"}, &out, &out); code != 2 {
		t.Errorf("exit %d without a gateway", code)
	}
}
