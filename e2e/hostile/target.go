package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/millracehq/millrace/internal/freeport"
)

// target is one gateway, in a process of its own.
type target struct {
	name   string
	addr   string
	admin  string
	exe    string      // this program, for what runs in a process of its own
	root   string      // file that a client trusts; empty: plain
	client *tls.Config // nil: plain
	cmd    *exec.Cmd
	log    *os.File
}

// startTarget runs bin/gateway and waits until it is ready.
func startTarget(ctx context.Context, name, exe, bin, dir, redis string, pair *issued, args ...string) (*target, error) {
	t := &target{name: name, exe: exe}
	var err error
	if t.addr, err = freeport.Addr(); err != nil {
		return nil, err
	}
	if t.admin, err = freeport.Addr(); err != nil {
		return nil, err
	}
	args = append([]string{"--listen", t.addr, "--admin", t.admin, "--redis", redis, "--node", name}, args...)
	if pair != nil {
		args = append(args, "--tls-cert", pair.certFile, "--tls-key", pair.keyFile)
		t.root = pair.rootFile
		t.client = &tls.Config{RootCAs: pair.pool, ServerName: "127.0.0.1"}
	}
	if t.log, err = os.Create(filepath.Join(dir, name+".log")); err != nil {
		return nil, err
	}
	t.cmd = exec.CommandContext(ctx, filepath.Join(bin, "gateway"), args...)
	t.cmd.Stdout, t.cmd.Stderr = t.log, t.log
	t.cmd.Cancel = func() error { return t.cmd.Process.Signal(syscall.SIGTERM) }
	t.cmd.WaitDelay = 30 * time.Second
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing is left behind when this program is killed
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	if !eventually(ctx, 20*time.Second, func() bool { _, err := t.get("/readyz"); return err == nil }) {
		return nil, errors.Join(fmt.Errorf("%s is not ready; its log is %s", name, t.log.Name()), t.stop())
	}
	return t, nil
}

// stop ends the process as an operator would. A crash is an error.
func (t *target) stop() error {
	defer t.log.Close()
	_ = t.cmd.Process.Signal(syscall.SIGTERM)
	stuck := time.AfterFunc(30*time.Second, func() { _ = t.cmd.Process.Kill() })
	defer stuck.Stop()
	if err := t.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w; its log is %s", t.name, err, t.log.Name())
	}
	return nil
}

func (t *target) scheme() string {
	if t.client != nil {
		return "wss"
	}
	return "ws"
}

var admin = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func (t *target) get(path string) (string, error) {
	res, err := admin.Get("http://" + t.admin + path)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, res.Status)
	}
	return string(body), err
}

// metric is the value of one line of /metrics; 0 when there is none.
func (t *target) metric(name string) float64 {
	text, err := t.get("/metrics")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			f, _ := strconv.ParseFloat(v, 64)
			return f
		}
	}
	return 0
}

// usage is what a process holds.
type usage struct {
	Descriptors, Goroutines int
	Heap, RSS               int64 // bytes, after a garbage collection
}

var inUse, total = regexp.MustCompile(`heap in use: (\d+)`), regexp.MustCompile(`profile: total (\d+)`)

func (t *target) usage() (u usage, err error) {
	text, err := t.get("/debug/gc")
	if err != nil {
		return u, err
	}
	if m := inUse.FindStringSubmatch(text); m != nil {
		u.Heap, _ = strconv.ParseInt(m[1], 10, 64)
	}
	if text, err = t.get("/debug/pprof/goroutine?debug=1"); err != nil {
		return u, err
	}
	if m := total.FindStringSubmatch(text); m != nil {
		u.Goroutines, _ = strconv.Atoi(m[1])
	}
	proc := fmt.Sprintf("/proc/%d/", t.cmd.Process.Pid)
	fds, err := os.ReadDir(proc + "fd")
	if err != nil {
		return u, err
	}
	u.Descriptors = len(fds)
	status, err := os.ReadFile(proc + "status")
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			u.RSS, _ = strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			u.RSS <<= 10
		}
	}
	return u, err
}

// dial opens a connection, encrypted where the target is.
func (t *target) dial() (net.Conn, error) {
	raw, err := net.DialTimeout("tcp", t.addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	_ = raw.SetDeadline(time.Now().Add(time.Minute))
	if t.client == nil {
		return raw, nil
	}
	c := tls.Client(raw, t.client)
	if err := c.Handshake(); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
}

const upgrade = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n\r\n"

// socket is a WebSocket whose frames an attack writes itself.
type socket struct {
	net.Conn
	in      *bufio.Reader
	deflate bool
}

func (t *target) open() (*socket, error) {
	c, err := t.dial()
	if err != nil {
		return nil, err
	}
	s := &socket{Conn: c, in: bufio.NewReaderSize(c, 512)}
	_, err = io.WriteString(c, upgrade)
	var res *http.Response
	if err == nil {
		res, err = http.ReadResponse(s.in, nil) //nolint:bodyclose // an upgrade has none, and a refusal ends the connection
	}
	if err == nil && res.StatusCode != http.StatusSwitchingProtocols {
		err = errors.New(res.Status)
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	s.deflate = strings.Contains(res.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate")
	return s, nil
}

// closeCode reads up to the Close frame and returns its code; 0 when the connection ends without one.
func (s *socket) closeCode() int {
	for {
		op, payload, err := s.frame()
		if err != nil {
			return 0
		}
		if op == 8 && len(payload) >= 2 {
			return int(payload[0])<<8 | int(payload[1])
		}
	}
}

// frame reads one frame of the gateway.
func (s *socket) frame() (op byte, payload []byte, err error) {
	var h [10]byte
	if _, err := io.ReadFull(s.in, h[:2]); err != nil {
		return 0, nil, err
	}
	n := int(h[1] & 127)
	switch n {
	case 126:
		_, err = io.ReadFull(s.in, h[2:4])
		n = int(h[2])<<8 | int(h[3])
	case 127:
		_, err = io.ReadFull(s.in, h[2:10])
		n = int(h[6])<<24 | int(h[7])<<16 | int(h[8])<<8 | int(h[9])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(s.in, payload)
	return h[0] & 15, payload, err
}

// masked is a client's frame with the mask 0; first is FIN, RSVs and opcode.
func masked(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = append(b, 0x80|126, byte(n>>8), byte(n))
	default:
		b = append(b, 0x80|127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// eventually asks every 50 ms until it is so, and reports whether it was within the limit.
func eventually(ctx context.Context, limit time.Duration, so func() bool) bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !so(); {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// wait reports false when ctx ended before d was over.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
