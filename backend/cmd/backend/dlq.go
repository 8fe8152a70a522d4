package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
)

// dlqPage is how many dead letters are asked of Redis at once.
const dlqPage = 500

const dlqUsage = `backend dlq looks after dead letters: entries that the backends of a group have given up.

usage: backend dlq list   [--json] [flags]              a line for each
       backend dlq show   ID [--json] [flags]           all fields and the body of one
       backend dlq replay ID... | --all [flags]         back to the end of the stream that they came from
       backend dlq drop   ID... | --all [flags]         away for good

An ID is PARTITION/MS-SEQ, as list prints it. A replayed entry is handled like a new one, behind what is there by then; if it
has an idempotency key, that counts as never seen. Several IDs are worked on in turn, up to the first that fails.

`

const dlqEpilog = `
Each flag but --json and --all is also an environment variable, as for backend itself; the flag wins. Exit codes: 0 done, 1 failed,
also when there is no dead letter of that ID, 2 for a mistake on the command line.
`

// letters are the dead letters that a dlq command looks after.
type letters interface {
	DeadLetters(ctx context.Context, partition int, after stream.ID, count int) ([]redis.DeadLetter, error)
	DeadLetter(ctx context.Context, ref redis.Ref) (redis.DeadLetter, error)
	Replay(ctx context.Context, l redis.DeadLetter) error
	Drop(ctx context.Context, ref redis.Ref) error
}

// dlq is one dlq command.
type dlq struct {
	name, usage string // of the command
	column      string // of list: what tells one letter from the next
	field       string // which has it
	open        func(*redis.Client) letters

	redis  redis.Config
	group  string
	json   bool
	all    bool
	client *redis.Client
	stdout io.Writer
	letters
}

// newDLQ is backend dlq and its flags.
func newDLQ() (*dlq, *flag.FlagSet) {
	d := &dlq{name: "backend dlq", usage: dlqUsage, column: "CHANNEL", field: "ch"}
	d.open = func(c *redis.Client) letters { return groupLetters{c, d.group} }
	f := flag.NewFlagSet(d.name, flag.ContinueOnError)
	streamFlags(f, &d.redis.URL, &d.redis.Prefix, &d.redis.Partitions, &d.group)
	return d, f
}

// groupLetters are the dead letters of a group of backends.
type groupLetters struct {
	client *redis.Client
	group  string
}

func (g groupLetters) DeadLetters(ctx context.Context, partition int, after stream.ID, count int) ([]redis.DeadLetter, error) {
	return g.client.DeadLetters(ctx, g.group, partition, after, count)
}

func (g groupLetters) DeadLetter(ctx context.Context, ref redis.Ref) (redis.DeadLetter, error) {
	return g.client.DeadLetter(ctx, g.group, ref)
}

func (g groupLetters) Replay(ctx context.Context, l redis.DeadLetter) error {
	return g.client.Replay(ctx, g.group, l)
}

func (g groupLetters) Drop(ctx context.Context, ref redis.Ref) error {
	return g.client.DropDead(ctx, g.group, ref)
}

// run runs a dlq command with its arguments.
func (d *dlq) run(ctx context.Context, f *flag.FlagSet, args []string, env func(string) (string, bool), stdout, stderr io.Writer) int {
	d.stdout = stdout
	f.SetOutput(io.Discard)
	f.BoolVar(&d.json, "json", false, "print JSON, one value a line (list, show)")
	f.BoolVar(&d.all, "all", false, "all dead letters (replay, drop)")
	words, err := parseDLQ(f, args, env)
	if err == nil {
		err = d.check(words)
	}
	switch {
	case errors.Is(err, errHelp):
		io.WriteString(stdout, d.usage+flagLines(f)+dlqEpilog)
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "%s: %v\n%s --help says how\n", d.name, err, d.name)
		return exitUsage
	}
	if err := d.do(ctx, words[0], words[1:]); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", d.name, err)
		return exitError
	}
	return exitOK
}

// parseDLQ reads the environment and the flags, which may stand before, between and behind the other words.
func parseDLQ(f *flag.FlagSet, args []string, env func(string) (string, bool)) (words []string, err error) {
	if err := setFromEnv(f, env, "json", "all"); err != nil {
		return nil, err
	}
	for {
		if err := f.Parse(args); err != nil {
			return nil, err
		}
		if args = f.Args(); len(args) == 0 {
			return words, nil
		}
		words, args = append(words, args[0]), args[1:]
	}
}

// check finds mistakes before Redis is asked.
func (d *dlq) check(words []string) error {
	if len(words) == 0 {
		return errors.New("what? list, show, replay or drop")
	}
	ids := words[1:]
	for _, id := range ids {
		if _, err := parseRef(id); err != nil {
			return err
		}
	}
	changes := words[0] == "replay" || words[0] == "drop"
	switch {
	case words[0] != "list" && words[0] != "show" && !changes:
		return fmt.Errorf("%q is none of list, show, replay and drop", words[0])
	case words[0] == "list" && len(ids) > 0:
		return fmt.Errorf("list takes no ID: %q", ids[0])
	case words[0] == "show" && len(ids) != 1:
		return errors.New("show takes one ID")
	case changes && (len(ids) > 0) == d.all:
		return fmt.Errorf("%s takes either IDs or --all", words[0])
	case d.all && !changes:
		return fmt.Errorf("%s does not take --all", words[0])
	case d.json && changes:
		return fmt.Errorf("%s does not take --json", words[0])
	}
	client, err := redis.New(d.redis)
	d.client = client
	return err
}

