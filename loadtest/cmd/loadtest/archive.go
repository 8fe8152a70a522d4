package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	"github.com/millracehq/millrace/loadtest"
)

// An archive has the scenario as it was written, and what was given with -e.
const (
	archivedScenario = "scenario.yaml"
	archivedMetadata = "metadata.json"
	maxScenario      = 1 << 20 // bytes
)

type metadata struct {
	Version string            `json:"loadtest_version"`
	Name    string            `json:"name"`
	Env     map[string]string `json:"env"`
}

// read reads a scenario: a file, an archive with its variables, or one that comes with the program.
func read(name string) (text []byte, env map[string]string, err error) {
	text, err = os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		if shipped, ok := loadtest.ShippedScenario(name); ok {
			return shipped, nil, nil
		}
		return nil, nil, fmt.Errorf("%w, and no scenario of this name comes with the program; there are %s", err, strings.Join(loadtest.Shipped(), ", "))
	}
	if err != nil || !strings.HasSuffix(name, ".tar") {
		return text, nil, err
	}
	if text, env, err = unpack(text); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return text, env, nil
}

func unpack(archive []byte) (text []byte, env map[string]string, err error) {
	var meta metadata
	files := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		b, err := io.ReadAll(io.LimitReader(files, maxScenario))
		if err != nil {
			return nil, nil, err
		}
		switch h.Name {
		case archivedScenario:
			text = b
		case archivedMetadata:
			if err := json.Unmarshal(b, &meta); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", h.Name, err)
			}
		}
	}
	if text == nil {
		return nil, nil, fmt.Errorf("there is no %s in it: it is no archive of loadtest", archivedScenario)
	}
	return text, meta.Env, nil
}

// archive checks a scenario and packs it.
func (p program) archive(args []string) int {
	out := "archive.tar"
	for i := 0; i+1 < len(args); i++ {
		if args[i] == "-O" || args[i] == "--archive-out" {
			out = args[i+1]
			args = append(args[:i:i], args[i+2:]...)
		}
	}
	set, file, exit, done := p.parse("archive", args)
	if done {
		return exit
	}
	if _, exit, err := set.scenario(file); err != nil {
		return p.fail(exit, err)
	}
	text, env, err := read(file)
	if err != nil {
		return p.fail(loadtest.ExitNoFile, err)
	}
	if env == nil {
		env = make(map[string]string)
	}
	maps.Copy(env, set.env)
	meta, err := json.MarshalIndent(metadata{version, file, env}, "", "  ")
	if err == nil {
		err = pack(out, text, meta)
	}
	if err != nil {
		return p.fail(loadtest.ExitStart, err)
	}
	fmt.Fprintf(p.stderr, "wrote %s; run it with: loadtest run %s\n", out, out)
	return loadtest.ExitOK
}

func pack(file string, text, meta []byte) error {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := errors.Join(add(w, archivedScenario, text), add(w, archivedMetadata, meta), w.Close())
	if err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o600) // -e may have had a token
}

func add(w *tar.Writer, name string, b []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(b))}); err != nil {
		return err
	}
	_, err := w.Write(b)
	return err
}
