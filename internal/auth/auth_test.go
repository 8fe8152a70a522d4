package auth

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// Patterns against the naive model: a regular expression.
func TestMatchAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	word := func(alphabet string, n int) string {
		b := make([]byte, rng.IntN(n))
		for i := range b {
			b[i] = alphabet[rng.IntN(len(alphabet))]
		}
		return string(b)
	}
	hits := 0
	for range 50_000 {
		pattern, s := word("ab*", 7), word("ab", 9)
		model := regexp.MustCompile("^" + strings.ReplaceAll(pattern, "*", ".*") + "$")
		got := match(pattern, []byte(s))
		if got != model.MatchString(s) {
			t.Fatalf("pattern %q, channel %q: %v", pattern, s, got)
		}
		if got {
			hits++
		}
	}
	if hits < 1000 {
		t.Fatalf("only %d hits: the test shows little", hits)
	}
}

// What was packed against what it was packed from.
func TestIdentityAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	channels := []string{"a", "b:1", "b:2", strings.Repeat("x", 128)}
	for range 2000 {
		var grants Grants
		for range rng.IntN(4) {
			g := Grant{Match: channels[rng.IntN(len(channels))], allow: Action(rng.IntN(int(All) + 1))}
			if rng.IntN(3) == 0 {
				g.Match = strings.Repeat("*", rng.IntN(300)) + g.Match
			}
			grants = append(grants, g)
		}
		user := strings.Repeat("u", 1+rng.IntN(maxUser))
		id := NewIdentity(user, grants)
		if id.User() != user {
			t.Fatalf("user %q", id.User())
		}
		for _, ch := range channels {
			for _, a := range []Action{Sub, Pub, Req, Who} {
				want := false
				for _, g := range grants {
					want = want || g.allow&a != 0 && match(g.Match, []byte(ch))
				}
				if id.May(a, []byte(ch)) != want {
					t.Fatalf("%v: %d on %q is %v", grants, a, ch, !want)
				}
			}
		}
	}
}

func TestMayDoesNotAllocate(t *testing.T) {
	id := NewIdentity("ann", Grants{{Match: "a*b*c", allow: Sub}, {Match: "board:*", allow: Pub}})
	channel := []byte("board:1234567890")
	if n := testing.AllocsPerRun(1000, func() {
		if !id.May(Pub, channel) || id.May(Sub, channel) {
			t.Fatal("wrong answer")
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
