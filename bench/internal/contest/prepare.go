package contest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Paths are where things are. All are directories.
type Paths struct {
	Root string // of the repository
	Bin  string // where programs are built
}

func (p Paths) rivals() string   { return filepath.Join(p.Root, "bench", "rivals") }
func (p Paths) socketio() string { return filepath.Join(p.rivals(), "socketio") }

// Prepare builds the programs of c and fetches what they need. Its errors say what to do.
func (c Contestant) Prepare(ctx context.Context, p Paths) error {
	err := c.prepare(ctx, p)
	if err != nil {
		return fmt.Errorf("%s cannot be measured: %w\nIt is part of the comparison. Mend that, or leave it out with --skip %s, which the table will say", c.Name, err, c.Name)
	}
	return nil
}

func (c Contestant) prepare(ctx context.Context, p Paths) error {
	if c.redis {
		if _, err := exec.LookPath("redis-server"); err != nil {
			return errors.New("redis-server is not installed: apt-get install redis-server (Debian, Ubuntu), dnf install redis (Fedora)")
		}
	}
	build := func(dir string, packages ...string) error {
		args := append([]string{"build", "-buildvcs=false", "-trimpath", "-o", p.Bin + string(filepath.Separator)}, packages...)
		return run(ctx, dir, "Go modules are fetched through GOPROXY: is it set, and can it be reached?", "go", args...)
	}
	switch c.program {
	case limitProgram:
		return build(p.Root, "./bench/cmd/limit")
	case gatewayProgram:
		return build(p.Root, "./gateway/cmd/gateway", "./backend/cmd/backend")
	case nodeProgram:
		if _, err := exec.LookPath("node"); err != nil {
			return errors.New("there is no node: install Node 20 or newer")
		}
		if upToDate(p.socketio()) {
			return nil
		}
		return run(ctx, p.socketio(), "npm packages are fetched from npm's registry: is it set, and can it be reached?", "npm", "ci", "--no-audit", "--no-fund")
	}
	return build(p.rivals(), "./"+c.program)
}

// upToDate says whether npm ci has been run since the lock file changed.
func upToDate(dir string) bool {
	lock, err := os.Stat(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return false
	}
	installed, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json"))
	return err == nil && !installed.ModTime().Before(lock.ModTime())
}

func run(ctx context.Context, dir, advice, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s\n%s", name, strings.Join(args[:min(len(args), 2)], " "), err, strings.TrimSpace(string(out)), advice)
	}
	return nil
}
