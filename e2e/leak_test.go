package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/gateway/client"
	"github.com/millracehq/millrace/internal/freeport"
	"github.com/millracehq/millrace/internal/pgtest"
	"github.com/millracehq/millrace/internal/redistest"
)

// A run under load: make leak
var (
	tenants      = flag.Int("tenants", 3, "organisations, each with a board of its own")
	members      = flag.Int("members", 2, "users of each")
	leakFor      = flag.Duration("leak-for", 3*time.Second, "how long they ask for everything")
	leakDatabase = flag.String("leak-database", "sqlite", "sqlite or postgres")
)

const leakSecret = "a secret of the tests that is long enough"

func bearer(t *testing.T, user string) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": user, "exp": time.Now().Add(time.Hour).Unix()}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(leakSecret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// canary is in every text of an organisation, and nowhere else.
func canary(tenant int) string { return fmt.Sprintf("canary-%03d-", tenant) }

// TestNoLeak: users of several organisations, on two gateways, edit their own board, and ask and subscribe for those of all others. Whatever
// any of them gets is searched for the others' texts. Meanwhile a guest is let in and put out, and asks to subscribe all the time.
func TestNoLeak(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	health := freeport.MustAddr(t)
	start(t, "http://"+health+"/readyz", "backend", "--redis", redis.URL(), "--listen", health, "--database", leakStore(t))
	urls := make([]string, 2)
	for i := range urls {
		listen, admin := freeport.MustAddr(t), freeport.MustAddr(t)
		start(t, "http://"+admin+"/readyz", "gateway", "--redis", redis.URL(), "--listen", listen, "--admin", admin,
			"--config", boardsConfig, "--auth", "jwt", "--jwt-secret", leakSecret)
		urls[i] = "ws://" + listen + "/ws"
	}
	owners := make([]*client.Conn, *tenants)
	for i := range owners {
		owners[i] = makeTenant(t, urls[0], i)
	}
	seen := sightings{until: time.Now().Add(*leakFor)}
	var wait sync.WaitGroup
	for i := range *tenants {
		for m := range *members {
			wait.Go(func() { snoop(t, urls[m%2], i, m, &seen) })
		}
	}
	for _, url := range urls {
		wait.Go(func() { visit(t, url, "guest-of-"+url[len(url)-8:len(url)-3], owners[0], &seen) })
	}
	wait.Wait()
	t.Logf("%d organisations of %d users: %d frames, %d with texts of one's own, %d refusals, %d with others' texts; guests were put out %d times, and %d of %d deltas came behind a revoke",
		*tenants, *members, seen.frames.Load(), seen.own.Load(), seen.refused.Load(), seen.foreign.Load(), seen.visits.Load(), seen.late.Load(), seen.heard.Load())
	if seen.little() {
		t.Error("too little happened to show anything")
	}
}

type sightings struct {
	until                                              time.Time
	frames, own, foreign, refused, visits, heard, late atomic.Int64
}

// little says that not everything has been seen once.
func (s *sightings) little() bool {
	return s.own.Load() == 0 || s.refused.Load() == 0 || s.visits.Load() == 0 || s.heard.Load() == 0
}

// more says that it is to go on: for the time, and on a slow machine a while longer, until something was seen.
func (s *sightings) more() bool {
	return time.Now().Before(s.until) || s.little() && time.Now().Before(s.until.Add(30*time.Second))
}

func leakStore(t *testing.T) string {
	t.Helper()
	if *leakDatabase == "sqlite" {
		return "sqlite:" + filepath.Join(t.TempDir(), "boards.db")
	}
	return boardsInPostgres(t)
}

// boardsInPostgres is the address of a new database with the schema, as a user whom row-level security binds.
func boardsInPostgres(t *testing.T, args ...string) string {
	t.Helper()
	db := pgtest.Start(t, args...)
	db.SQL("postgres", "CREATE ROLE owner LOGIN CREATEROLE; CREATE ROLE app LOGIN")
	db.SQL("postgres", "CREATE DATABASE boards OWNER owner")
	runToEnd(t, "backend", "migrate", "up", "--database", db.URL("owner", "boards"))
	db.SQL("postgres", "GRANT millrace_app TO app")
	return db.URL("app", "boards")
}

