package contest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/millracehq/millrace/bench/internal/dialect"
)

// Variant is direct with something changed, read from "NAME: WORD…". A word with "=" that does not begin with "-" is a variable of the
// environment, bin=PATH is another build of the gateway, everything else goes to its command line:
//
//	six: --loops 6
//	gogc50: GOGC=50
//	before: bin=/tmp/gateway
func Variant(text string) (c Contestant, err error) {
	name, rest, _ := strings.Cut(text, ":")
	name = strings.TrimSpace(name)
	words := strings.Fields(rest)
	if name == "" || len(words) == 0 || strings.ContainsAny(name, " |/") {
		return c, fmt.Errorf(`%q is no variant: it is "NAME: WORD…", for instance "gogc50: GOGC=50" or "six: --loops 6"`, text)
	}
	if slices.ContainsFunc(All(), func(c Contestant) bool { return c.Name == name }) {
		return c, fmt.Errorf("variant %q: there is a contestant of that name", name)
	}
	c = Contestant{Name: name, About: "direct with " + strings.Join(words, " "), Dialect: dialect.Millrace{Namespace: "direct"}, program: gatewayProgram, redis: true}
	for _, w := range words {
		key, value, assigned := strings.Cut(w, "=")
		switch {
		case !assigned || strings.HasPrefix(w, "-"):
			c.args = append(c.args, w)
		case key == "bin":
			c.binary = value
		default:
			c.env = append(c.env, w)
		}
	}
	return c, nil
}
