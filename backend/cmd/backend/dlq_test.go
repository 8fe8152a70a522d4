package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/freeport"
	"github.com/millracehq/millrace/internal/redistest"
)

func TestDLQCommandLine(t *testing.T) {
	t.Parallel()
	runProgram(t, nil, "dlq", "--help").want(t, 0, "list", "show", "replay", "drop", "PARTITION/MS-SEQ", "--group", "--all")
	runProgram(t, nil, "dlq").want(t, 2, "list, show, replay or drop")
	runProgram(t, nil, "dlq", "burn").want(t, 2, `"burn"`)
	runProgram(t, nil, "dlq", "show").want(t, 2, "one ID")
	runProgram(t, nil, "dlq", "show", "5").want(t, 2, `"5"`, "PARTITION/MS-SEQ")
	runProgram(t, nil, "dlq", "drop").want(t, 2, "IDs or --all")
	runProgram(t, nil, "dlq", "drop", "--all", "1/1-1").want(t, 2, "IDs or --all")
	runProgram(t, nil, "dlq", "list", "--all").want(t, 2, "--all")
	runProgram(t, nil, "dlq", "replay", "--all", "--json").want(t, 2, "--json")
	runProgram(t, []string{"MILLRACE_PARTITIONS=x"}, "dlq", "list").want(t, 2, "MILLRACE_PARTITIONS")
	runProgram(t, nil, "dlq", "list", "--redis", "redis://"+freeport.MustAddr(t)+"/0").want(t, 1, "is it running there?")
}

func TestDLQ(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	keys := stream.Keys{}
	env := []string{"MILLRACE_REDIS=" + s.URL()}
	dlq := func(args ...string) outcome {
		return runProgram(t, env, append(append([]string{"dlq"}, args...), "--group", "g")...)
	}
	bury := func(p int, id, data string) string {
		return fmt.Sprint(p, "/", s.CLI("XADD", keys.Dead(p, "g"), "*", "kind", "pub", "ch", "echo:a", "user", "ann", "id", id, "x", "1", "x", "2", "data", data,
			"dead_entry", "7-1", "dead_reason", "database is away", "dead_attempts", "5", "dead_at", "1700000000000", "dead_consumer", "c1"))
	}
	dlq("list").want(t, 0, "ID")
	ids := []string{bury(3, "k1", "one"), bury(3, "k2", "\xff"), bury(60, "k3", "three")}

	dlq("list").want(t, 0, append(ids, "2023-11-14T22:13:20Z", "echo:a", "pub", "ann", "5", "database is away")...)
	dlq("show", ids[0]).want(t, 0, ids[0], "7-1", "c1", "x", "\n\none\n")
	out := dlq("list", "--json")
	lines := strings.Split(strings.TrimSpace(out.stdout), "\n")
	var second struct {
		ID     string
		Fields []string
		Base64 []byte `json:"data_base64"`
	}
	if err := json.Unmarshal([]byte(lines[1]), &second); err != nil || len(lines) != 3 || second.ID != ids[1] || len(second.Fields) != 14 || string(second.Base64) != "\xff" {
		t.Fatalf("%v in\n%s", err, out.stdout)
	}

	s.CLI("SET", keys.Seen(3, "ann", "k1"), "1")
	dlq("replay", ids[0]).want(t, 0, "replayed 1")
	if got := s.CLI("XRANGE", keys.In(3), "-", "+"); !strings.HasSuffix(got, "\nkind\npub\nch\necho:a\nuser\nann\nid\nk1\nx\n1\nx\n2\ndata\none") {
		t.Fatalf("replayed as %q", got)
	}
	if got := s.CLI("EXISTS", keys.Seen(3, "ann", "k1")); got != "0" {
		t.Fatal("the replayed entry would be dropped as a repeated one")
	}
	for _, command := range []string{"replay", "show", "drop"} {
		dlq(command, ids[0]).want(t, 1, "no such dead letter: "+ids[0])
	}
	dlq("show", "99/1-1").want(t, 1, "no such dead letter")
	dlq("drop", ids[1]).want(t, 0, "dropped 1")
	dlq("replay", "--all").want(t, 0, "replayed 1")
	dlq("drop", "--all").want(t, 0, "dropped 0")
	if got := s.CLI("XLEN", keys.In(60)); got != "1" {
		t.Fatalf("%s entries are back in partition 60", got)
	}
}
