package queue

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/reward"
	"github.com/millracehq/millrace/backend/reward/memory"
	"github.com/millracehq/millrace/gateway/stream"
)

func TestAPI(t *testing.T) {
	t.Parallel()
	desk := memory.New(reward.BuiltIn(), func(team, user string) bool { return team == "w" && user == "ann" }, nil)
	var got []Event
	var failure error
	who := Bearer("secret")
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	api := &API{Desk: desk, App: who, User: who, Now: func() time.Time { return at }, Add: func(_ context.Context, events []Event) error {
		got = append(got, events...)
		return failure
	}}
	mux := http.NewServeMux()
	api.Mount(mux)
	ask := func(method, path, body string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer secret")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w
	}
	const one = `{"kind":"login","user":"ann"}`
	for _, c := range []struct {
		body   string
		header []string
		code   int
		text   string
	}{
		{one, []string{"Idempotency-Key", "k1"}, 202, `{"accepted":1}`},
		{`[{"id":"a","kind":"k","user":"u","team":"t","subject":"s","whom":"w","at":1764000000000,"prio":1,"est":2,"born":1763000000000},{"id":"b","kind":"k","user":"u"}]`, nil, 202, `"accepted":2`},
		{one, nil, 400, "id is missing, and there is no Idempotency-Key"},
		{`{"id":"x","kind":"k"}`, nil, 400, "event 1: user is missing"},
		{`[]`, nil, 400, "1 to 1000"},
		{`[` + one + `,` + one + `]`, []string{"Idempotency-Key", "k"}, 400, "with Idempotency-Key, one"},
		{`{"id":5}`, nil, 400, "neither an event nor a list"},
		{``, nil, 400, "neither an event nor a list"},
		{one, []string{"Authorization", "Bearer wrong"}, 401, "Bearer TOKEN"},
	} {
		if w := ask("POST", "/rewards/events", c.body, c.header...); w.Code != c.code || !strings.Contains(w.Body.String(), c.text) {
			t.Errorf("%s: %d %s, want %d %s", c.body, w.Code, w.Body, c.code, c.text)
		}
	}
	if len(got) != 3 || got[0] != (Event{ID: "app:k1", Kind: "login", User: "ann", At: at.UnixMilli()}) ||
		got[1] != (Event{ID: "app:a", Kind: "k", User: "u", Team: "t", Subject: "s", Whom: "w", At: 1764000000000, Prio: 1, Est: 2, Born: 1763000000000}) {
		t.Errorf("%+v", got)
	}
	for _, failure = range []error{ErrFull, stream.ErrDown} {
		if w := ask("POST", "/rewards/events", one, "Idempotency-Key", "k"); w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%v: %d %s", failure, w.Code, w.Body)
		}
	}
	failure = errors.New("x")
	if w := ask("POST", "/rewards/events", one, "Idempotency-Key", "k"); w.Code != 500 || strings.Contains(w.Body.String(), `"x"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}

	if _, err := desk.Count(t.Context(), []Event{{ID: "1", Kind: "login", User: "ann", Team: "w", At: at.UnixMilli()}}); err != nil {
		t.Fatal(err)
	}
	if _, err := desk.Refresh(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/rewards/account?user=ann":                       `"user":"ann"`,
		"/rewards/account":                                `"code":400`,
		"/rewards/leaders?user=ann&team=w":                `"rank":1`,
		"/rewards/leaders?user=ann&team=w&period=week":    `"rank":1`,
		"/rewards/leaders?user=ann&team=w&period=month":   `"rank":1`,
		"/rewards/leaders?user=bob&team=w":                `"code":404`,
		"/rewards/leaders?user=ann":                       `"code":400`,
		"/rewards/leaders?user=ann&team=w&limit=101":      `limit: \"101\"`,
		"/rewards/leaders?user=ann&team=w&around=many":    `around: \"many\"`,
		"/rewards/leaders?user=ann&team=w&period=1999-01": `"as_of"`,
	} {
		if w := ask("GET", path, ""); !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s, want %s", path, w.Code, w.Body, want)
		}
	}
	for _, path := range []string{"/rewards/account?user=ann", "/rewards/leaders?user=ann&team=w"} {
		if w := ask("GET", path, "", "Authorization", ""); w.Code != 401 {
			t.Errorf("%s without a token: %d", path, w.Code)
		}
	}
	if _, err := Bearer("")(httptest.NewRequest("GET", "/", nil)); err == nil {
		t.Error("without a token everybody is let in")
	}
}
