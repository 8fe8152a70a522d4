// Command gorilla is a topic server on gorilla/websocket, built as its chat example is: a goroutine that reads and one that writes
// per connection, and a bounded queue between. A publication is prepared once for all subscribers.
package main

import (
	"net/http"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/millracehq/millrace/bench/rivals/topic"
)

// queue is how many messages may wait for one connection, as in the chat example; who is slower is cut off.
const queue = 256

type client struct {
	ws   *websocket.Conn
	send chan *websocket.PreparedMessage
}

type server struct {
	upgrader websocket.Upgrader

	mu       sync.RWMutex
	channels map[string]map[*client]struct{} // Guarded by mu.
}

func main() {
	s := &server{channels: make(map[string]map[*client]struct{})}
	s.upgrader.ReadBufferSize, s.upgrader.WriteBufferSize = 1024, 1024 // as in the chat example
	s.upgrader.CheckOrigin = func(*http.Request) bool { return true }
	s.upgrader.Subprotocols = []string{"millrace.v1"}
	http.HandleFunc("/ws", s.serve)
	topic.Fail(http.ListenAndServe(topic.Start(), nil))
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the client has been told
	}
	c := &client{ws: ws, send: make(chan *websocket.PreparedMessage, queue)}
	c.offer([]byte(topic.Hello))
	go c.write()
	s.read(c)
}

// write ends with the first error; closing the socket ends read.
func (c *client) write() {
	defer c.ws.Close()
	for m := range c.send {
		if c.ws.WritePreparedMessage(m) != nil {
			return
		}
	}
}

func (c *client) offer(text []byte) {
	if m, err := websocket.NewPreparedMessage(websocket.TextMessage, text); err == nil {
		c.offerPrepared(m)
	}
}

func (c *client) offerPrepared(m *websocket.PreparedMessage) {
	select {
	case c.send <- m:
	default:
		c.ws.Close()
	}
}

func (s *server) read(c *client) {
	var subscribed []string
	defer func() { s.remove(c, subscribed) }()
	for {
		_, frame, err := c.ws.ReadMessage()
		if err != nil {
			return
		}
		cmd, ok := topic.Parse(frame)
		if !ok {
			return
		}
		switch cmd.Verb {
		case "sub":
			subscribed = append(subscribed, cmd.Channel)
			s.add(c, cmd.Channel)
			c.offer(cmd.Subscribed())
		case "pub":
			s.publish(cmd)
		case "req":
			c.offer(cmd.Reply())
		}
	}
}

func (s *server) add(c *client, channel string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.channels[channel] == nil {
		s.channels[channel] = make(map[*client]struct{})
	}
	s.channels[channel][c] = struct{}{}
}

// remove also ends the writer: only who holds the lock sends, and c is in no channel any more.
func (s *server) remove(c *client, channels []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, channel := range channels {
		delete(s.channels[channel], c)
	}
	close(c.send)
}

func (s *server) publish(cmd topic.Command) {
	m, err := websocket.NewPreparedMessage(websocket.TextMessage, cmd.Publication())
	if err != nil {
		return
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for c := range s.channels[cmd.Channel] {
		c.offerPrepared(m)
	}
}
