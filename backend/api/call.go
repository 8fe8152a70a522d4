package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/millracehq/millrace/backend/board"
)

// call is one request on its way.
type call struct {
	w       http.ResponseWriter
	r       *http.Request
	id      string
	user    string
	expires time.Time // of the token
	status  int       // 0 until something is written
}

// handler is what all routes have in common.
func (a *API) handler(r route) http.Handler {
	name := strings.TrimSpace(r.method + " " + r.path)
	seconds := a.cfg.Metrics.GetOrCreateHistogram(fmt.Sprintf("millrace_api_seconds{route=%q}", name))
	limit := r.time
	if limit == 0 {
		limit = timeLimit
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(req.Context(), limit)
		defer cancel()
		c := &call{w: w, r: req.WithContext(ctx), id: requestID(req)}
		c.header("X-Request-Id", c.id)
		c.header("X-Content-Type-Options", "nosniff")
		c.header("Cache-Control", "no-store") // unless the route says otherwise
		until := http.NewResponseController(w)
		_ = until.SetReadDeadline(start.Add(limit)) // an error: a writer without a connection, in tests
		_ = until.SetWriteDeadline(start.Add(limit + writeTimeout))
		defer func() { // also when the connection is cut
			seconds.UpdateDuration(start)
			a.cfg.Metrics.GetOrCreateCounter(fmt.Sprintf("millrace_api_requests_total{route=%q,code=\"%d\"}", name, c.status)).Inc()
		}()
		if err := a.answer(r, c); err != nil {
			a.fail(c, name, err)
		}
	})
}

func (a *API) answer(r route, c *call) error {
	select {
	case a.together <- struct{}{}:
		defer func() { <-a.together }()
	default:
		c.header("Retry-After", "1")
		return problem(http.StatusServiceUnavailable, "busy", fmt.Sprintf("more than %d requests at a time", maxTogether), "try again in a second")
	}
	if !r.open {
		if err := a.authenticate(c); err != nil {
			return err
		}
	}
	return r.handle(c)
}

// authenticate takes the user from the token.
func (a *API) authenticate(c *call) error {
	scheme, token, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		c.header("WWW-Authenticate", `Bearer realm="millrace"`)
		return problem(http.StatusUnauthorized, "unauthorized", "there is no token", "send the header Authorization: Bearer TOKEN")
	}
	id, expires, err := a.cfg.Verifier.Verify(strings.TrimSpace(token))
	if err != nil {
		c.header("WWW-Authenticate", `Bearer realm="millrace", error="invalid_token"`)
		return problem(http.StatusUnauthorized, "unauthorized", err.Error(), "sign in again")
	}
	c.user, c.expires = id.User(), expires
	if len(c.user) > maxUser {
		return problem(http.StatusForbidden, "denied", fmt.Sprintf("a user's name has at most %d bytes here", maxUser), "sign in as somebody else")
	}
	return nil
}

// requestID is what the client calls its request, if that is short and plain, else a new name.
func requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); board.ValidID(id) {
		return id
	}
	return rand.Text()
}

func (c *call) ctx() context.Context { return c.r.Context() }

func (c *call) header(name, value string) { c.w.Header().Set(name, value) }

// write answers with a body. An error of it is the client's, who has gone.
func (c *call) write(status int, body []byte) {
	c.status = status
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body)
}

// json answers with a value.
func (c *call) json(status int, v any) error {
	body, err := encode(v)
	if err != nil {
		return err
	}
	c.header("Content-Type", "application/json")
	c.write(status, body)
	return nil
}

// encode is JSON without the escapes that only HTML needs, and with a line feed.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// read reads the body, which is one JSON object without unknown members.
func (c *call) read(v any) error {
	d := json.NewDecoder(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is something behind the object")
		}
	}
	return bodyError(err)
}

func bodyError(err error) error {
	if err == nil {
		return nil
	}
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problem(http.StatusRequestEntityTooLarge, "too-large", fmt.Sprintf("the body has more than %d bytes", large.Limit), "send less at a time")
	}
	return problem(http.StatusBadRequest, "malformed", "the body cannot be read: "+err.Error(), "openapi.json says what it must be")
}
