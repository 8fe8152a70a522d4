package main

import (
	"fmt"
	"strings"

	"github.com/millracehq/millrace/loadtest"
)

// newOutput makes the output that --out names, as k6 does: NAME or NAME=ARGUMENT.
func newOutput(spec string) (loadtest.Output, error) {
	name, arg, _ := strings.Cut(spec, "=")
	if name == "json" {
		return newJSONLines(arg)
	}
	return nil, fmt.Errorf("--out %s: there is no output %q; there is json=FILE", spec, name)
}
