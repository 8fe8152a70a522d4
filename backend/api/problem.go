package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/millracehq/millrace/backend/store"
)

// Problem is an error as its client sees it (RFC 9457).
type Problem struct {
	Type      string `json:"type"` // urn:millrace:problem:…, for programs
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Hint      string `json:"hint"`              // what to do
	RequestID string `json:"request_id"`        // for the log
	Current   any    `json:"current,omitempty"` // what it is now, where If-Match names another version
}

func (p *Problem) Error() string { return p.Detail }

func problem(status int, kind, detail, hint string) *Problem {
	return &Problem{Type: "urn:millrace:problem:" + kind, Title: http.StatusText(status), Status: status, Detail: detail, Hint: hint}
}

func malformed(detail, hint string) *Problem {
	return problem(http.StatusBadRequest, "malformed", detail, hint)
}

// problemOf is what an error is to a client. Those of the database are logged and not told.
func problemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if version, ok := errors.AsType[*store.VersionError](err); ok {
		p := problem(http.StatusPreconditionFailed, "version", "it was changed meanwhile", "look at current, and repeat with its version in If-Match")
		p.Current = version.Current
		return p
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return problem(http.StatusNotFound, "not-found", "it does not exist, or not for you", "check the ID, or ask an owner of the workspace to let you in")
	case errors.Is(err, store.ErrDenied):
		return problem(http.StatusForbidden, "denied", "you may see this and not do that", "ask an owner of the workspace for a role that may")
	case errors.Is(err, store.ErrExists):
		return problem(http.StatusConflict, "exists", "the ID is taken", "take another one; a random one is best")
	case errors.Is(err, store.ErrLastOwner):
		return problem(http.StatusConflict, "last-owner", err.Error(), "make somebody else an owner first")
	case errors.Is(err, context.DeadlineExceeded):
		return problem(http.StatusServiceUnavailable, "too-slow", "it took too long", "try again, or ask for less")
	}
	return problem(http.StatusServiceUnavailable, "unavailable", "the server cannot do this now", "try again; with the same request, it is safe")
}

// fail answers with a problem, or cuts the connection where the answer has begun.
func (a *API) fail(c *call, route string, err error) {
	p := problemOf(err)
	if p.Status >= 500 && c.r.Context().Err() == nil || p.Type == "urn:millrace:problem:too-slow" {
		a.cfg.Logger.Error("a request has failed", "route", route, "request_id", c.id, "user", c.user, "error", err)
	}
	if c.status != 0 {
		panic(http.ErrAbortHandler)
	}
	answer := *p
	answer.RequestID = c.id
	if answer.Status == http.StatusServiceUnavailable {
		c.header("Retry-After", "1")
	}
	body, err := encode(answer)
	if err != nil {
		body = nil
	}
	c.header("Content-Type", "application/problem+json")
	c.header("Cache-Control", "no-store")
	c.write(answer.Status, body)
}
