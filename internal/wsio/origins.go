package wsio

import (
	"fmt"
	"net/url"
	"strings"
)

// Origins are the web pages that may connect, as browsers name them in the header Origin (RFC 6454 section 7), in
// lower case: https://app.example, or https://*.example for all hosts below one. Empty means all. Programs that are
// no browser send none and may connect.
type Origins []string

// ParseOrigins checks a list and brings it into the form of Origins.
func ParseOrigins(list []string) (Origins, error) {
	var all Origins
	for _, s := range list {
		o := strings.ToLower(strings.TrimSpace(s))
		u, err := url.Parse(o)
		if o != "null" && (err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != o || strings.Contains(strings.TrimPrefix(u.Host, "*."), "*")) {
			return nil, fmt.Errorf("%q is not SCHEME://HOST or SCHEME://HOST:PORT, the host perhaps with *. before it", s)
		}
		all = append(all, o)
	}
	return all, nil
}

func (o Origins) allow(origin string) bool {
	if len(o) == 0 {
		return true
	}
	origin = strings.ToLower(origin)
	for _, allowed := range o {
		scheme, host, wild := strings.Cut(allowed, "://*.")
		if origin == allowed && !wild {
			return true
		}
		if rest, ok := strings.CutPrefix(origin, scheme+"://"); wild && ok && len(rest) > len(host)+1 && strings.HasSuffix(rest, "."+host) && !strings.ContainsAny(rest, "/@") {
			return true
		}
	}
	return false
}
