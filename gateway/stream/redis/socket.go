package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/resp"
)

// Socket opens a connection to Redis, ready for commands: the user is known to it (AUTH) and the database
// chosen (SELECT). It is a non-blocking descriptor, and the caller's, who speaks RESP2 on it ([resp]).
func (c *Client) Socket(ctx context.Context) (fd int, err error) {
	if !c.single || c.server.TLSConfig != nil || c.replicas > 0 {
		return -1, stream.ErrNoSocket
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return -1, c.classify(err, false)
	}
	defer conn.Close()
	if err := c.introduce(conn); err != nil {
		return -1, c.classify(err, false)
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := raw.Control(func(p uintptr) { fd, err = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 3) })
	return fd, errors.Join(cerr, err)
}

// introduce says who is there and what is meant.
func (c *Client) introduce(conn net.Conn) error {
	var commands [][]string
	switch o := &c.server; {
	case o.Password != "" && o.Username != "":
		commands = append(commands, []string{"AUTH", o.Username, o.Password})
	case o.Password != "":
		commands = append(commands, []string{"AUTH", o.Password})
	}
	if c.server.DB != 0 {
		commands = append(commands, []string{"SELECT", strconv.Itoa(c.server.DB)})
	}
	if len(commands) == 0 {
		return nil
	}
	if err := conn.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return err
	}
	defer func() { _ = conn.SetDeadline(time.Time{}) }()
	in := bufio.NewReader(conn)
	for _, words := range commands {
		if _, err := conn.Write(resp.AppendCommand(nil, words...)); err != nil {
			return err
		}
		line, err := in.ReadBytes('\n')
		if err != nil {
			return err
		}
		if _, _, err := resp.Line(line); err != nil {
			return fmt.Errorf("%s: %w", words[0], refusal(err))
		}
	}
	return nil
}

// Refusal is what an error reply of Redis to an entry means, as [Client.Append] would say it.
func (c *Client) Refusal(err error) error { return c.classify(refusal(err), false) }

// reply is an error that Redis answered, and that go-redis did not read.
type reply struct{ text resp.Error }

func (r reply) Error() string { return string(r.text) }

// RedisError makes it one of go-redis's.
func (reply) RedisError() {}

func refusal(err error) error {
	if said, ok := errors.AsType[resp.Error](err); ok {
		return reply{said}
	}
	return err
}
