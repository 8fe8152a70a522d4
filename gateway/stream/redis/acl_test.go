package redis_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
	"github.com/millracehq/millrace/internal/redistest"
)

// documented is what docs/OPERATIONS.md says on the line that begins so, up to a backquote if there is one.
func documented(t *testing.T, start string) string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if rest, ok := strings.CutPrefix(line, start); ok {
			rest, _, _ = strings.Cut(rest, "`")
			return rest
		}
	}
	t.Fatalf("docs/OPERATIONS.md has no line that begins with %q", start)
	return ""
}

// documentedRule is what docs/OPERATIONS.md tells the operator to allow a user.
func documentedRule(t *testing.T, user string) []string {
	t.Helper()
	return strings.Fields(documented(t, "    ACL SETUSER "+user+" "))
}

func setUser(s *redistest.Server, user string, rule []string) {
	s.CLI(slices.Concat([]string{"ACL", "SETUSER", user, "reset"}, rule)...)
}

// asGateway does everything of a Client, on streams that a backend reads; asBackend everything of a Group.
func asGateway(t *testing.T, s *redistest.Server, c *redis.Client) error {
	t.Helper()
	s.CLI("DEL", c.Keys().Trim(), c.Keys().In(0))
	s.CLI("XADD", c.Keys().In(0), "*", "k", "v")
	s.CLI("XGROUP", "CREATE", c.Keys().In(0), "backend", "0")
	s.CLI("XREADGROUP", "GROUP", "backend", "c", "STREAMS", c.Keys().In(0), ">")
	ctx, node := t.Context(), c.Keys().Node("n")
	errs := []error{c.Connect(ctx, 0), c.Ping(ctx)}
	errs = append(errs, c.Append(ctx, []stream.Add{pub(c.Keys().In(0), 0), pub(c.Keys().Out(1), 0), pub(node, 0)})...)
	_, err := c.Read(ctx, []stream.Cursor{{Key: node}}, 1, time.Millisecond)
	errs = append(errs, err)
	_, err = c.Tails(ctx, []string{c.Keys().Out(1)})
	errs = append(errs, err, c.KeepNode(ctx, node, stream.ID{}, time.Minute))
	_, err = c.TrimIn(ctx, "n", time.Minute)
	errs = append(errs, err)
	_, err = c.Servers(ctx)
	return errors.Join(append(errs, err, c.Delete(ctx, node))...)
}

func asBackend(t *testing.T, s *redistest.Server, c *redis.Client) error {
	t.Helper()
	s.CLI("DEL", c.Keys().In(0), c.Keys().Seen(0, "u", "1"), c.Keys().Seen(0, "u", "2"), c.Keys().Seen(0, "u", "3"))
	ctx, g := t.Context(), c.Group("backend", "c")
	errs := []error{c.Connect(ctx, 0), g.Create(ctx)}
	fill := func() {
		s.CLI("XGROUP", "CREATE", c.Keys().In(0), "backend", "0", "MKSTREAM")
		s.CLI("XADD", c.Keys().In(0), "*", "k", "v")
	}
	s.CLI("DEL", c.Keys().In(0))
	fill()
	s.CLI("XADD", c.Keys().In(0), "*", "k", "v")
	s.CLI("XADD", c.Keys().In(0), "*", "k", "v")
	read := redis.Reading{Partitions: []int{0}, Count: 1}
	outcome := func(d redis.Delivery, id string) []redis.Outcome {
		return []redis.Outcome{{Ref: d.Ref, Seen: c.Keys().Seen(0, "u", id), Publications: []stream.Publication{{Channel: "c", Data: "d"}}}}
	}
	got, err := g.Read(ctx, read)
	errs = append(errs, err)
	if len(got) > 0 {
		_, err = g.Attempts(ctx, []redis.Ref{got[0].Ref})
		errs = append(errs, err, g.Renew(ctx, []redis.Ref{got[0].Ref}))
		s.CLI("SCRIPT", "FLUSH")
		_, err = g.Commit(ctx, outcome(got[0], "1"), time.Minute)
		errs = append(errs, err)
	}
	got, err = g.Read(ctx, read)
	errs = append(errs, err)
	if len(got) > 0 {
		_, _, err = g.CommitRead(ctx, outcome(got[0], "2"), time.Minute, read)
		errs = append(errs, err)
	}
	_, err = g.Claim(ctx, []int{0}, make([]stream.ID, 1), 0, 10)
	errs = append(errs, err)
	_, err = g.Seen(ctx, []string{c.Keys().Seen(0, "u", "3")})
	s.CLI("XGROUP", "CREATECONSUMER", c.Keys().In(0), "backend", "idle")
	return errors.Join(append(errs, err, c.Group("backend", "idle").Leave(ctx))...)
}

