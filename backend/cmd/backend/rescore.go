package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/backend/reward"
)

const rescoreUsage = `backend rewards rescore computes all points anew from what has happened, by other rules or, to see that nothing is
wrong, by the same. It prints who has how much before and after, and how many that are.

usage: backend rewards rescore [--rules FILE] [--dry-run] [--json] --database ADDRESS

Without --rules, the rules are those of this program. With --dry-run nothing is written. Without it counting waits until
all is written; what was unlocked stays unlocked. docs/REWARDS.md says what rules can say.

`

// runRescore is backend rewards rescore.
func runRescore(ctx context.Context, args []string, env func(string) (string, bool), stdout, stderr io.Writer) int {
	var o struct {
		database, rules string
		dry, json       bool
	}
	f := flag.NewFlagSet("backend rewards rescore", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.database, "database", "", "`address` of the rewards: sqlite:FILE or postgres://USER@HOST/NAME")
	f.StringVar(&o.rules, "rules", "", "`file` of the rules")
	f.BoolVar(&o.dry, "dry-run", false, "write nothing")
	f.BoolVar(&o.json, "json", false, "print JSON")
	err := setFromEnv(f, env, "rules", "dry-run", "json")
	err = errors.Join(err, f.Parse(args))
	if errors.Is(err, errHelp) {
		io.WriteString(stdout, rescoreUsage+flagLines(f))
		return exitOK
	}
	if err == nil && (f.NArg() > 0 || o.database == "") {
		err = errors.New("say --database ADDRESS, and nothing but flags")
	}
	rules, errRules := readRules(o.rules)
	if err = errors.Join(err, checkDatabase(o.database), errRules); err != nil {
		fmt.Fprintf(stderr, "backend rewards rescore: %v\nbackend rewards rescore --help explains it\n", err)
		return exitUsage
	}
	if err := rescore(ctx, o.database, rules, o.dry, o.json, stdout); err != nil {
		fmt.Fprintf(stderr, "backend rewards rescore: %v\n", err)
		return exitError
	}
	return exitOK
}

func rescore(ctx context.Context, database string, rules *reward.Rules, dry, asJSON bool, stdout io.Writer) error {
	kept, err := openRewards(ctx, database, "", rules, metrics.NewSet())
	if err != nil {
		return fmt.Errorf("--database: %w", err)
	}
	defer kept.close()
	got, err := kept.counter.Rescore(ctx, rules, dry)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(stdout).Encode(got)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "USER\tBEFORE\tAFTER\tUNLOCKS")
	for _, d := range got.Diffs {
		fmt.Fprintf(w, "%s\t%v\t%v\t%d\n", cell(d.User), d.Old, d.New, len(d.Unlocks))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	what := "written"
	if dry {
		what = "a dry run: nothing was written"
	}
	_, err = fmt.Fprintf(stdout, "rules %s: %d events, %d of %d users differ (%s)\n", got.Rules, got.Facts, len(got.Diffs), got.Users, what)
	return err
}

// readRules reads a file of rules; without one they are the program's.
func readRules(path string) (*reward.Rules, error) {
	if path == "" {
		return reward.BuiltIn(), nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	rules, err := reward.ParseRules(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rules, nil
}
