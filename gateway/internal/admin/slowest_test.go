package admin

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestSlowest(t *testing.T) {
	var fail error
	h := slowest(func(_ context.Context, n int) (any, error) { return []int{n}, fail })
	f := func(query string, status int, want string) {
		t.Helper()
		w := httptest.NewRecorder()
		h(w, httptest.NewRequest("GET", "/debug/slowest"+query, nil))
		if got := strings.Join(strings.Fields(w.Body.String()), " "); w.Code != status || !strings.Contains(got, want) {
			t.Errorf("%s: %d %q, want %d %q", query, w.Code, got, status, want)
		}
	}
	f("", 200, "[ 20 ]")
	f("?n=1000", 200, "[ 1000 ]")
	for _, bad := range []string{"?n=0", "?n=1001", "?n=-1", "?n=x"} {
		f(bad, 400, "1 to 1000")
	}
	fail = errors.New("stuck")
	f("", 503, "stuck")
}
