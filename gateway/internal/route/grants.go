package route

import (
	"encoding/json"
	"strings"
)

const (
	maxGrants = 1 << 14 // of a loop
	maxTTL    = 86_400  // seconds
)

// grants are what the backend has allowed for a while: to subscribe to a channel, or with "" for the channel to be connected. Bound: maxGrants;
// policy: any one goes, and is asked for again; metric: Stats.Grants. It belongs to a loop; the zero value is empty.
type grants struct {
	until map[string]uint32 // tick
	key   []byte            // scratch
}

// of is the key: neither has a blank.
func (g *grants) of(user, channel string) []byte {
	g.key = append(append(append(g.key[:0], user...), ' '), channel...)
	return g.key
}

func (g *grants) has(user, channel string, now uint32) bool {
	if len(g.until) == 0 {
		return false
	}
	until, ok := g.until[string(g.of(user, channel))]
	if ok && until <= now {
		delete(g.until, string(g.key))
	}
	return ok && until > now
}

func (g *grants) add(user, channel string, until, now uint32) {
	if g.until == nil {
		g.until = map[string]uint32{}
	}
	key := string(g.of(user, channel))
	if _, there := g.until[key]; !there && len(g.until) >= maxGrants {
		for other, at := range g.until { // the map gives them in no order
			delete(g.until, other)
			if at > now {
				break
			}
		}
	}
	g.until[key] = until
}

func (g *grants) drop(user, channel string) { delete(g.until, string(g.of(user, channel))) }

// dropAll forgets all of a user's.
func (g *grants) dropAll(user string) {
	for key := range g.until {
		if of, _, _ := strings.Cut(key, " "); of == user {
			delete(g.until, key)
		}
	}
}

// expire forgets what is over.
func (g *grants) expire(now uint32) {
	for key, until := range g.until {
		if until <= now {
			delete(g.until, key)
		}
	}
}

// ttl is for how many seconds a grant is to be remembered, rounded down, from its body: {"ttl_ms":60000}. Anything else says not at all.
func ttl(body string) uint32 {
	var says struct {
		TTL float64 `json:"ttl_ms"`
	}
	if body == "" || json.Unmarshal([]byte(body), &says) != nil || says.TTL < 1000 {
		return 0
	}
	return uint32(min(says.TTL/1000, maxTTL))
}
