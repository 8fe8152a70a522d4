package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

const (
	slowestDefault = 20
	slowestMost    = 1000
	slowestWait    = 2 * time.Second
)

// slowest answers ?n=N, of 1 to 1,000, with what ask returns for it, as JSON; 400 for another n, 503 when ask has no answer within 2 s.
func slowest(ask func(ctx context.Context, n int) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		n := slowestDefault
		if text := req.URL.Query().Get("n"); text != "" {
			var err error
			if n, err = strconv.Atoi(text); err != nil || n < 1 || n > slowestMost {
				http.Error(w, "n: want a number of 1 to "+strconv.Itoa(slowestMost), http.StatusBadRequest)
				return
			}
		}
		ctx, done := context.WithTimeout(req.Context(), slowestWait)
		defer done()
		list, err := ask(ctx, n)
		if err != nil {
			http.Error(w, "the loops do not answer: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		_ = out.Encode(list) // an error: the one who asked has gone
	}
}
