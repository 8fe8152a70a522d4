package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/backend/store/memory"
	"github.com/millracehq/millrace/backend/store/sqlite"
	"github.com/millracehq/millrace/internal/auth"
)

const secret = "a secret of at least thirty-two bytes"

// bed is an API behind HTTP, of which each answer is compared with the document.
type bed struct {
	t       *testing.T
	store   store.Store
	api     *API
	url     string
	demo    *Demo
	set     *metrics.Set
	mu      sync.Mutex
	revoked []string // Guarded by mu. CHANNEL USER
	fail    error    // of Revoke
}

func newBed(t *testing.T, s store.Store) *bed {
	t.Helper()
	key, err := auth.Secret([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, store: s, demo: &Demo{Secret: []byte(secret)}, set: metrics.NewSet()}
	b.api = New(Config{Store: s, Verifier: auth.NewVerifier(auth.Config{Keys: []*auth.Key{key}}), Revoke: b.revoke, Demo: b.demo, Metrics: b.set})
	server := httptest.NewServer(b.api)
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

func (b *bed) revoke(_ context.Context, channel, user string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.revoked = append(b.revoked, channel+" "+user)
	return b.fail
}

// stores are those that need no server.
func stores(t *testing.T, f func(*testing.T, store.Store)) {
	t.Run("memory", func(t *testing.T) { f(t, memory.New(board.Rules{}, nil)) })
	t.Run("sqlite", func(t *testing.T) {
		s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "boards.db"), board.Rules{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		f(t, s)
	})
}

// answer is what came back.
type answer struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   string
}

// ask makes a request as a user ("": nobody), with headers NAME: VALUE.
func (b *bed) ask(user, method, path, body string, headers ...string) answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if user != "" {
		token, err := b.demo.Token(user, time.Now().Add(time.Minute))
		if err != nil {
			b.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	a := answer{b.t, fmt.Sprintf("%s %s by %q", method, path, user), res.StatusCode, res.Header, string(text)}
	compare(b.t, method, req.URL.Path, a)
	return a
}

// want wants a status and texts in the answer.
func (a answer) want(status int, texts ...string) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Errorf("%s: %d, want %d: %.500s", a.what, a.status, status, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			a.t.Errorf("%s: no %q in %.1000s", a.what, text, a.body)
		}
	}
	return a
}

func (a answer) next() string {
	a.t.Helper()
	var p struct{ Next string }
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		a.t.Fatal(err)
	}
	return p.Next
}

// parsed is the document, as far as tests need to know it.
type parsed struct {
	Paths      map[string]map[string]operation
	Components struct {
		Schemas   map[string]schema
		Responses map[string]response
	}
}

type operation struct {
	OperationID string
	Security    []any
	Parameters  []struct{ Name, In string }
	Responses   map[string]response
}

type response struct {
	Ref     string `json:"$ref"`
	Content map[string]struct{ Schema schema }
}

var readDocument = sync.OnceValue(func() *parsed {
	d := new(parsed)
	if err := json.Unmarshal(document, d); err != nil {
		panic(err)
	}
	return d
})

// compare wants an answer to be as the document says.
func compare(t *testing.T, method, path string, a answer) {
	t.Helper()
	d := readDocument()
	template := d.templateOf(path)
	if template == "" {
		return // not in the document, nor is there such a path
	}
	op, ok := d.Paths[template][strings.ToLower(method)]
	if !ok {
		return
	}
	r, ok := op.Responses[fmt.Sprint(a.status)]
	if !ok {
		t.Errorf("%s: %d is not in the document: %s", a.what, a.status, a.body)
		return
	}
	if name := strings.TrimPrefix(r.Ref, "#/components/responses/"); r.Ref != "" {
		r = d.Components.Responses[name]
	}
	typ := a.header.Get("Content-Type")
	c, ok := r.Content[typ]
	if !ok {
		if a.body != "" || len(r.Content) > 0 {
			t.Errorf("%s: %d has the type %q, which is not in the document", a.what, a.status, typ)
		}
		return
	}
	if strings.HasSuffix(typ, "json") && typ != "application/x-ndjson" {
		var v any
		dec := json.NewDecoder(bytes.NewReader([]byte(a.body)))
		dec.UseNumber()
		if err := dec.Decode(&v); err != nil {
			t.Errorf("%s: %v", a.what, err)
			return
		}
		if fault := c.Schema.check(d, v); fault != "" {
			t.Errorf("%s: not as the document says: %s in %.1000s", a.what, fault, a.body)
		}
	}
}

func (d *parsed) templateOf(path string) string {
	var best string
	for template := range d.Paths {
		a, b := strings.Split(template, "/"), strings.Split(path, "/")
		if len(a) == len(b) && !slices.ContainsFunc(a, func(s string) bool {
			i := slices.Index(a, s)
			return !strings.HasPrefix(s, "{") && s != b[i]
		}) && (best == "" || strings.Count(template, "{") < strings.Count(best, "{")) {
			best = template
		}
	}
	return best
}
