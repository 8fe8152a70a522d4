package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestImportsPointOneWay holds the code map of docs/ARCHITECTURE.md.
func TestImportsPointOneWay(t *testing.T) {
	const module = "github.com/millracehq/millrace/"
	only := map[string][]string{ // a library: the packages that may import it directly
		"github.com/redis/go-redis/v9": {module + "gateway/stream/redis"},
		"github.com/cloudwego/netpoll": {module + "internal/loop"},
		"github.com/VictoriaMetrics/metrics": {
			module + "gateway", module + "gateway/internal/admin", module + "backend/worker", module + "backend/service", module + "backend/api",
			module + "backend/queue", module + "backend/store/postgres", module + "backend/reward/postgres", module + "backend/cmd/backend",
		},
		"github.com/jackc/pgx/v5": {module + "backend/store/postgres", module + "backend/reward/postgres"},
		"modernc.org/sqlite":      {module + "backend/store/sqlite", module + "backend/reward/sqlite", module + "backend/boardclient"},
	}
	never := map[string][]string{ // a package: what it must not import directly
		module + "gateway/protocol":       {module},
		module + "backend/board":          {module, "net", "os", "time"}, // pure
		module + "gateway/stream":         {module},
		module + "gateway/internal/conn":  {module + "gateway/internal/", module + "gateway/stream"},
		module + "gateway/internal/hub":   {module + "gateway/internal/", module + "internal/loop", module + "internal/wsio"},
		module + "gateway/internal/relay": {module + "gateway/stream/redis", module + "gateway/internal/conn", module + "gateway/internal/route"},
		module + "gateway/internal/route": {module + "gateway/stream/redis"},
		module + "internal/loop":          {module + "gateway", module + "internal/wsio"},
		module + "internal/proxy":         {module},
		module + "internal/wsio":          {module},
	}
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "../...").Output()
	if err != nil {
		t.Fatal(err)
	}
	type pkg struct {
		ImportPath string
		Imports    []string
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for _, imported := range p.Imports {
			if may, ok := only[imported]; ok && !slices.Contains(may, p.ImportPath) {
				t.Errorf("%s imports %s; only %v may", p.ImportPath, imported, may)
			}
			for _, prefix := range never[p.ImportPath] {
				if strings.HasPrefix(imported, prefix) {
					t.Errorf("%s imports %s", p.ImportPath, imported)
				}
			}
		}
	}
}
