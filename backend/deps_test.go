// Package backend_test keeps the architecture of the backend side: docs/ARCHITECTURE.md.
package backend_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestImports: a backend knows the streams and nothing of the gateway behind them; and the tokens of both are verified by the same code, and files read by it.
func TestImports(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for dep := range strings.Lines(string(out)) {
		dep = strings.TrimSpace(dep)
		for _, forbidden := range []string{
			"github.com/millracehq/millrace/gateway/internal", "github.com/millracehq/millrace/internal",
			"github.com/gobwas", "github.com/cloudwego/netpoll",
		} {
			if strings.HasPrefix(dep, forbidden) && !strings.HasSuffix(dep, "millrace/internal/auth") && !strings.HasSuffix(dep, "millrace/internal/strict") { // tokens and files are for both
				t.Errorf("backend depends on %s", dep)
			}
		}
	}
}
