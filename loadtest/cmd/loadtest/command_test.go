package main

import (
	"strings"
	"testing"
)

func TestPublicHasNoSecrets(t *testing.T) {
	for args, want := range map[string]string{
		"run a.yaml -q":                       "loadtest run a.yaml -q",
		"run -e TOKEN=secret a.yaml":          "loadtest run -e TOKEN=… a.yaml",
		"run --env TOKEN=secret -e A=b":       "loadtest run --env TOKEN=… -e A=…",
		"run --env=TOKEN=secret a":            "loadtest run --env=TOKEN=… a",
		"run -e=TOKEN=secret a":               "loadtest run -e=TOKEN=… a",
		"run --url ws://h:1/ws?token=secret":  "loadtest run --url ws://h:1/ws?…",
		"run --url=ws://u:secret@h:1/ws":      "loadtest run --url=ws://…@h:1/ws",
		"--target-redis redis://:secret@h:1":  "loadtest --target-redis redis://…@h:1",
		"--out prometheus-rw=http://a:s@h/w":  "loadtest --out prometheus-rw=http://…@h/w",
		"--url ws://h\x7f:secret@x/":          "loadtest --url ws://…",
		"-e -e":                               "loadtest -e -e=…",
		"run --out json=out.json --rate 5 --": "loadtest run --out json=out.json --rate 5 --",
	} {
		if got := strings.Join(public(strings.Split(args, " ")), " "); got != want {
			t.Errorf("%s: %s, want %s", args, got, want)
		}
	}
}
