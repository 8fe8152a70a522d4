package store

import (
	"strings"
	"testing"
)

func TestTrace(t *testing.T) {
	t.Parallel()
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for text, want := range map[string]bool{
		good: true, "": false, good + "0": false, "01" + good[2:]: false, strings.ToUpper(good): false, strings.Replace(good, "4bf", "';-", 1): false,
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01": false, "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01": false,
		strings.Replace(good, "-01", "_01", 1): false,
	} {
		if got := ValidTrace(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
		if got := Trace(WithTrace(t.Context(), text)); (got == text && text != "") != want {
			t.Errorf("%q in a context: %q", text, got)
		}
	}
}
