// Package client speaks millrace.v1 (docs/PROTOCOL.md) to a gateway.
//
//	conn, err := client.Dial(ctx, "ws://localhost:8080/ws", client.Options{Token: jwt})
//	sub, err := conn.Subscribe(ctx, "board:7", "")
//	err = conn.Publish(ctx, "board:7", "my-id-1", body) // nil: it is stored
//	for {
//		p, err := sub.Next(ctx)
//	}
//
// There are two ways in. [Dial] gives a [Conn]: commands are calls that return with their answer, publications come
// from a [Subscription]. [DialRaw] gives a [Raw]: whole frames out and in, with nothing checked and nothing answered,
// for tests and tools.
//
// One goroutine per Conn reads. It hands publications to bounded queues and waits when one is full: then nothing else
// is read from that connection either, answers included, and the gateway ends up treating it as a slow consumer. So
// keep calling [Subscription.Next], and do not wait for an answer in the goroutine that alone does so.
//
// A Conn does not reconnect. To resume, dial again and subscribe with [Subscription.Position]. The WebSocket
// underneath is github.com/coder/websocket, on purpose not the implementation that the gateway uses: one
// misunderstanding cannot hide on both sides.
package client
