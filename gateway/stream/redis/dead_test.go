package redis

import (
	"errors"
	"strings"
	"testing"
)

func TestReasonIsOneShortLine(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{" a\nb\t\xff ", "a b ?"},
		{"\n", "unknown"},
		{"x" + strings.Repeat("é", 500), "x" + strings.Repeat("é", (maxReason-1)/2)},
	} {
		if got := Reason(errors.New(tc.text)); got != tc.want {
			t.Errorf("%q is %q, want %q", tc.text, got, tc.want)
		}
	}
}
