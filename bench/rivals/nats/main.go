// Command nats is a NATS server with its WebSocket listener, embedded as its documentation shows, and a responder in the same
// process that answers each request on the subject "echo" with its own body.
package main

import (
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	client "github.com/nats-io/nats.go"

	"github.com/millracehq/millrace/bench/rivals/topic"
)

func main() {
	if err := run(topic.Start()); err != nil {
		topic.Fail(err)
	}
}

func run(listen string) error {
	host, text, err := net.SplitHostPort(listen)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		DontListen: true, // but for WebSocket
		NoSigs:     true,
		NoLog:      true,
		MaxConn:    1 << 20,
		Websocket:  server.WebsocketOpts{Host: host, Port: port, NoTLS: true},
	})
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return server.ErrServerNotRunning
	}
	nc, err := client.Connect("", client.InProcessServer(s))
	if err != nil {
		return err
	}
	if _, err := nc.Subscribe("echo", func(m *client.Msg) { _ = m.Respond(m.Data) }); err != nil {
		return err
	}
	s.WaitForShutdown()
	return nil
}
