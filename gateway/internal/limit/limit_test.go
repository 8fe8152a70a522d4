package limit

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"unsafe"
)

// bucket is the naive model: a token bucket in exact fractions, that goes below zero for what it refuses.
type bucket struct {
	rate, burst int64
	tokens      *big.Rat
	at          int64
}

func newBucket(r Rate) *bucket {
	return &bucket{int64(r.PerSecond), int64(r.Burst), big.NewRat(int64(r.Burst), 1), 0}
}

func (b *bucket) take(now int64, n int, charge bool) (ok, over bool, retry int64) {
	b.tokens.Add(b.tokens, big.NewRat((now-b.at)*b.rate, 1000))
	b.at = now
	if full := big.NewRat(b.burst, 1); b.tokens.Cmp(full) > 0 {
		b.tokens = full
	}
	cost := big.NewRat(int64(n), 1)
	ok = b.tokens.Cmp(cost) >= 0
	if ok || charge {
		b.tokens.Sub(b.tokens, cost)
	}
	if floor := big.NewRat(-b.burst*1000-1, 1000); b.tokens.Cmp(floor) < 0 {
		b.tokens = floor
	}
	missing := new(big.Rat).Sub(cost, b.tokens)
	missing.Mul(missing, big.NewRat(1000, b.rate))
	retry = new(big.Int).Div(new(big.Int).Add(missing.Num(), new(big.Int).Sub(missing.Denom(), big.NewInt(1))), missing.Denom()).Int64()
	return ok, b.tokens.Cmp(big.NewRat(-b.burst, 1)) < 0, max(retry, 0)
}

func TestMeterAgainstModel(t *testing.T) {
	if unsafe.Sizeof(Meter{}) != 16 {
		t.Fatalf("a Meter has %d bytes", unsafe.Sizeof(Meter{}))
	}
	rng := rand.New(rand.NewPCG(1, 1))
	var passed, refused, over int
	for range 300 {
		rates := Rates{Frames: NewRate(1+rng.IntN(200), 1+rng.IntN(20)), Bytes: NewRate(1+rng.IntN(1_000_000), 65536)}
		if rng.IntN(4) == 0 {
			rates.Bytes = Rate{}
		}
		frames, bytes := newBucket(rates.Frames), newBucket(Rate{1, 1})
		if rates.Bytes.On() {
			bytes = newBucket(rates.Bytes)
		}
		var m Meter
		now := int64(math.MaxUint32) - rng.Int64N(5000) // it wraps on the way
		frames.at, bytes.at = now, now
		m.at = uint32(now)
		for range 500 {
			switch rng.IntN(4) {
			case 0:
				now += rng.Int64N(200)
			case 1:
				now += rng.Int64N(5)
			}
			n := rng.IntN(65536)
			okF, overF, retryF := frames.take(now, 1, true)
			okB, overB, retryB := true, false, int64(0)
			if rates.Bytes.On() {
				okB, overB, retryB = bytes.take(now, n, true)
			}
			v := m.Take(uint32(now), n, &rates)
			if (v.Limit == None) != (okF && okB) {
				t.Fatalf("%+v: %+v, model %v %v", rates, v, okF, okB)
			}
			if v.Limit == None {
				passed++
				continue
			}
			refused++
			retry := max(retryF, retryB)
			if v.Retry != retry || v.Over != (!okF && overF || !okB && overB) {
				t.Fatalf("%+v: %+v, model retry %d over %v %v", rates, v, retry, overF, overB)
			}
			if v.Over {
				over++
				break
			}
		}
	}
	if passed < 1000 || refused < 1000 || over < 50 {
		t.Fatalf("%d passed, %d refused, %d over: the test shows little", passed, refused, over)
	}
}

// Who waits as long as it is told to gets through, always.
func TestRetryIsTheTruth(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 200 {
		rates := Rates{Frames: NewRate(1+rng.IntN(1000), 1), Bytes: NewRate(1+rng.IntN(1_000_000), 65536)}
		var m Meter
		now := rng.Uint32()
		for range 100 {
			n := rng.IntN(65537)
			v := m.Take(now, n, &rates)
			if v.Limit == None {
				continue
			}
			if v.Over {
				break
			}
			if early := m; early.Take(now+uint32(v.Retry)-1, n, &rates).Limit == None {
				t.Fatalf("%+v: it could have come after less than %d ms", rates, v.Retry)
			}
			if now += uint32(v.Retry); m.Take(now, n, &rates).Limit != None {
				t.Fatalf("%+v: refused after the %d ms that it was told", rates, v.Retry)
			}
		}
	}
}

