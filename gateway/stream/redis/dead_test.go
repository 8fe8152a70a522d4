package redis

import (
	"errors"
	"strings"
	"testing"
)

func TestReasonIsOneShortLine(t *testing.T) {
	for text, want := range map[string]string{
		" a\nb\t\xff ":                 "a b ?",
		"\n":                           "unknown",
		"x" + strings.Repeat("é", 500): "x" + strings.Repeat("é", (maxReason-1)/2),
	} {
		if got := Reason(errors.New(text)); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
