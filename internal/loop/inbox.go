package loop

import (
	"encoding/binary"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inbox is the only way into a loop from outside. Bound: Config.InboxTasks; policy: the poster waits; metric:
// Stats.Inbox.
type inbox struct {
	// Guarded by mu.
	mu      sync.Mutex
	room    sync.Cond
	tasks   []func()
	armed   bool // the eventfd has been written and not yet read
	stopped bool

	// Owned by the loop.
	taken []func()
	next  int
}

// Post runs f on the loop, after what was posted before. While the inbox is full it waits; it must therefore not be
// called on the loop itself. It reports false when the loop has been stopped: f will not run.
func (l *Loop) Post(f func()) bool {
	in := &l.inbox
	in.mu.Lock()
	for len(in.tasks) >= l.cfg.InboxTasks && !in.stopped {
		in.room.Wait()
	}
	if in.stopped {
		in.mu.Unlock()
		return false
	}
	in.tasks = append(in.tasks, f)
	wake := !in.armed
	in.armed = true
	in.mu.Unlock()
	if wake {
		l.poke()
	}
	return true
}

// poke makes the loop's epoll instance readable.
func (l *Loop) poke() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _, _ = syscall.RawSyscall(unix.SYS_WRITE, uintptr(l.eventFD), uintptr(unsafe.Pointer(&one)), 8)
}

// takeInbox moves the posted functions to the loop. The eventfd is read first: a post that comes between is then
// either in the slice that is taken or pokes again.
func (l *Loop) takeInbox() {
	drainCounter(l.eventFD)
	in := &l.inbox
	in.mu.Lock()
	in.taken = append(in.taken, in.tasks...)
	clear(in.tasks)
	in.tasks = in.tasks[:0]
	in.armed = false
	in.mu.Unlock()
	in.room.Broadcast()
}

// runInbox runs what was taken. It keeps its place, so that a panic costs one function only.
func (l *Loop) runInbox() {
	in := &l.inbox
	for in.next < len(in.taken) {
		f := in.taken[in.next]
		in.taken[in.next] = nil
		in.next++
		f()
	}
	in.taken, in.next = in.taken[:0], 0
}

func (in *inbox) len() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.tasks)
}

func (in *inbox) stop() {
	in.mu.Lock()
	in.stopped = true
	in.mu.Unlock()
	in.room.Broadcast()
}