// The documented rules suffice, and no command in them is there for nothing.
func TestDocumentedUsers(t *testing.T) {
	s := redistest.Start(t)
	for user, all := range map[string]func(*testing.T, *redistest.Server, *redis.Client) error{"gateway": asGateway, "backend": asBackend} {
		t.Run(user, func(t *testing.T) {
			rule := documentedRule(t, user)
			cfg := redis.Config{URL: "redis://" + user + ":PASSWORD@" + s.Addr(), Partitions: 2}
			setUser(s, user, rule)
			if err := all(t, s, newTestClient(t, cfg)); err != nil {
				t.Errorf("the rule is not enough: %v", err)
			}
			for i, command := range rule {
				if !strings.HasPrefix(command, "+") {
					continue
				}
				setUser(s, user, slices.Delete(slices.Clone(rule), i, i+1))
				if err := all(t, s, newTestClient(t, cfg)); err == nil || !strings.Contains(err.Error(), "NOPERM") && !strings.Contains(err.Error(), "can't run this command") {
					t.Errorf("%s is not needed: %v", command, err)
				}
			}
		})
	}
}

// What is to be added to the rules for Cluster, databases and durable replicas.
func TestDocumentedUsersElsewhere(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	rule := append(documentedRule(t, "gateway"), "+select", "+wait")
	setUser(s, "gateway", rule)
	c := connect(t, redis.Config{URL: "redis://gateway:PASSWORD@" + s.Addr() + "/3", Replicas: 1, ReplicaTimeout: time.Millisecond})
	if err := c.Append(t.Context(), []stream.Add{pub(c.Keys().In(0), 0)})[0]; !errors.Is(err, redis.ErrNotReplicated) || strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("%v, want ErrNotReplicated", err)
	}
	setUser(s, "gateway", slices.DeleteFunc(rule, func(r string) bool { return r == "+wait" }))
	err := c.Append(t.Context(), []stream.Add{pub(c.Keys().In(0), 0)})[0]
	if !errors.Is(err, redis.ErrNotReplicated) || errors.Is(err, stream.ErrDown) || !strings.Contains(err.Error(), "'wait'") {
		t.Errorf("without +wait: %v", err)
	}

	cl := redistest.StartCluster(t, 2, 0)
	for _, s := range cl.Masters {
		setUser(s, "gateway", append(documentedRule(t, "gateway"), "+cluster|slots", "+cluster|info", "+asking"))
	}
	c = connect(t, redis.Config{URL: strings.Replace(cl.URL(), "://", "://gateway:PASSWORD@", 1), Partitions: 4})
	slot, at := cl.Slot(c.Keys().Out(2))
	cl.Move(slot, cl.Masters[at], cl.Masters[1-at], func() {
		if err := c.Append(t.Context(), []stream.Add{pub(c.Keys().Out(2), 0)})[0]; err != nil {
			t.Error(err)
		}
	})
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := c.Servers(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := c.TrimIn(t.Context(), "n", time.Minute); err != nil {
		t.Error(err)
	}

	master := redistest.Start(t)
	sentinels := redistest.StartSentinels(t, master)
	url := strings.Replace(sentinels.URL(), "://", "://gateway:PASSWORD@", 1)
	setUser(master, "gateway", append(documentedRule(t, "gateway"), "+role"))
	connect(t, redis.Config{URL: url})
	for _, s := range sentinels.Servers {
		setUser(s, "watched", append([]string{"on", ">PW", "&*"}, strings.Fields(documented(t, "A sentinel's user needs `"))...))
		s.CLI("ACL", "SETUSER", "default", "nopass", "-sentinel|get-master-addr-by-name")
	}
	if err := newTestClient(t, redis.Config{URL: url}).Connect(t.Context(), 0); err == nil {
		t.Error("a sentinel that does not allow it says where the master is")
	}
	connect(t, redis.Config{URL: url + "?sentinel_user=watched&sentinel_password=PW"})
	setUser(master, "gateway", documentedRule(t, "gateway"))
	if err := newTestClient(t, redis.Config{URL: url + "?sentinel_user=watched&sentinel_password=PW"}).Connect(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "'role'") {
		t.Errorf("without +role: %v", err)
	}
}
