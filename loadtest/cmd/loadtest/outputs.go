package main

import (
	"fmt"
	"strings"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/page"
	"github.com/millracehq/millrace/loadtest/internal/remote"
)

// newOutput makes the output that --out names, as k6 does: NAME or NAME=ARGUMENT.
func newOutput(spec string) (loadtest.Output, error) {
	name, arg, _ := strings.Cut(spec, "=")
	switch name {
	case "json":
		return newJSONLines(arg)
	case "csv":
		return newCSVLines(arg)
	case "html":
		return page.NewFile(arg)
	case "hdr":
		return newHDRFiles(arg)
	case "prometheus-rw":
		return remote.New(arg)
	}
	return nil, fmt.Errorf("--out %s: there is no output %q; there are json=FILE, csv=FILE, html=FILE, hdr=NAME and prometheus-rw=URL", spec, name)
}
