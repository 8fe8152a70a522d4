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

// asGateway does everything of a Client that a gateway does, on streams that a backend reads.
func asGateway(t *testing.T, s *redistest.Server, c *redis.Client) error {
	t.Helper()
	s.CLI("DEL", c.Keys().Trim(), c.Keys().TrimOut(), c.Keys().In(0), c.Keys().Out(0))
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
	_, err = c.Survey(ctx, []stream.Witness{{Partition: 0}}) // begins its first epoch
	errs = append(errs, err)
	s.CLI("XGROUP", "CREATE", c.Keys().Out(1), "millrace-epoch", "0", "MKSTREAM")
	s.CLI("XGROUP", "SETID", c.Keys().Out(1), "millrace-epoch", "7-1")
	_, err = c.Survey(ctx, []stream.Witness{{Partition: 1, Epoch: 7, Run: 1, Last: stream.ID{MS: 1}}}) // of a server that is another one now
	errs = append(errs, err)
	s.CLI("XGROUP", "DESTROY", c.Keys().Out(1), "millrace-epoch")
	_, err = c.Ranges(ctx, []stream.Range{{Key: c.Keys().Out(1), To: stream.Last, Count: 1}, {Key: c.Keys().Out(1), To: stream.Last, Newest: true, Count: 1}})
	errs = append(errs, err)
	_, err = c.TrimIn(ctx, "n", time.Minute)
	errs = append(errs, err)
	_, err = c.TrimOut(ctx, "n", time.Minute, 1, time.Minute)
	errs = append(errs, err, c.Prove(ctx, "n", time.Minute))
	_, err = c.Backlog(ctx)
	errs = append(errs, err)
	_, err = c.Beat(ctx, "n", stream.Gateway{})
	errs = append(errs, err)
	_, err = c.Leave(ctx, "n")
	errs = append(errs, err)
	_, err = c.Servers(ctx)
	return errors.Join(append(errs, err, c.Delete(ctx, node))...)
}

// asBackend does everything of a Group, and what `backend dlq` does.
func asBackend(t *testing.T, s *redistest.Server, c *redis.Client) error {
	t.Helper()
	s.CLI("FLUSHALL")
	s.CLI("XGROUP", "CREATE", c.Keys().In(0), "backend", "0", "MKSTREAM")
	s.CLI("SCRIPT", "FLUSH") // each script is sent by its text first
	ctx, g := t.Context(), c.Group("backend", "c")
	errs := []error{c.Connect(ctx, 0), g.Create(ctx)}
	do := func(err error) bool {
		errs = append(errs, err)
		return err == nil
	}
	for range 5 {
		s.CLI("XADD", c.Keys().In(0), "*", "k", "v")
	}
	s.CLI("XREADGROUP", "GROUP", "backend", "former", "COUNT", "1", "STREAMS", c.Keys().In(0), ">")
	s.CLI("ZADD", c.Keys().Owners(0, "backend"), "1", "former")
	_, err := g.Heartbeat(ctx, time.Minute)
	do(err)
	leases, err := g.Acquire(ctx, []int{0}, time.Minute)
	if !do(err) || len(leases) != 1 {
		return errors.Join(errs...)
	}
	lease := leases[0]
	_, err = g.Renew(ctx, leases, time.Minute)
	do(err)
	_, err = g.Strangers(ctx, leases)
	do(err)
	_, err = g.Backlogs(ctx, []int{0})
	do(err)
	outcome := func(d redis.Delivery) redis.Outcome {
		return redis.Outcome{
			Ref: d.Ref, Seen: c.Keys().Seen(0, "u", d.ID.String()), SeenValue: "1",
			Publications: []stream.Publication{{Channel: "c", Data: "d"}},
			Answers:      []redis.NodeAnswer{{Node: "n", Answer: stream.Answer{Kind: stream.KindRes}}},
		}
	}
	claim := &redis.Claim{Idle: time.Minute, Own: redis.OwnAgain}
	for range 2 { // what is there, and the end of it
		d, err := g.Next(ctx, lease, claim)
		if do(err) && d != nil {
			_, err = g.Commit(ctx, []redis.Batch{{Lease: lease, Outcomes: []redis.Outcome{outcome(*d)}}}, time.Minute)
			do(err)
		}
	}
	r := g.Reader()
	defer r.Close()
	read := redis.Reading{Leases: leases, Count: 1, Block: time.Millisecond}
	got, err := r.Read(ctx, read)
	for do(err) && len(got.Deliveries) > 0 {
		d := got.Deliveries[0]
		do(g.Touch(ctx, lease, []redis.Touched{{ID: d.ID, Attempt: 2}}))
		o := outcome(d)
		o.Dead = &redis.Death{Reason: "r", Most: 10}
		got, _, err = r.CommitRead(ctx, []redis.Batch{{Lease: lease, Outcomes: []redis.Outcome{o}}}, time.Minute, read)
	}
	_, err = g.Seen(ctx, []string{c.Keys().Seen(0, "u", "3")})
	do(err)
	letters, err := c.DeadLetters(ctx, "backend", 0, stream.ID{}, 10)
	if do(err) && len(letters) > 1 {
		do(c.Replay(ctx, "backend", letters[0]))
		do(c.DropDead(ctx, "backend", letters[1].Ref))
	}
	return errors.Join(append(errs, g.Release(ctx, leases), g.Depart(ctx))...)
}

// The documented rules suffice, and no command in them is there for nothing.
func TestDocumentedUsers(t *testing.T) {
	for user, all := range map[string]func(*testing.T, *redistest.Server, *redis.Client) error{"gateway": asGateway, "backend": asBackend} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
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