// makeTenant makes an organisation with its members and a board with a column, and is its owner.
func makeTenant(t *testing.T, url string, tenant int) *client.Conn {
	t.Helper()
	conn, err := client.Dial(t.Context(), url, client.Options{Token: bearer(t, fmt.Sprintf("owner%d", tenant))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Abort() })
	w, b := fmt.Sprintf("workspace:w%d", tenant), fmt.Sprintf("b%d", tenant)
	ask(t, conn, w, map[string]any{"do": "create", "name": canary(tenant)}, nil)
	for m := range *members {
		ask(t, conn, w, map[string]any{"do": "set_member", "user": fmt.Sprintf("u%d-%d", tenant, m), "role": "editor"}, nil)
	}
	ask(t, conn, w, map[string]any{"do": "create_board", "id": b, "title": canary(tenant)}, nil)
	ask(t, conn, "board:"+b, mutate("owner", 1, "put", "column", "todo", canary(tenant)), nil)
	secret := []any{
		map[string]any{"op": "put", "kind": "card", "id": "secret", "lane": "todo", "values": map[string]string{"title": canary(tenant), "body": canary(tenant)}},
		map[string]any{"op": "put", "kind": "comment", "id": "secret", "values": map[string]string{"card": "secret", "text": canary(tenant)}},
	}
	ask(t, conn, "board:"+b, map[string]any{"do": "mutate", "mutations": []any{map[string]any{"client": "owner", "n": 2, "schema": 1, "base": 1, "ops": secret}}}, nil)
	return conn
}

// mutate is a request to make something, or to change its title.
func mutate(client string, n int, op, kind, id, title string) map[string]any {
	o := map[string]any{"op": op, "kind": kind, "id": id}
	if op == "put" {
		o["values"] = map[string]string{"title": title}
		if kind == "card" {
			o["lane"] = "todo"
		}
	} else {
		o["group"], o["value"] = "title", title
	}
	return map[string]any{"do": "mutate", "mutations": []any{map[string]any{"client": client, "n": n, "schema": 1, "ts": time.Now().UnixMicro(), "ops": []any{o}}}}
}

// answers are those that somebody has had, so that nobody asks for more than the backend can answer.
type answers struct{ atomic.Int64 }

func (a *answers) count(f client.Frame) {
	switch word, _, _ := strings.Cut(f.Head, " "); word {
	case "ok", "err", "res":
		a.Add(1)
	}
}

func (a *answers) wanting(asked int64) bool { return asked-a.Load() >= 4 }

// snoop is a user who asks for everything everywhere, and makes cards at home.
func snoop(t *testing.T, url string, tenant, member int, seen *sightings) {
	c, err := client.DialRaw(t.Context(), url, client.Options{Token: bearer(t, fmt.Sprintf("u%d-%d", tenant, member))})
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Abort()
	var answers answers
	var reading sync.WaitGroup
	defer reading.Wait()
	defer c.Abort()
	reading.Go(func() {
		for {
			f, err := c.Read(t.Context())
			if err != nil {
				return
			}
			answers.count(f)
			seen.look(t, f, tenant)
		}
	})
	r := rand.New(rand.NewPCG(uint64(tenant), uint64(member)))
	ref, n := 0, 0
	say := func(command string, body any) {
		ref++
		text, err := json.Marshal(body)
		if err != nil {
			panic(err)
		}
		verb, channel, _ := strings.Cut(command, " ")
		if err := c.Write(t.Context(), false, fmt.Appendf(nil, "%s %d %s\n%s", verb, ref, channel, text)); err != nil {
			t.Errorf("u%d-%d: %v", tenant, member, err)
		}
	}
	for _, namespace := range []string{"board:b", "cursor:b", "workspace:w"} {
		say(fmt.Sprintf("sub %s%d", namespace, tenant), nil)
	}
	for seen.more() {
		pause(t.Context(), 10*time.Millisecond)
		if answers.wanting(int64(ref)) {
			continue
		}
		target := r.IntN(*tenants)
		b, w, cursor := fmt.Sprintf("board:b%d", target), fmt.Sprintf("workspace:w%d", target), fmt.Sprintf("cursor:b%d", target)
		mark := canary(tenant) + fmt.Sprint(ref)
		switch r.IntN(11) {
		case 0:
			say("sub "+[]string{b, w, cursor}[r.IntN(3)], nil)
		case 1:
			say("pub "+cursor, map[string]string{"client": mark, "user": mark})
		case 2:
			say("req "+b, map[string]any{"do": "pull", "client": fmt.Sprintf("u%d-0", target)})
		case 3:
			say("req "+b, map[string]any{"do": []string{"head", "log"}[r.IntN(2)]})
		case 4:
			say("req "+w, map[string]any{"do": []string{"members", "boards"}[r.IntN(2)]})
		case 5: // as somebody else's client
			say("req "+b, mutate(fmt.Sprintf("u%d-0", target), 1+r.IntN(20), "set", "column", "todo", mark))
		case 6:
			say("req "+b, map[string]any{"do": "rename", "title": mark, "version": 1})
		case 7:
			say("req "+b, map[string]any{"do": "pull", "heads": true})
		case 8:
			say("req "+b, map[string]any{"do": "bodies", "rows": []board.Key{{Kind: board.KindCard, ID: "secret"}, {Kind: board.KindComment, ID: "secret"}}})
		default:
			n++
			say(fmt.Sprintf("req board:b%d", tenant), mutate(fmt.Sprintf("u%d-%d-c", tenant, member), n, "put", "card", fmt.Sprintf("c%d-%d", member, n), mark))
		}
	}
}

