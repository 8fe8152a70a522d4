package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
)

const (
	tailLines   = 20       // of a child's log are kept, to be shown when it does not become ready
	maxLogLine  = 64 << 10 // bytes; longer lines are broken
	consoleSelf = "local"  // name before the supervisor's own lines
)

// console writes whole lines of several writers to one place, each behind the name of its writer.
type console struct {
	width int // of the names

	mu sync.Mutex
	w  io.Writer // Guarded by mu.
}

// say writes a line of the supervisor itself.
func (c *console) say(format string, args ...any) { c.line(consoleSelf, fmt.Sprintf(format, args...)) }

func (c *console) line(name, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.w, "%-*s | %s\n", c.width, name, text)
}

// block writes text as it is.
func (c *console) block(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprint(c.w, text)
}

// childLog takes what one child writes, hands whole lines to the console and remembers the last ones.
type childLog struct {
	// Immutable after creation.
	console *console
	name    string

	mu   sync.Mutex
	rest []byte   // Guarded by mu. A line without its end.
	tail []string // Guarded by mu. The last lines, at most tailLines.
}

// Write implements [io.Writer]; it never fails.
func (l *childLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		switch {
		case i >= 0:
			l.add(string(l.rest[:i]))
			l.rest = l.rest[i+1:]
		case len(l.rest) >= maxLogLine:
			l.add(string(l.rest))
			l.rest = nil
		default:
			return len(p), nil
		}
	}
}

// flush ends a line that has no end, when its child is gone.
func (l *childLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) > 0 {
		l.add(string(l.rest))
		l.rest = nil
	}
}

func (l *childLog) add(line string) {
	line = strings.TrimSuffix(line, "\r")
	l.console.line(l.name, line)
	if len(l.tail) == tailLines {
		l.tail = append(l.tail[:0], l.tail[1:]...)
	}
	l.tail = append(l.tail, line)
}

// last is the end of the log, each line indented.
func (l *childLog) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.tail) == 0 {
		return "    (it has written nothing)"
	}
	return "    " + strings.Join(l.tail, "\n    ")
}
