package conn

import (
	"testing"
	"unsafe"

	"github.com/millracehq/millrace/internal/loop"
)

func TestStateIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(state{}); n != 12 {
		t.Fatalf("a connection costs %d bytes; the docs say 12", n)
	}
}

func TestEveryReasonHasAName(t *testing.T) {
	seen := map[string]bool{}
	for r := range Reasons {
		name := ReasonName(loop.Reason(r))
		if name == "" || seen[name] {
			t.Errorf("reason %d is called %q", r, name)
		}
		seen[name] = true
	}
}
