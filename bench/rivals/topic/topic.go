// Package topic is what the Go rivals of bench have in common: the few commands of millrace.v1 that the benchmark uses, and how a
// rival is told what to do. Each rival keeps its own table of channels, in the way its library suggests.
//
//	sub REF CHANNEL            ok REF POSITION
//	pub - CHANNEL LF body      msg CHANNEL POSITION LF body, to every subscriber
//	req REF CHANNEL LF body    res REF LF body
//
// The frames are as long as those of the gateway, so that everybody sends the same number of bytes.
package topic

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
)

// Hello is the first frame on every connection.
const Hello = "hello bench\n{}"

// position stands where the gateway names one, and is as long.
const position = "1700000000000-000.0000000"

// Command is one frame of a client. Body is part of the frame that it was read from; the strings are copies.
type Command struct {
	Verb, Ref, Channel string
	Body               []byte
}

// Parse reads a frame.
func Parse(frame []byte) (c Command, ok bool) {
	head, body, _ := bytes.Cut(frame, []byte{'\n'})
	verb, rest, _ := strings.Cut(string(head), " ")
	ref, channel, ok := strings.Cut(rest, " ")
	return Command{verb, ref, channel, body}, ok
}

// Subscribed answers sub.
func (c Command) Subscribed() []byte { return []byte("ok " + c.Ref + " " + position) }

// Publication is what subscribers get of pub. It is a copy.
func (c Command) Publication() []byte {
	return append([]byte("msg "+c.Channel+" "+position+"\n"), c.Body...)
}

// Reply answers req with its own body. It is a copy.
func (c Command) Reply() []byte { return append([]byte("res "+c.Ref+"\n"), c.Body...) }

// Start reads --listen HOST:PORT, and from then on collects garbage and gives memory back at each SIGUSR2, which is said in a line.
func Start() (listen string) {
	flag.StringVar(&listen, "listen", "127.0.0.1:8080", "`HOST:PORT`")
	flag.Parse()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR2)
	go func() {
		for range signals {
			runtime.GC()
			debug.FreeOSMemory()
			fmt.Fprintln(os.Stdout, "collected")
		}
	}()
	return listen
}

// Fail ends the program.
func Fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
