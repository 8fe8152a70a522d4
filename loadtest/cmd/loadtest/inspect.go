package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	_ "embed"

	"github.com/millracehq/millrace/loadtest"
)

//go:embed template.yaml
var template []byte

// inspect checks a scenario and prints it as it would run.
func (p program) inspect(args []string) int {
	set, file, exit, done := p.parse("inspect", args)
	if done {
		return exit
	}
	sc, exit, err := set.scenario(file)
	if err != nil {
		return p.fail(exit, err)
	}
	enc := json.NewEncoder(p.stdout)
	enc.SetEscapeHTML(false) // thresholds have < and > in them
	enc.SetIndent("", "  ")
	err = enc.Encode(struct {
		*loadtest.Scenario
		Needs loadtest.Needs `json:"needs"`
	}{sc.Resolved(), sc.Resolved().Needs()})
	if err != nil {
		return p.fail(loadtest.ExitStart, err)
	}
	return loadtest.ExitOK
}

// new writes a scenario to start from.
func (p program) new(args []string) int {
	if len(args) == 0 {
		if _, err := p.stdout.Write(template); err != nil {
			return p.fail(loadtest.ExitStart, err)
		}
		return loadtest.ExitOK
	}
	if len(args) > 1 || args[0] == "" || args[0][0] == '-' {
		fmt.Fprintln(p.stdout, "Usage: loadtest new [FILE]\n\nWrites a commented scenario to FILE, which must not exist yet, or to standard output.")
		if args[0] == "-h" || args[0] == "--help" || args[0] == "-help" {
			return loadtest.ExitOK
		}
		return loadtest.ExitConfig
	}
	f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return p.fail(loadtest.ExitStart, err)
	}
	_, err = f.Write(template)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return p.fail(loadtest.ExitStart, err)
	}
	fmt.Fprintf(p.stderr, "wrote %s; run it with: %s run %s\n", args[0], filepath.Base(os.Args[0]), args[0])
	return loadtest.ExitOK
}
