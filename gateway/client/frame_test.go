package client

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestParseFrame reads the golden frames that the gateway's own parser is tested with.
func TestParseFrame(t *testing.T) {
	var vectors struct {
		Pushes []struct {
			Frame, Verb, Body string
			Tokens            []string
		}
	}
	b, err := os.ReadFile("../protocol/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Pushes) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range vectors.Pushes {
		f := parseFrame(false, []byte(v.Frame))
		if f.Verb() != v.Verb || f.text(1) != strings.Join(v.Tokens, " ") || string(f.Body) != v.Body {
			t.Errorf("%q: verb %q, text %q, body %q", v.Frame, f.Verb(), f.text(1), f.Body)
		}
		for i, token := range v.Tokens {
			if f.token(i+1) != token {
				t.Errorf("%q: token %d is %q, want %q", v.Frame, i+1, f.token(i+1), token)
			}
		}
	}
}
