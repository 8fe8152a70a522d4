package strict

import "testing"

func TestYAML(t *testing.T) {
	var v struct{ A []string }
	if err := YAML([]byte("a: [x]"), &v); err != nil || len(v.A) != 1 {
		t.Errorf("%v, %v", v, err)
	}
	for _, text := range []string{"b: 1", "a: !00000 000000000", "a: ["} {
		if err := YAML([]byte(text), &v); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