func TestMeterDoesNotAllocate(t *testing.T) {
	var m Meter
	rates := Rates{Frames: NewRate(10, 10), Bytes: NewRate(1000, 1000)}
	c, channel := NewChannels(), []byte("board:7")
	now := uint32(0)
	if n := testing.AllocsPerRun(1000, func() {
		m.Take(now, 100, &rates)
		c.Take(int64(now), channel, rates.Frames)
		now += 50
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestChannelsAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	c := NewChannels()
	r := NewRate(7, 10)
	model := map[string]*bucket{}
	now, refused := int64(0), 0
	for range 20_000 {
		now += rng.Int64N(6)
		channel := fmt.Sprint("a:", rng.IntN(20))
		if rng.IntN(50) == 0 {
			now += 5000
		}
		if model[channel] == nil {
			model[channel] = newBucket(r)
		}
		ok, _, _ := model[channel].take(now, 1, false)
		if retry := c.Take(now, []byte(channel), r); (retry == 0) != ok {
			t.Fatalf("at %d %s: retry %d, model %v", now, channel, retry, ok)
		}
		if !ok {
			refused++
		}
	}
	if refused < 100 {
		t.Fatalf("%d refused", refused)
	}
	for i := range 3 * maxChannels {
		c.Take(now, fmt.Append(nil, i), r)
		if c.Len() > maxChannels {
			t.Fatal("more than it may keep")
		}
	}
	now += 1_000_000
	if c.Take(now, []byte("x"), r); c.Len() != 1 {
		t.Errorf("%d are kept of those that have been quiet", c.Len())
	}
}

// The gate against counting everything anew each time.
func TestGateAgainstModel(t *testing.T) {
	type entered struct {
		addr, user string
		c          Counted
		byAddr     bool
		byUser     bool
	}
	rng := rand.New(rand.NewPCG(4, 4))
	g := NewGate()
	var all []entered
	addrs := []string{"192.0.2.1", "192.0.2.2", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"}
	same := map[string]string{"::ffff:192.0.2.1": "192.0.2.1", "2001:db8::ffff:1": "2001:db8::1"}
	b := &Bounds{Connections: 40, Address: 6, User: 3}
	var got [Limits]int
	for range 50_000 {
		if rng.IntN(500) == 0 { // a reload
			b = &Bounds{Connections: rng.IntN(50), Address: rng.IntN(8), User: rng.IntN(5)}
		}
		if len(all) > 0 && rng.IntN(5) < 2 {
			i := rng.IntN(len(all))
			g.Leave(all[i].c, all[i].user)
			all[i] = all[len(all)-1]
			all = all[:len(all)-1]
			continue
		}
		e := entered{addr: addrs[rng.IntN(len(addrs))], user: fmt.Sprint("u", rng.IntN(20)), byAddr: b.Address > 0, byUser: b.User > 0}
		addr := netip.MustParseAddr(e.addr)
		if s, ok := same[e.addr]; ok {
			e.addr = s
		}
		ofAddr, ofUser := 0, 0
		for _, o := range all {
			if o.byAddr && o.addr == e.addr {
				ofAddr++
			}
			if o.byUser && o.user == e.user {
				ofUser++
			}
		}
		want := None
		switch {
		case b.Connections > 0 && len(all) >= b.Connections:
			want = Connections
		case b.Address > 0 && ofAddr >= b.Address:
			want = Address
		case b.User > 0 && ofUser >= b.User:
			want = User
		}
		var in Limit
		e.c, in, _ = g.Enter(0, addr, b)
		if in == None && !g.Identify(&e.c, e.user, b) {
			g.Leave(e.c, e.user)
			in = User
		}
		if in != want {
			t.Fatalf("%v, want %v (%+v, %d open, %d of the address, %d of the user)", in, want, b, len(all), ofAddr, ofUser)
		}
		got[in]++
		if in == None {
			all = append(all, e)
		}
		if g.Open() != len(all) {
			t.Fatalf("%d open, want %d", g.Open(), len(all))
		}
	}
	for _, e := range all {
		g.Leave(e.c, e.user)
	}
	if g.open != 0 || len(g.addresses) != 0 || len(g.users) != 0 {
		t.Errorf("left behind: %d, %v, %v", g.open, g.addresses, g.users)
	}
	for _, l := range []Limit{None, Connections, Address, User} {
		if got[l] < 100 {
			t.Errorf("%v only %d times: the test shows little", l, got[l])
		}
	}
}

func TestAcceptRate(t *testing.T) {
	g := NewGate()
	b := &Bounds{Accepts: NewRate(10, 1)}
	in := 0
	for now := int64(1); now <= 5000; now++ {
		_, l, retry := g.Enter(now, netip.Addr{}, b)
		if l == None {
			in++
		} else if l != AcceptRate || retry < 1 || retry > 100 {
			t.Fatalf("%v after %d ms", l, retry)
		}
	}
	if in != 10+49 { // the burst, and ten a second behind it
		t.Errorf("%d in 5 s", in)
	}
}

func TestClient(t *testing.T) {
	p, err := ParseProxies([]string{"10.0.0.0/8", " 192.0.2.7", "fd00::/8"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		peer, header, want string
		forwarded          bool
	}{
		{peer: "203.0.113.9", header: "198.51.100.1", want: "203.0.113.9"}, // a stranger's word
		{peer: "10.1.1.1", header: "", want: "10.1.1.1"},
		{peer: "10.1.1.1", header: "198.51.100.1", want: "198.51.100.1"},
		{peer: "::ffff:10.1.1.1", header: "198.51.100.1", want: "198.51.100.1"},
		{peer: "10.1.1.1", header: "1.1.1.1, 198.51.100.1", want: "198.51.100.1"}, // what the client says itself
		{peer: "10.1.1.1", header: "1.1.1.1|198.51.100.1", want: "198.51.100.1"},
		{peer: "10.1.1.1", header: "198.51.100.1|10.2.2.2,192.0.2.7", want: "198.51.100.1"},
		{peer: "10.1.1.1", header: "10.2.2.2, 10.3.3.3", want: "10.2.2.2"},
		{peer: "10.1.1.1", header: "198.51.100.1, nonsense", want: "10.1.1.1"},
		{peer: "10.1.1.1", header: "198.51.100.1, nonsense, 10.2.2.2", want: "10.2.2.2"},
		{peer: "10.1.1.1", header: "198.51.100.1,", want: "10.1.1.1"},
		{peer: "10.1.1.1", header: "198.51.100.1:4711", want: "198.51.100.1"},
		{peer: "10.1.1.1", header: "2001:db8::1", want: "2001:db8::1"},
		{peer: "fd00::1", header: "[2001:db8::1]:80", want: "2001:db8::1"},
		{peer: "fd00::1", header: "[2001:db8::1%eth0]", want: "2001:db8::1"},
		{peer: "10.1.1.1", header: "for=198.51.100.1;proto=http;by=10.1.1.1", want: "198.51.100.1", forwarded: true},
		{peer: "10.1.1.1", header: `for=1.1.1.1, proto=https; For="[2001:db8::1]:4711"`, want: "2001:db8::1", forwarded: true},
		{peer: "10.1.1.1", header: "for=198.51.100.1, for=unknown", want: "10.1.1.1", forwarded: true},
		{peer: "10.1.1.1", header: "for=198.51.100.1, for=_hidden", want: "10.1.1.1", forwarded: true},
		{peer: "10.1.1.1", header: "by=10.1.1.1", want: "10.1.1.1", forwarded: true},
	} {
		var headers []string
		if c.header != "" {
			headers = strings.Split(c.header, "|")
		}
		if got := p.Client(netip.MustParseAddr(c.peer), headers, c.forwarded); got != netip.MustParseAddr(c.want) {
			t.Errorf("%s, %q: %v, want %s", c.peer, c.header, got, c.want)
		}
	}
	for _, bad := range []string{"", "10.0.0.0/33", "host", "0.0.0.0/0", "::/0", "fe80::1%eth0"} {
		if _, err := ParseProxies([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzClient(f *testing.F) {
	p := Proxies{netip.MustParsePrefix("10.0.0.0/8")}
	f.Add("1.2.3.4, 10.0.0.1", true)
	f.Add(`for="[::1]:80";by=x, for=10.0.0.1`, true)
	f.Fuzz(func(t *testing.T, header string, forwarded bool) {
		if a := p.Client(netip.MustParseAddr("10.0.0.1"), []string{header, "10.0.0.2"}, forwarded); !a.IsValid() || a.Is4In6() || a.Zone() != "" {
			t.Fatal(a)
		}
		if a := p.Client(netip.MustParseAddr("11.0.0.1"), []string{header}, forwarded); a != netip.MustParseAddr("11.0.0.1") {
			t.Fatal("a stranger's word was taken")
		}
	})
}
