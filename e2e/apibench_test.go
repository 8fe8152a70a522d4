package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// apiTarget is what 95 of 100 requests of the HTTP API may take.
const apiTarget = 85 // ms

// apiMix is what 20 requests in a row are: an application lists and opens boards more often than it looks something up, and seldom changes what is not a card.
const apiMix = "list open list find open history list open list find open history create list open list find open history rename"

// benchAPI: requests over HTTP at a fixed rate, from when each is due to the last byte of its answer, beside many connections, each of which is subscribed to
// a board on which others make a quarter as many edits. The boards of the two loads differ, the backend and the database do not.
func benchAPI(t *testing.T, out *bytes.Buffer, stores []string, s size) {
	boards := max(1, s.idle/10)
	fmt.Fprintf(out, "\n%d requests a second over HTTP, open loop, for %v, by 20 users with a small board each, beside %d connections that are subscribed to one of %d boards each "+
		"and %d edits a second on these; p95 is to be under %d ms\n\n", s.rate, 5*s.measure, s.idle, boards, s.rate/4, apiTarget)
	fmt.Fprintln(out, "| store | request | count | p50 ms | p95 ms | p99 ms | failed |\n|---|---|--:|--:|--:|--:|--:|")
	for _, name := range stores {
		t.Run("api/"+name, func(t *testing.T) {
			sys := startBoards(t, database(t, name), "--jwt-secret", leakSecret)
			sys.fill(t, boards)
			app := newApplication(t, strings.TrimSuffix(sys.metrics, "/metrics"), 20)
			p := listen(t, sys, s.idle, boards)
			writers := sys.writers(t, 20, boards)
			var editing sync.WaitGroup
			var edits []time.Duration
			failedEdits := 0
			editing.Go(func() { edits, failedEdits = p.edit(t, writers, s.rate/4, 5*s.measure) })
			app.run(t, s.rate, 5*s.measure)
			editing.Wait()
			eventually(t, "a peer has heard of an edit", func() bool { return len(p.took()) > 0 })
			heard := p.took()
			fmt.Fprintf(out, "| %s | edit, by WebSocket, to a peer | %d | %.1f | %.1f | %.1f | %d |\n", name, len(edits), ms(heard, 50), ms(heard, 95), ms(heard, 99), failedEdits)
			var all []time.Duration
			failed := 0
			for _, kind := range []string{"list", "open", "history", "find", "create", "rename"} {
				took := app.took[kind]
				fmt.Fprintf(out, "| %s | %s | %d | %.1f | %.1f | %.1f | %d |\n", name, kind, len(took), ms(took, 50), ms(took, 95), ms(took, 99), app.failed[kind])
				all, failed = append(all, took...), failed+app.failed[kind]
			}
			fmt.Fprintf(out, "| %s | **all** | %d | %.1f | **%.1f** | %.1f | %d |\n", name, len(all), ms(all, 50), ms(all, 95), ms(all, 99), failed)
			if failed+failedEdits > 0 || len(all) == 0 {
				t.Errorf("%d requests answered, %d failed, and %d edits", len(all), failed, failedEdits)
			}
		})
	}
}

// application is users of the HTTP API, and what their requests took.
type application struct {
	url    string
	client *http.Client
	users  []*apiUser

	mu     sync.Mutex
	took   map[string][]time.Duration
	failed map[string]int
}

// apiUser has a workspace and a board, both of the user's name.
type apiUser struct {
	name, token, card string

	mu   sync.Mutex // a rename waits for the one before, whose tag it needs
	etag string
}

func newApplication(t *testing.T, url string, users int) *application {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 256}
	t.Cleanup(transport.CloseIdleConnections)
	a := &application{
		url: url, client: &http.Client{Transport: transport, Timeout: 30 * time.Second},
		took: make(map[string][]time.Duration), failed: make(map[string]int),
	}
	var table strings.Builder
	table.WriteString("title,column,body\n")
	for i := range 30 {
		fmt.Fprintf(&table, "What is to be done %d,Column %d,Some words about it\n", i, i%3)
	}
	for i := range users {
		u := &apiUser{name: fmt.Sprintf("user-%d", i)}
		u.token = bearer(t, u.name)
		a.users = append(a.users, u)
		a.must(t, u, "POST", "/v1/workspaces", fmt.Sprintf(`{"id":%q,"name":"W"}`, u.name))
		a.must(t, u, "POST", "/v1/workspaces/"+u.name+"/imports?format=csv&title=Plan&board="+u.name, table.String())
		var snapshot struct {
			Rows []struct{ Kind, ID string }
		}
		if err := json.Unmarshal(a.must(t, u, "GET", "/v1/boards/"+u.name+"/snapshot", ""), &snapshot); err != nil {
			t.Fatal(err)
		}
		for _, row := range snapshot.Rows {
			if row.Kind == "card" {
				u.card = row.ID
			}
		}
		if u.card == "" {
			t.Fatalf("the board of %s has no card", u.name)
		}
		a.must(t, u, "GET", "/v1/boards/"+u.name, "")
	}
	return a
}

func (a *application) must(t *testing.T, u *apiUser, method, path, body string) []byte {
	t.Helper()
	answer, err := a.send(t, u, method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// send makes a request and reads its answer, whose tag is the user's if it is one of settings.
func (a *application) send(t *testing.T, u *apiUser, method, path, body string) ([]byte, error) {
	r, err := http.NewRequestWithContext(t.Context(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+u.token)
	if method == "PATCH" {
		r.Header.Set("If-Match", u.etag)
	}
	answer, err := a.client.Do(r)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err == nil && answer.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %d %.300s", method, path, answer.StatusCode, text)
	}
	if err == nil && path == "/v1/boards/"+u.name {
		u.etag = answer.Header.Get("ETag")
	}
	return text, err
}

// run has requests made whenever they are due, however many are under way.
func (a *application) run(t *testing.T, rate int, d time.Duration) {
	t.Helper()
	mix := strings.Fields(apiMix)
	begin := time.Now()
	var wait sync.WaitGroup
	for k := range int(d.Seconds() * float64(rate)) {
		due := begin.Add(time.Duration(k) * time.Second / time.Duration(rate))
		pause(t.Context(), time.Until(due))
		wait.Go(func() {
			kind := mix[k%len(mix)]
			err := a.request(t, a.users[(k+k/len(mix))%len(a.users)], kind, k)
			took := time.Since(due)
			a.mu.Lock()
			defer a.mu.Unlock()
			if err != nil {
				a.failed[kind]++
				t.Log(err)
				return
			}
			a.took[kind] = append(a.took[kind], took)
		})
	}
	wait.Wait()
}

func (a *application) request(t *testing.T, u *apiUser, kind string, k int) (err error) {
	board := "/v1/boards/" + u.name
	switch kind {
	case "list":
		_, err = a.send(t, u, "GET", "/v1/boards", "")
	case "open":
		_, err = a.send(t, u, "GET", board+"/snapshot", "")
	case "history":
		_, err = a.send(t, u, "GET", board+"/cards/"+u.card+"/history", "")
	case "find":
		_, err = a.send(t, u, "GET", fmt.Sprintf("/v1/search?q=done+%d", k%30), "")
	case "create":
		_, err = a.send(t, u, "POST", "/v1/workspaces/"+u.name+"/boards", fmt.Sprintf(`{"title":"Board %d"}`, k))
	case "rename":
		u.mu.Lock()
		defer u.mu.Unlock()
		_, err = a.send(t, u, "PATCH", board, fmt.Sprintf(`{"title":"Plan %d"}`, k))
	}
	return err
}
