package main

import (
	"fmt"
	"strings"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/page"
)

// newOutput makes the output that --out names, as k6 does: NAME or NAME=ARGUMENT.
func newOutput(spec string) (loadtest.Output, error) {
	name, arg, _ := strings.Cut(spec, "=")
	switch name {
	case "json":
		return newJSONLines(arg)
	case "html":
		return page.NewFile(arg)
	}
	return nil, fmt.Errorf("--out %s: there is no output %q; there are json=FILE and html=FILE", spec, name)
}
