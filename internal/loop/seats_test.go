package loop

import (
	"math/rand/v2"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// dealer is what the model knows of a loop whose seats it takes and gives back.
type dealer struct {
	l    *Loop
	has  map[int32]*record // the seats that are taken
	list []int32           // the same, to choose from
	most int
}

func (d *dealer) sit(t *testing.T) {
	t.Helper()
	seat, r := d.l.sit()
	if seat <= 0 || d.has[seat] != nil || r.state != stateFree || r.slot != 0 || r.out != 0 || r.tail != 0 {
		t.Fatalf("seat %d, taken %v, with %+v", seat, d.has[seat] != nil, *r)
	}
	*r = record{gen: r.gen + 1, state: stateOpen, due: uint32(seat)}
	d.has[seat] = r
	d.list = append(d.list, seat)
	d.most = max(d.most, len(d.list))
}

func (d *dealer) leave(t *testing.T, i int) {
	t.Helper()
	seat := d.list[i]
	r := d.has[seat]
	if d.l.conns.At(seat) != r || r.due != uint32(seat) {
		t.Fatalf("the record of seat %d has moved, or is another's: %+v", seat, *r)
	}
	gen := r.gen
	d.l.leave(seat, r)
	if stale := (Conn{Seat: seat, Gen: gen}); d.l.Alive(stale) || d.l.Conn(seat).Gen != 0 {
		t.Fatalf("seat %d is still taken", seat)
	}
	delete(d.has, seat)
	d.list[i] = d.list[len(d.list)-1]
	d.list = d.list[:len(d.list)-1]
}

// Connections come to four loops at random, go, and come to others: each loop has as many seats as it has had connections at a
// time, and the records of all loops are those of all connections, whatever part of them each has.
func TestSeatsAreAsManyAsConnections(t *testing.T) {
	const conns, chunk = 15_000, 256
	var loops [4]dealer
	for i := range loops {
		loops[i] = dealer{l: &Loop{}, has: map[int32]*record{}}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range conns {
		loops[rng.IntN(4)].sit(t)
	}
	room := func() (n int) {
		for _, d := range loops {
			n += int(d.l.conns.Len())
		}
		return n
	}
	if n := room(); n > conns+4*chunk {
		t.Fatalf("%d records for %d connections", n, conns)
	}
	for range 20 * conns { // one goes, another comes
		d := &loops[rng.IntN(4)]
		if len(d.list) == 0 {
			continue
		}
		d.leave(t, rng.IntN(len(d.list)))
		loops[rng.IntN(4)].sit(t)
	}
	most := 0
	for i, d := range loops {
		if int(d.l.seats.dealt) != d.most {
			t.Errorf("loop %d has dealt %d seats; it never had more than %d connections", i, d.l.seats.dealt, d.most)
		}
		most += d.most
	}
	if n := room(); n > most+4*chunk {
		t.Fatalf("%d records for %d connections, at most %d in each loop together", n, conns, most)
	}
}

func TestSeatsDoNotAllocate(t *testing.T) {
	l := &Loop{}
	var seats [300]int32
	turn := func() {
		for i := range seats {
			var r *record
			seats[i], r = l.sit()
			r.state = stateOpen
		}
		for _, seat := range seats {
			l.leave(seat, l.conns.At(seat))
		}
	}
	turn()
	if n := testing.AllocsPerRun(100, turn); n != 0 {
		t.Fatalf("%v allocations for seats that were there", n)
	}
}

// Loops of one process, whose connections have descriptors of one row.
func TestLoopsDealSeatsForThemselves(t *testing.T) {
	const n = 200
	loops, err := NewGroup(4, Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range loops {
		if err := l.Start(&echo{l: l}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Stop)
	}
	for range n {
		c := dialTest(t, loops[0])
		_, _ = c.Write([]byte("x"))
		wantRead(t, c, []byte("x"))
	}
	sum := 0
	for _, l := range loops {
		onLoop(l, func() {
			if int(l.seats.dealt) != l.open {
				t.Errorf("%d connections and %d seats", l.open, l.seats.dealt)
			}
			sum += int(l.seats.dealt)
		})
	}
	if sum != n {
		t.Fatalf("%d seats for %d connections", sum, n)
	}
}

// A Conn that is kept too long names nobody, also when its seat has another connection.
func TestStaleConnNamesNobody(t *testing.T) {
	h := &echo{}
	opened := make(chan Conn, 2)
	h.onOpen = func(c Conn) { opened <- c }
	l := newTestLoop(t, Config{}, h)
	first := dialTest(t, l)
	old := <-opened
	_ = first.Close()
	wantClosed(t, h, ReasonPeer)
	second := dialTest(t, l)
	now := <-opened
	if now.Seat != old.Seat || now.Gen == old.Gen {
		t.Fatalf("%v after %v: want the seat that was left, used once more", now, old)
	}
	onLoop(l, func() {
		l.Close(old, ReasonUser)
		l.Arm(old, 1)
		switch {
		case l.Send(old, []byte("to nobody")) != Gone, l.Alive(old), l.Remote(old).IsValid(), l.Descriptor(old) != -1, l.Room(old) != 0:
			t.Error("a Conn of an earlier use is taken for the present one")
		case !l.Alive(now) || l.Conn(now.Seat) != now || l.record(now).slot != 0:
			t.Error("what was asked of the earlier one was done to the present one")
		}
		l.Send(now, []byte("hello"))
	})
	wantRead(t, second, []byte("hello"))
}

// Seats come from outside, too, in the names of sessions: one that was never dealt is nobody's and makes no record.
func TestUnknownSeatMakesNoRecord(t *testing.T) {
	opened := make(chan Conn, 1)
	l := newTestLoop(t, Config{}, &echo{onOpen: func(c Conn) { opened <- c }})
	dialTest(t, l)
	<-opened
	onLoop(l, func() {
		before := l.conns.Len()
		for _, seat := range []int32{0, 2, 1 << 12, 0xffffff} {
			if c := l.Conn(seat); c.Gen != 0 || l.Alive(c) || l.Send(c, []byte("x")) != Gone {
				t.Errorf("seat %d has %v", seat, c)
			}
		}
		if now := l.conns.Len(); now != before {
			t.Errorf("room for %d records, %d before", now, before)
		}
	})
}

func TestDescriptorIsTheSocket(t *testing.T) {
	h := &echo{}
	opened := make(chan Conn, 1)
	h.onOpen = func(c Conn) { opened <- c }
	l := newTestLoop(t, Config{}, h)
	client := dialTest(t, l)
	c := <-opened
	onLoop(l, func() {
		sa, err := unix.Getpeername(l.Descriptor(c))
		if peer, ok := sa.(*unix.SockaddrInet4); err != nil || !ok || peer.Port != client.LocalAddr().(*net.TCPAddr).Port {
			t.Errorf("its other end is %v (%v), not %s", sa, err, client.LocalAddr())
		}
		if fd := l.Descriptor(Conn{}); fd != -1 {
			t.Errorf("nobody has descriptor %d", fd)
		}
	})
}
