package contest

import (
	"slices"
	"strings"
	"testing"
)

func TestVariant(t *testing.T) {
	c, err := Variant("many things: GOGC=50 --loops 2 --node=x bin=/tmp/gateway")
	if err == nil {
		t.Errorf("a name with a space is taken: %+v", c)
	}
	c, err = Variant("many: GOGC=50 --loops 2 --node=x bin=/tmp/gateway")
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "many" || !slices.Equal(c.env, []string{"GOGC=50"}) || !slices.Equal(c.args, []string{"--loops", "2", "--node=x"}) || c.binary != "/tmp/gateway" || !c.redis {
		t.Errorf("%+v", c)
	}
	for _, text := range []string{"", "gogc", "gogc:", ": GOGC=50", "direct: GOGC=50"} {
		if _, err := Variant(text); err == nil || !strings.Contains(err.Error(), "variant") {
			t.Errorf("%q: error %v, want one that says what a variant is", text, err)
		}
	}
}
