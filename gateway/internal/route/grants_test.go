package route

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// The grants against a model that forgets nothing but what it must.
func TestGrantsAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var g grants
	model := map[string]uint32{}
	now, hits := uint32(1), 0
	for range 50_000 {
		user, channel := fmt.Sprint("u", rng.IntN(9)), fmt.Sprint("c", rng.IntN(9))
		if rng.IntN(9) == 0 {
			channel = ""
		}
		key := user + " " + channel
		switch rng.IntN(12) {
		case 0:
			now++
			g.expire(now)
		case 1:
			g.drop(user, channel)
			delete(model, key)
		case 2:
			if rng.IntN(10) == 0 {
				g.dropAll(user)
				for key := range model {
					if strings.HasPrefix(key, user+" ") {
						delete(model, key)
					}
				}
			}
		case 3, 4:
			until := now + rng.Uint32N(20)
			g.add(user, channel, until, now)
			model[key] = until
		default:
			if got, want := g.has(user, channel, now), model[key] > now; got != want {
				t.Fatalf("%s at %d: %v, want %v", key, now, got, want)
			} else if got {
				hits++
			}
		}
	}
	if hits < 1000 {
		t.Fatalf("%d hits: the test shows little", hits)
	}
}

func TestGrantsAreBounded(t *testing.T) {
	var g grants
	for i := range 2 * maxGrants {
		g.add("u", fmt.Sprint("c", i), 100, 1)
		if !g.has("u", fmt.Sprint("c", i), 1) {
			t.Fatal("the newest has gone")
		}
	}
	if len(g.until) > maxGrants {
		t.Fatalf("%d are kept", len(g.until))
	}
}

func TestTTL(t *testing.T) {
	for body, want := range map[string]uint32{
		"": 0, "{}": 0, "ok": 0, "60000": 0, `{"ttl_ms":"60000"}`: 0, `{"ttl_ms":-1}`: 0, `{"ttl_ms":0}`: 0, `{"ttl_ms":null}`: 0, "[": 0,
		`{"ttl_ms":999}`: 0, `{"ttl_ms":1500,"more":1}`: 1, `{"ttl_ms":60000}`: 60, `{"ttl_ms":1e300}`: maxTTL,
	} {
		if got := ttl(body); got != want {
			t.Errorf("%s: %d s, want %d", body, got, want)
		}
	}
}

func FuzzTTL(f *testing.F) {
	f.Add(`{"ttl_ms":60000}`)
	f.Fuzz(func(t *testing.T, body string) {
		if n := ttl(body); n > maxTTL {
			t.Fatal(n)
		}
	})
}
