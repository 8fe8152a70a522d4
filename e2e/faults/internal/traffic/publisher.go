package traffic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millracehq/millrace/e2e/faults/internal/check"
	"github.com/millracehq/millrace/gateway/client"
)

const (
	dialTimeout   = 2 * time.Second
	answerTimeout = 4 * time.Second // then the connection is given up, as a client that waits on would wait on a dead one
	retryAfter    = 100 * time.Millisecond
)

// line is a connection that is made again on the other gateway when it is lost.
type line struct {
	t       *Traffic
	gateway int
	conn    *client.Conn
}

// open gives a connection that lives, or nil when ctx is done.
func (l *line) open(ctx context.Context) *client.Conn {
	for l.conn == nil {
		dial, cancel := context.WithTimeout(ctx, dialTimeout)
		c, err := client.Dial(dial, l.t.cfg.Gateways[l.gateway%len(l.t.cfg.Gateways)], client.Options{})
		cancel()
		if err == nil {
			l.t.Counts.Connections.Add(1)
			l.conn = c
			break
		}
		l.gateway++
		if !pause(ctx, retryAfter) {
			return nil
		}
	}
	return l.conn
}

// failed is told why a command failed. It leaves a connection that is of no more use.
func (l *line) failed(err error) {
	if _, ok := errors.AsType[*client.Error](err); ok {
		return // the gateway lives, and has answered
	}
	l.close()
	l.gateway++
}

func (l *line) close() {
	if l.conn != nil {
		l.conn.Abort()
		<-l.conn.Done()
		l.conn = nil
	}
}

// publisher is the only one of its channel.
type publisher struct {
	t  *Traffic
	ch *channel
}

// run publishes until ctx is done, and then goes on with the last publication until it is acknowledged or trying is done.
func (p *publisher) run(ctx, trying context.Context) {
	every := time.Duration(float64(len(p.t.channels)) / p.t.cfg.Rate * float64(time.Second))
	l := line{t: p.t, gateway: p.ch.index}
	defer l.close()
	if !pause(ctx, every*time.Duration(p.ch.index)/time.Duration(len(p.t.channels))) { // spread over one round
		return
	}
	beat := time.NewTicker(every)
	defer beat.Stop()
	for n := uint32(1); ; n++ {
		p.ch.published = append(p.ch.published, check.Publication{Sent: p.t.now(), Acked: check.None})
		p.t.Counts.Published.Add(1)
		if !p.publish(trying, &l, n) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-beat.C: // what an outage delayed is not made up for: beats are dropped
		}
	}
}

// publish sends one publication until it is acknowledged, always with the same ID.
func (p *publisher) publish(ctx context.Context, l *line, n uint32) bool {
	pub := &p.ch.published[n-1]
	id, data := fmt.Sprintf("c%d-%d", p.ch.index, n), body(p.ch.index, n)
	for {
		c := l.open(ctx)
		if c == nil {
			return false
		}
		pub.Sends++
		p.t.Counts.Sends.Add(1)
		call, cancel := context.WithTimeout(ctx, answerTimeout)
		err := c.Publish(call, p.ch.name, id, data)
		cancel()
		if err == nil {
			pub.Acked = p.t.now()
			p.t.Counts.Acknowledged.Add(1)
			return true
		}
		l.failed(err)
		if !pause(ctx, retryAfter) {
			return false
		}
	}
}

// requester asks the backend one question after the other. What is not answered is not asked again: a request is no publication.
type requester struct {
	t      *Traffic
	number int
}

const requestEvery = 250 * time.Millisecond

func (q *requester) run(ctx context.Context) {
	l := line{t: q.t, gateway: q.number}
	defer l.close()
	for n := 1; pause(ctx, requestEvery); n++ {
		c := l.open(ctx)
		if c == nil {
			return
		}
		question := fmt.Appendf(nil, "r%d-%d", q.number, n)
		q.t.Counts.Asked.Add(1)
		call, cancel := context.WithTimeout(ctx, answerTimeout)
		answer, err := c.Request(call, fmt.Sprintf("echo:ask%d", q.number), question)
		cancel()
		switch {
		case err != nil:
			q.t.Counts.Refused.Add(1)
			l.failed(err)
		case !bytes.Equal(answer, question):
			q.t.Counts.WrongAnswers.Add(1)
		default:
			q.t.Counts.Answered.Add(1)
		}
	}
}
