package service_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/service"
	"github.com/millracehq/millrace/backend/store/sqlite"
	"github.com/millracehq/millrace/backend/worker"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/redistest"
)

const partitions = 4

// bed is a service behind the streams. Each user has a gateway to itself, so that what it is answered can be told apart.
type bed struct {
	t     *testing.T
	redis *redistest.Server
	keys  stream.Keys
	set   *metrics.Set
	store *sqlite.Store
	file  string
	log   buffer
	clock atomic.Int64 // unix ms; 0: the real one
	ref   int
}

// buffer is what was logged.
type buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := newStore(t)
	b.start()
	return b
}

// newStore is a bed whose service does not run yet.
func newStore(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, redis: redistest.Start(t), set: metrics.NewSet()}
	var err error
	b.file = filepath.Join(t.TempDir(), "boards.db")
	if b.store, err = sqlite.Open(t.Context(), b.file, board.Rules{}, b.now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.store.Close() })
	return b
}

func (b *bed) now() time.Time {
	if ms := b.clock.Load(); ms > 0 {
		return time.UnixMilli(ms)
	}
	return time.Now()
}

func (b *bed) start() {
	t := b.t
	t.Helper()
	w, err := worker.New(worker.Config{Redis: b.redis.URL(), Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	service.New(service.Config{Store: b.store, Metrics: b.set, Now: b.now, Logger: slog.New(slog.NewTextHandler(&b.log, nil))}).Register(w)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// send sends a request of a user. Its answer comes into the stream of the node of that name.
func (b *bed) send(user, channel, body string) {
	b.t.Helper()
	b.sendAs("req", user, channel, body)
}

func (b *bed) sendAs(kind, user, channel, body string) {
	b.t.Helper()
	b.ref++
	b.redis.CLI("XADD", b.keys.In(stream.Partition(channel, partitions)), "*", "kind", kind, "ch", channel, "node", user, "conn", "c", "user", user,
		"ref", fmt.Sprint(b.ref), "at", fmt.Sprint(time.Now().UnixMilli()), "enc", "t", "data", body)
}

// ask sends a request and waits for its answer.
func (b *bed) ask(user, channel string, body any) string {
	b.t.Helper()
	text, ok := body.(string)
	if !ok {
		data, err := json.Marshal(body)
		if err != nil {
			b.t.Fatal(err)
		}
		text = string(data)
	}
	b.open(user)
	b.send(user, channel, text)
	return b.answer(user)
}

// open makes the stream of a user's node: a node that lives has one.
func (b *bed) open(user string) {
	b.t.Helper()
	if b.redis.CLI("EXISTS", b.keys.Node(user)) == "0" {
		b.redis.CLI("XADD", b.keys.Node(user), "*", "kind", "wake")
	}
}

// answer waits for the answer to what was sent last.
func (b *bed) answer(user string) string {
	b.t.Helper()
	want := fmt.Sprintf("ref\n%d\n", b.ref)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-time.After(2 * time.Millisecond) {
		if last := b.redis.CLI("XREVRANGE", b.keys.Node(user), "+", "-", "COUNT", "1"); strings.Contains(last+"\n", want) {
			return last
		}
	}
	b.t.Fatalf("no answer to %s", user)
	return ""
}

func (b *bed) want(user, channel string, body any, texts ...string) {
	b.t.Helper()
	got := b.ask(user, channel, body)
	for _, text := range texts {
		if !strings.Contains(got, text) {
			b.t.Errorf("%s on %s, %v: no %s in %s", user, channel, body, text, got)
		}
	}
}

// corrupt changes the file behind everybody's back.
func (b *bed) corrupt(statement string) {
	b.t.Helper()
	db, err := sql.Open("sqlite", b.file)
	if err != nil {
		b.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(b.t.Context(), statement); err != nil {
		b.t.Fatal(err)
	}
}

// published is everything on the board.
func (b *bed) published() string {
	return b.redis.CLI("XRANGE", b.keys.Out(stream.Partition("board:b", partitions)), "-", "+")
}

type do map[string]any

func column(client string, n int, id string) do {
	return do{"do": "mutate", "mutations": []do{{"client": client, "n": n, "schema": 1, "ops": []do{
		{"op": "put", "kind": "column", "id": id, "values": do{"title": "title of " + id}},
	}}}}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.want("ann", "workspace:w", do{"do": "create", "name": "W"}, "{}")
	b.want("ann", "workspace:w", do{"do": "create", "name": "W"}, `"code":409`)
	b.want("ann", "workspace:w", do{"do": "create_board", "id": "b", "title": "B"}, `"role":"owner"`)
	b.want("ann", "workspace:w", do{"do": "create_board", "id": "b", "title": "C"}, `"code":409`, `"current":{"id":"b","workspace":"w","title":"B","version":1`)
	b.want("ann", "workspace:w", do{"do": "set_member", "user": "bob", "role": "editor"}, `"version":1`)
	b.want("ann", "workspace:w", do{"do": "set_member", "user": "eve", "role": "viewer"}, `"version":1`)
	b.want("ann", "workspace:w", do{"do": "set_member", "user": "eve", "role": "king"}, `"code":400`)
	b.want("bob", "workspace:w", do{"do": "set_member", "user": "eve", "role": "owner", "version": 1}, `"code":403`)
	b.want("ann", "workspace:w", do{"do": "set_member", "user": "eve", "role": "owner"}, `"code":409`, `"current":{"user":"eve","role":"viewer","version":1}`)
	b.want("eve", "workspace:w", do{"do": "members"}, "ann", "bob", "eve")
	b.want("mallory", "workspace:w", do{"do": "members"}, `"code":404`)
	b.want("ann", "workspace:w", do{"do": "dance"}, `"code":400`, "set_member")
	b.want("ann", "workspace:ä", do{"do": "members"}, `"code":400`)

	b.want("bob", "board:b", column("bob-1", 1, "todo"), `"status":"committed"`, `"to":1`)
	if out := b.published(); !strings.Contains(out, `"to":1`) || !strings.Contains(out, "title of todo") {
		t.Errorf("published: %s", out)
	}
	b.want("eve", "board:b", column("eve-1", 1, "no"), `"code":"denied"`)
	b.want("mallory", "board:b", column("m-1", 1, "no"), `"code":"no_board"`, `"to":0`)
	before := strings.Count(b.published(), "board:b")
	b.want("bob", "board:b", column("bob-1", 1, "todo"), `"status":"committed"`, `"seq":1`)
	if out := b.published(); strings.Count(out, "board:b") != before+1 || strings.Count(out, "title of todo") != 1 || !strings.Contains(out, `"from":1,"to":1`) {
		t.Errorf("after a repeated mutation others are not told to look: %s", out)
	}
	b.want("bob", "board:b", do{"do": "mutate", "mutations": []any{"nonsense", do{"client": "bob-1", "n": 2, "ops": 7}}}, `"code":"malformed"`, `"n":2`)
	b.want("bob", "board:b", do{"do": "mutate"}, `"code":413`)
	b.want("bob", "board:b", "{", `"code":400`)
	b.want("eve", "board:b", do{"do": "pull"}, `"reset":true`, "title of todo")
	b.want("eve", "board:b", do{"do": "head"}, `"seq":1`, `"now":`)
	b.want("eve", "board:b", do{"do": "log"}, `"user":"bob"`)
	b.want("bob", "board:b", do{"do": "rename", "title": "New", "version": 1}, `"version":2`)
	b.want("mallory", "board:b", do{"do": "pull"}, `"code":404`)
	b.want("ann", "workspace:w", do{"do": "set_member", "user": "eve", "role": "", "version": 1}, `"version":2`)
	if out := b.published(); !strings.Contains(out, "revoke") || !strings.Contains(out, "eve") {
		t.Errorf("eve keeps her subscriptions: %s", out)
	}
	b.want("eve", "board:b", do{"do": "pull"}, `"code":404`)
	var text strings.Builder
	b.set.WritePrometheus(&text)
	for _, name := range []string{`millrace_boards_mutations_total{result="committed"} 2`, `{result="rejected"} 4`, "millrace_boards_commit_seconds"} {
		if !strings.Contains(text.String(), name) {
			t.Errorf("no %s in\n%s", name, text.String())
		}
	}
}

// TestNoLeak: users of three organisations ask for everything everywhere; no answer to any of them has a text of another organisation.
func TestNoLeak(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	r := rand.New(rand.NewPCG(3, 3))
	const tenants = 3
	canary := func(tenant int) string { return fmt.Sprintf("canary-%d-", tenant) }
	n := make(map[string]int)
	for i := range tenants {
		user := fmt.Sprintf("u%d", i)
		b.ask(user, fmt.Sprintf("workspace:w%d", i), do{"do": "create", "name": canary(i)})
		b.ask(user, fmt.Sprintf("workspace:w%d", i), do{"do": "create_board", "id": fmt.Sprintf("b%d", i), "title": canary(i)})
		secret := []do{
			{"op": "put", "kind": "column", "id": "todo", "values": do{"title": canary(i)}},
			{"op": "put", "kind": "card", "id": "secret", "lane": "todo", "values": do{"title": canary(i), "body": canary(i)}},
			{"op": "put", "kind": "comment", "id": "secret", "values": do{"card": "secret", "text": canary(i)}},
		}
		b.want(user, fmt.Sprintf("board:b%d", i), do{"do": "mutate", "mutations": []do{{"client": user + "-first", "n": 1, "schema": 1, "ops": secret}}}, `"committed"`)
	}
	requests := 240
	if testing.Short() {
		requests = 80
	}
	own := 0
	for i := range requests {
		tenant, target := r.IntN(tenants), r.IntN(tenants)
		user, channel, w := fmt.Sprintf("u%d", tenant), fmt.Sprintf("board:b%d", target), fmt.Sprintf("workspace:w%d", target)
		client := user + channel[6:]
		var answer string
		switch r.IntN(10) {
		case 8:
			answer = b.ask(user, channel, do{"do": "pull", "heads": true})
		case 9:
			answer = b.ask(user, channel, bodiesOf(key("card", "secret"), key("comment", "secret")))
		case 0, 1:
			n[client]++
			answer = b.ask(user, channel, column(client, n[client], fmt.Sprintf("%s%d", canary(tenant), i)))
			if tenant != target {
				n[client] = 0
			}
		case 2, 3:
			answer = b.ask(user, channel, do{"do": "pull", "client": fmt.Sprintf("u%db%d", target, target)})
		case 4:
			answer = b.ask(user, channel, do{"do": []string{"head", "log"}[r.IntN(2)]})
		case 5:
			answer = b.ask(user, channel, do{"do": "rename", "title": canary(tenant), "version": r.IntN(3)})
		case 6:
			answer = b.ask(user, w, do{"do": []string{"members", "boards"}[r.IntN(2)]})
		default:
			answer = b.ask(user, w, do{"do": "create_board", "id": fmt.Sprintf("b%d", target), "title": canary(tenant)})
		}
		for other := range tenants {
			if other != tenant && strings.Contains(answer, canary(other)) {
				t.Errorf("%s gets a text of organisation %d: %s", user, other, answer)
			}
		}
		if strings.Contains(answer, canary(tenant)) {
			own++
		}
	}
	if own == 0 {
		t.Error("nobody has got a text of their own")
	}
	t.Logf("%d requests, %d answers with texts of one's own organisation, 0 with others'", requests, own)
}