// look searches a frame.
func (s *sightings) look(t *testing.T, f client.Frame, tenant int) {
	s.frames.Add(1)
	if strings.HasPrefix(f.Head, "err ") && strings.Contains(f.Head, " 403 ") || bytes.Contains(f.Body, []byte(`"code":404`)) {
		s.refused.Add(1)
	}
	for rest := f.Body; ; {
		i := bytes.Index(rest, []byte("canary-"))
		if i < 0 {
			return
		}
		rest = rest[i:]
		if bytes.HasPrefix(rest, []byte(canary(tenant))) {
			s.own.Add(1)
		} else {
			s.foreign.Add(1)
			t.Errorf("organisation %d gets a text of another: %s LF %.300s", tenant, f.Head, f.Body)
		}
		rest = rest[len("canary-"):]
	}
}

// visit lets a guest into the first organisation and puts them out, again and again. The guest asks to subscribe all the time; behind a
// revoke nothing of the board comes, and who has been put out is let in by nobody.
func visit(t *testing.T, url, guest string, owner *client.Conn, seen *sightings) {
	c, err := client.DialRaw(t.Context(), url, client.Options{Token: bearer(t, guest)})
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Abort()
	const channel = "board:b0"
	refused := make(chan bool, 1) // by a sub that was asked behind what was last sent to asked
	var asked, out atomic.Int64
	var answers answers
	var reading sync.WaitGroup
	defer reading.Wait()
	defer c.Abort()
	reading.Go(func() {
		subscribed := false
		for {
			f, err := c.Read(t.Context())
			if err != nil {
				return
			}
			answers.count(f)
			var ref int64
			var code int
			gone := out.Load() // before the answer is looked at: 0, or what was asked by then
			switch word, _, _ := strings.Cut(f.Head, " "); word {
			case "ok":
				_, _ = fmt.Sscanf(f.Head, "ok %d", &ref)
				subscribed = true
				if gone > 0 && ref > gone {
					t.Errorf("%s was put out before sub %d, which was granted", guest, ref)
				}
			case "revoke":
				subscribed = false
			case "msg":
				seen.heard.Add(1)
				if !subscribed {
					seen.late.Add(1)
					t.Errorf("%s without a subscription: %s", guest, f.Head)
				}
			case "err":
				_, _ = fmt.Sscanf(f.Head, "err %d %d", &ref, &code)
				if gone > 0 && code == 403 && ref > gone {
					select {
					case refused <- true:
					default:
					}
				}
			}
		}
	})
	stop := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(3 * time.Millisecond):
			}
			if answers.wanting(asked.Load()) {
				continue
			}
			if err := c.Write(t.Context(), false, fmt.Appendf(nil, "sub %d %s", asked.Add(1), channel)); err != nil {
				return
			}
		}
	})
	defer asking.Wait()
	defer close(stop)
	version := 0
	member := func(role string) {
		out := struct {
			Version int `json:"version"`
		}{}
		ask(t, owner, "workspace:w0", map[string]any{"do": "set_member", "user": guest, "role": role, "version": version}, &out)
		version = out.Version
	}
	for seen.more() {
		member("viewer")
		out.Store(0)
		// Under load it takes longer than that until a sub is answered and somebody has edited the board.
		for heard, in := seen.heard.Load(), time.Now(); time.Since(in) < 100*time.Millisecond || seen.heard.Load() == heard && time.Since(in) < 3*time.Second; {
			pause(t.Context(), 10*time.Millisecond)
		}
		member("")
		out.Store(asked.Load()) // every sub from here on is asked behind the commit
		select {
		case <-refused:
		case <-time.After(30 * time.Second):
			t.Errorf("%s is not refused", guest)
			return
		}
		for len(refused) > 0 {
			<-refused
		}
		out.Store(0)
		seen.visits.Add(1)
	}
}
