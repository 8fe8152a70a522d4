package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/page"
)

func (p program) run(ctx context.Context, args []string) int {
	set, file, exit, done := p.parse("run", args)
	if done {
		return exit
	}
	sc, exit, err := set.scenario(file)
	if err != nil {
		return p.fail(exit, err)
	}
	level := slog.LevelInfo
	if set.verbose {
		level = slog.LevelDebug
	}
	options := loadtest.Options{Name: file, Version: version, Command: public(append([]string{"run"}, args...)), Logger: p.logger(level)}
	if !set.quiet {
		options.Progress, options.Terminal = p.stderr, isTerminal(p.stderr)
	}
	if set.onCut != "" {
		options.OnCut = p.command(set.onCut)
	}
	if set.phases != "" {
		phases, err := p.create(set.phases)
		if err != nil {
			return p.fail(loadtest.ExitStart, err)
		}
		defer phases.Close()
		options.Phases = phases
	}
	if set.agents != "" {
		options.Agents = strings.Split(set.agents, ",")
	}
	for _, spec := range set.out {
		o, err := newOutput(spec)
		if err != nil {
			return p.fail(loadtest.ExitConfig, err)
		}
		options.Outputs = append(options.Outputs, o)
	}
	if set.web != "" {
		view, err := page.Serve(set.web)
		if err != nil {
			return p.fail(loadtest.ExitConfig, err)
		}
		fmt.Fprintf(p.stderr, "live view: %s\n", view.URL())
		options.Outputs = append(options.Outputs, view)
	}
	report, incomplete := loadtest.Run(ctx, sc, options)
	if report == nil {
		return p.fail(exitOf(incomplete), incomplete)
	}
	colour := !set.noColor && os.Getenv("NO_COLOR") == "" && isTerminal(p.stdout)
	err = errors.Join(
		incomplete,
		report.WriteSummary(p.stdout, colour),
		p.write(set.json, report.WriteJSON),
		p.write(set.export, report.WriteExport),
		p.write(set.ledger, report.WriteLedger),
	)
	if err != nil {
		p.fail(0, err)
		if report.ExitCode == loadtest.ExitOK {
			return loadtest.ExitStart
		}
	}
	return report.ExitCode
}

// command runs a line of sh, whose output goes to standard error.
func (p program) command(line string) func(context.Context) error {
	return func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, "sh", "-c", line)
		cmd.Stdout, cmd.Stderr = p.stderr, p.stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
		return nil
	}
}

// write writes one of the reports; no file, no report.
func (p program) write(file string, report func(io.Writer) error) error {
	if file == "" {
		return nil
	}
	w, err := p.create(file)
	if err != nil {
		return err
	}
	if err := report(w); err != nil {
		w.Close()
		return fmt.Errorf("%s: %w", file, err)
	}
	return w.Close()
}

// create opens a file for writing; "-" is standard output, and a descriptor or a pipe is taken as it is.
func (p program) create(file string) (io.WriteCloser, error) {
	if file == "-" {
		return nopCloser{p.stdout}, nil
	}
	return os.Create(file)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
