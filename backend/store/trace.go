package store

import (
	"context"
	"strings"
)

type traceKey struct{}

// WithTrace has what a call does to the database be known by a W3C traceparent, where the database has a place for it.
func WithTrace(ctx context.Context, traceparent string) context.Context {
	if !ValidTrace(traceparent) {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, traceparent)
}

// Trace is what [WithTrace] has set, or "".
func Trace(ctx context.Context) string {
	s, _ := ctx.Value(traceKey{}).(string)
	return s
}

// ValidTrace reports whether a text is a traceparent of version 00 (W3C Trace Context, 3.2): VERSION-TRACE-PARENT-FLAGS, in lower-case
// hexadecimal digits, neither ID all zeros.
func ValidTrace(s string) bool {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return false
	}
	trace, parent, flags := s[3:35], s[36:52], s[53:]
	return strings.Trim(trace+parent+flags, "0123456789abcdef") == "" && strings.Trim(trace, "0") != "" && strings.Trim(parent, "0") != ""
}
