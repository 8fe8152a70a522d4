// Command gws is a topic server on lxzan/gws, built as its documentation advises: event handlers, and a Broadcaster for publications.
package main

import (
	"sync"

	"github.com/lxzan/gws"

	"github.com/millracehq/millrace/bench/rivals/topic"
)

// subscriptions is the key in a connection's session under which its channels are.
const subscriptions = "channels"

type server struct {
	gws.BuiltinEventHandler

	mu       sync.RWMutex
	channels map[string]map[*gws.Conn]struct{} // Guarded by mu.
}

func main() {
	s := &server{channels: make(map[string]map[*gws.Conn]struct{})}
	topic.Fail(gws.NewServer(s, &gws.ServerOption{SubProtocols: []string{"millrace.v1"}}).Run(topic.Start()))
}

// OnOpen implements gws.Event.
func (s *server) OnOpen(c *gws.Conn) { write(c, []byte(topic.Hello)) }

// OnClose implements gws.Event.
func (s *server) OnClose(c *gws.Conn, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, channel := range channelsOf(c) {
		delete(s.channels[channel], c)
	}
}

// OnMessage implements gws.Event. It is called for one message of a connection after the other.
func (s *server) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	cmd, ok := topic.Parse(m.Bytes())
	if !ok {
		c.WriteClose(1002, nil)
		return
	}
	switch cmd.Verb {
	case "sub":
		s.add(c, cmd.Channel)
		write(c, cmd.Subscribed())
	case "pub":
		s.publish(cmd)
	case "req":
		write(c, cmd.Reply())
	}
}

func (s *server) add(c *gws.Conn, channel string) {
	c.Session().Store(subscriptions, append(channelsOf(c), channel))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.channels[channel] == nil {
		s.channels[channel] = make(map[*gws.Conn]struct{})
	}
	s.channels[channel][c] = struct{}{}
}

func (s *server) publish(cmd topic.Command) {
	b := gws.NewBroadcaster(gws.OpcodeText, cmd.Publication())
	defer b.Close()
	s.mu.RLock()
	defer s.mu.RUnlock()
	for c := range s.channels[cmd.Channel] {
		_ = b.Broadcast(c) // it queues; who has gone is told by OnClose
	}
}

func channelsOf(c *gws.Conn) []string {
	v, _ := c.Session().Load(subscriptions)
	list, _ := v.([]string)
	return list
}

// write does not block behind a publication that is being written.
func write(c *gws.Conn, text []byte) { c.WriteAsync(gws.OpcodeText, text, nil) }