// parseRef reads PARTITION/MS-SEQ.
func parseRef(text string) (redis.Ref, error) {
	partition, id, ok := strings.Cut(text, "/")
	p, err := strconv.Atoi(partition)
	if !ok || err != nil || p < 0 {
		return redis.Ref{}, fmt.Errorf("%q is not an ID of the form PARTITION/MS-SEQ", text)
	}
	ref := redis.Ref{Partition: p}
	if ref.ID, err = stream.ParseID(id); err != nil {
		return redis.Ref{}, fmt.Errorf("%q is not an ID of the form PARTITION/MS-SEQ", text)
	}
	return ref, nil
}

func (d *dlq) do(ctx context.Context, command string, ids []string) error {
	defer d.client.Close()
	if err := d.client.Connect(ctx, 0); err != nil {
		return err
	}
	d.letters = d.open(d.client)
	switch command {
	case "list":
		return d.list(ctx)
	case "show":
		return d.each(ctx, ids, d.show)
	case "replay":
		return d.change(ctx, ids, "replayed", func(l redis.DeadLetter) error { return d.Replay(ctx, l) })
	}
	return d.change(ctx, ids, "dropped", func(l redis.DeadLetter) error { return d.Drop(ctx, l.Ref) })
}

// each calls f with the dead letters of these IDs, or with all that there are now.
func (d *dlq) each(ctx context.Context, ids []string, f func(redis.DeadLetter) error) error {
	for _, text := range ids {
		ref, err := parseRef(text)
		if err != nil {
			return err
		}
		letter, err := d.DeadLetter(ctx, ref)
		if err == nil {
			err = f(letter)
		}
		if err != nil {
			return err
		}
	}
	now := stream.ID{MS: uint64(time.Now().Add(time.Minute).UnixMilli())} // what dies again meanwhile is not replayed for ever
	for p := 0; len(ids) == 0 && p < d.client.Partitions(); p++ {
		var after stream.ID
		for more := true; more; {
			page, err := d.DeadLetters(ctx, p, after, dlqPage)
			if err != nil {
				return err
			}
			more = len(page) == dlqPage
			for _, l := range page {
				if after = l.ID; now.Before(l.ID) {
					more = false
					break
				}
				if err := f(l); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (d *dlq) change(ctx context.Context, ids []string, done string, f func(redis.DeadLetter) error) error {
	n := 0
	err := d.each(ctx, ids, func(l redis.DeadLetter) error {
		err := f(l)
		if d.all && errors.Is(err, redis.ErrNoDeadLetter) {
			return nil // somebody else was faster
		}
		if err == nil {
			n++
		}
		return err
	})
	fmt.Fprintf(d.stdout, "%s %d\n", done, n)
	return err
}

func (d *dlq) list(ctx context.Context) error {
	if d.json {
		return d.each(ctx, nil, d.printJSON)
	}
	w := tabwriter.NewWriter(d.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "ID\tWHEN\t%s\tKIND\tUSER\tATTEMPTS\tREASON\n", d.column)
	err := d.each(ctx, nil, func(l redis.DeadLetter) error {
		_, err := fmt.Fprintf(w, "%d/%v\t%s\t%s\t%s\t%s\t%d\t%s\n", l.Partition, l.ID, l.At.UTC().Format(time.RFC3339),
			cell(field(l.Fields, d.field)), cell(field(l.Fields, "kind")), cell(field(l.Fields, "user")), l.Attempts, cell(l.Reason))
		return err
	})
	return errors.Join(err, w.Flush())
}

func (d *dlq) show(l redis.DeadLetter) error {
	if d.json {
		return d.printJSON(l)
	}
	w := tabwriter.NewWriter(d.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "letter\t%d/%v\nwhen\t%s\nreason\t%s\nattempts\t%d\nconsumer\t%s\nentry\t%v\n",
		l.Partition, l.ID, l.At.UTC().Format(time.RFC3339Nano), cell(l.Reason), l.Attempts, cell(l.Consumer), l.Entry)
	body, hasBody := "", false
	for i := 0; i+1 < len(l.Fields); i += 2 {
		if l.Fields[i] == "data" {
			body, hasBody = l.Fields[i+1], true
			continue
		}
		fmt.Fprintf(w, "%s\t%s\n", cell(l.Fields[i]), cell(l.Fields[i+1]))
	}
	if err := w.Flush(); err != nil || !hasBody {
		return err
	}
	_, err := fmt.Fprintf(d.stdout, "\n%s\n", body)
	return err
}

// printJSON prints fields and values as one list: they have an order, and names may come twice. Bytes that are not UTF-8
// become U+FFFD; then base64 has the body, too.
func (d *dlq) printJSON(l redis.DeadLetter) error {
	out := struct {
		ID       string    `json:"id"`
		When     time.Time `json:"when"`
		Reason   string    `json:"reason"`
		Attempts int64     `json:"attempts"`
		Consumer string    `json:"consumer"`
		Entry    string    `json:"entry"`
		Fields   []string  `json:"fields"`
		Base64   []byte    `json:"data_base64,omitempty"`
	}{
		ID: fmt.Sprintf("%d/%v", l.Partition, l.ID), When: l.At.UTC(), Reason: l.Reason, Attempts: l.Attempts,
		Consumer: l.Consumer, Entry: l.Entry.String(), Fields: l.Fields,
	}
	if data := field(l.Fields, "data"); !utf8.ValidString(data) {
		out.Base64 = []byte(data)
	}
	return json.NewEncoder(d.stdout).Encode(out)
}

// field is the first value of that name.
func field(fields []string, name string) string {
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == name {
			return fields[i+1]
		}
	}
	return ""
}

// cell is a value that stays in its cell and on its line, whatever a client has put in it.
func cell(value string) string {
	if value == "" {
		return "-"
	}
	quoted := strconv.Quote(value)
	if inner := quoted[1 : len(quoted)-1]; inner == value {
		return value
	}
	return quoted
}
