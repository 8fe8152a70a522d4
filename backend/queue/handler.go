package queue

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/millracehq/millrace/backend/reward"
	"github.com/millracehq/millrace/gateway/stream"
)

// Who says on whose behalf a request is made; an error is a refusal.
type Who func(*http.Request) (user string, err error)

// Bearer lets requests pass that have the token of an application, which speaks for any user: ?user= says for which.
func Bearer(token string) Who {
	want := sha256.Sum256([]byte("Bearer " + token))
	return func(r *http.Request) (string, error) {
		got := sha256.Sum256([]byte(r.Header.Get("Authorization")))
		if token == "" || subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
			return "", errors.New("send Authorization: Bearer TOKEN, with the token of the rewards")
		}
		return r.URL.Query().Get("user"), nil
	}
}

// API is what can be asked about rewards over HTTP. Answers are JSON, a refusal is {"error":{"code":400,"text":"…"}}.
//
//	POST /rewards/events    an event of another application, or a list of up to 1,000: docs/REWARDS.md
//	GET  /rewards/account   what the user has
//	GET  /rewards/leaders   ?team= &period= &limit= &around=: a leaderboard
type API struct {
	Add  func(ctx context.Context, events []Event) error // see [Worker.Add]
	Desk reward.Desk
	App  Who // who may post events
	User Who // who asks
	Now  func() time.Time
}

// Bounds of a request.
const (
	maxPosted   = 1000    // events
	maxBody     = 1 << 20 // bytes
	defaultTop  = 10
	foreignMark = "app:" // begins the IDs of events of other applications, so that they are not those of boards
)

// Mount adds the endpoints to a mux.
func (a *API) Mount(mux *http.ServeMux) {
	if a.Now == nil {
		a.Now = time.Now
	}
	mux.HandleFunc("POST /rewards/events", a.events)
	mux.HandleFunc("GET /rewards/account", a.account)
	mux.HandleFunc("GET /rewards/leaders", a.leaders)
}

// posted is an event as other applications send it.
type posted struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	User    string `json:"user"`
	Team    string `json:"team"`
	Subject string `json:"subject"`
	Whom    string `json:"whom"`
	At      int64  `json:"at"` // unix ms; default now
	Prio    int64  `json:"prio"`
	Est     int64  `json:"est"`
	Born    int64  `json:"born"`
}

func (a *API) events(w http.ResponseWriter, r *http.Request) {
	if _, err := a.App(r); err != nil {
		refuse(w, http.StatusUnauthorized, err.Error())
		return
	}
	var list []posted
	var raw json.RawMessage
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	err := dec.Decode(&raw)
	if err == nil && len(raw) > 0 && raw[0] == '{' {
		list = make([]posted, 1)
		err = json.Unmarshal(raw, &list[0])
	} else if err == nil {
		err = json.Unmarshal(raw, &list)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "the body is neither an event nor a list of events: "+err.Error())
		return
	}
	key := r.Header.Get("Idempotency-Key")
	if len(list) == 0 || len(list) > maxPosted || key != "" && len(list) > 1 {
		refuse(w, http.StatusBadRequest, "send 1 to 1000 events, each with its id; with Idempotency-Key, one without")
		return
	}
	events := make([]Event, len(list))
	for i, p := range list {
		if p.ID == "" {
			p.ID = key
		}
		if p.At == 0 {
			p.At = a.Now().UnixMilli()
		}
		events[i] = Event{
			ID: foreignMark + p.ID, Kind: p.Kind, User: p.User, Team: p.Team, Subject: p.Subject, Whom: p.Whom, At: p.At, Prio: p.Prio, Est: p.Est, Born: p.Born,
		}
		err := events[i].Check()
		if err == nil && p.ID == "" {
			err = errors.New("id is missing, and there is no Idempotency-Key")
		}
		if err != nil {
			refuse(w, http.StatusBadRequest, fmt.Sprintf("event %d: %v", i+1, err))
			return
		}
	}
	if err := a.Add(r.Context(), events); err != nil {
		code, text := http.StatusInternalServerError, "not stored: send the same again"
		if errors.Is(err, ErrFull) || errors.Is(err, stream.ErrDown) || errors.Is(err, stream.ErrPartDown) {
			code, text = http.StatusServiceUnavailable, "not stored: send the same again later"
			w.Header().Set("Retry-After", "5")
		}
		refuse(w, code, text)
		return
	}
	reply(w, http.StatusAccepted, map[string]int{"accepted": len(events)})
}

func (a *API) account(w http.ResponseWriter, r *http.Request) {
	user, err := a.User(r)
	if err == nil && user == "" {
		refuse(w, http.StatusBadRequest, "user: whose account?")
		return
	}
	if err != nil {
		refuse(w, http.StatusUnauthorized, err.Error())
		return
	}
	account, err := a.Desk.Account(r.Context(), user)
	answer(w, account, err)
}

func (a *API) leaders(w http.ResponseWriter, r *http.Request) {
	user, err := a.User(r)
	if err != nil {
		refuse(w, http.StatusUnauthorized, err.Error())
		return
	}
	v := r.URL.Query()
	q := reward.Query{Team: v.Get("team"), Period: v.Get("period")}
	var faults []string
	number := func(name string, otherwise int, to *int) {
		*to = otherwise
		if text := v.Get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 || n > reward.MaxLeaders {
				faults = append(faults, fmt.Sprintf("%s: %.20q is not from 0 to %d", name, text, reward.MaxLeaders))
			}
			*to = n
		}
	}
	number("limit", defaultTop, &q.Limit)
	number("around", 0, &q.Around)
	q.Period = a.period(q.Period)
	if user == "" || q.Team == "" {
		faults = append(faults, "user and team: whose view of which team?")
	}
	if len(faults) > 0 {
		refuse(w, http.StatusBadRequest, strings.Join(faults, "; "))
		return
	}
	leaders, err := a.Desk.Leaders(r.Context(), user, q)
	answer(w, leaders, err)
}

// period makes the present one of week and month, and all of nothing.
func (a *API) period(name string) string {
	now := reward.Periods(reward.DayOf(a.Now().UnixMilli()))
	switch name {
	case "":
		return now[0]
	case "week":
		return now[1]
	case "month":
		return now[2]
	}
	return name
}

func answer(w http.ResponseWriter, v any, err error) {
	switch {
	case errors.Is(err, reward.ErrNotFound):
		refuse(w, http.StatusNotFound, "there is no such thing, or not for you")
	case err != nil:
		refuse(w, http.StatusInternalServerError, "the database does not answer: ask again")
	default:
		reply(w, http.StatusOK, v)
	}
}

func refuse(w http.ResponseWriter, code int, text string) {
	type fault struct {
		Code int    `json:"code"`
		Text string `json:"text"`
	}
	reply(w, code, map[string]fault{"error": {code, text}})
}

func reply(w http.ResponseWriter, code int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		code, data = http.StatusInternalServerError, []byte(`{"error":{"code":500,"text":"the answer cannot be written"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(data, '\n')) // who does not wait for it has gone
}

// Add puts events of other applications into the queue: [ErrFull] when it has as many as it should have.
func (w *Worker) Add(ctx context.Context, events []Event) error {
	if w.metrics.lag.Load() >= Room {
		return ErrFull
	}
	return Add(ctx, w.client, events)
}
