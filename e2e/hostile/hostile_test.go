package main

import (
	"bytes"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// The whole at a small size: the attacks that take no waiting, and a crowd of some connections. The limit is wide, since other tests run
// beside.
func TestSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin+"/", "../../gateway/cmd/gateway", ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	o := options{bin: bin, exe: bin + "/hostile", limit: 2 * time.Second, size: size{half: 40, some: 12, time: time.Second, crowd: 60}}
	dir := t.TempDir()
	a, end, err := newArena(t.Context(), o, dir)
	defer func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	}()
	if err != nil {
		t.Fatal(err)
	}
	quick := []string{"half-open TLS: no second flight", "length of 2^62 over TLS", "no TLS, and broken TLS", "unmasked frames", "RST and half-close over TLS"}
	var out output
	for _, name := range quick {
		o.only = name
		o.size.crowd = 0
		if !a.run(t.Context(), o, &out) {
			t.Errorf("did not hold:\n%s", &out)
		}
		out.Reset()
	}
	o.only, o.size.crowd = "crowd", 60
	// So few share what the process has once, so their price says nothing.
	if err := a.crowd(t.Context(), o, &out); err != nil && !bytes.Contains([]byte(err.Error()), []byte("costs")) {
		t.Errorf("%v\n%s", err, &out)
	}
	if t.Failed() {
		log, _ := os.ReadFile(a.tls.log.Name())
		t.Logf("%s", log)
	}
}

// output is written by the test and by what copies the output of a process.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer // Guarded by mu.
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) Reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Reset()
}
