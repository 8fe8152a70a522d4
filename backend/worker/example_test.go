package worker_test

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/millracehq/millrace/backend/worker"
	"github.com/millracehq/millrace/gateway/stream"
)

// A backend that publishes to everyone on a channel what one of them sends to it.
func Example() {
	redis := miniredis.NewMiniRedis() // in real life it is there already
	if err := redis.Start(); err != nil {
		panic(err)
	}
	defer redis.Close()

	w, err := worker.New(worker.Config{Redis: "redis://" + redis.Addr() + "/0"})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w.Handle("chat", func(_ context.Context, e *worker.Event) error {
		fmt.Printf("%s by %s on %s: %s\n", e.Kind, e.User, e.Channel, e.Data)
		e.Publish(e.Channel, e.Data)
		stop() // what was read is still finished
		return nil
	})

	event := stream.Event{Kind: stream.KindPub, Channel: "chat:lobby", User: "ann", Data: "hello"} // as a gateway has it
	var fields []string
	for _, v := range event.Values() {
		fields = append(fields, fmt.Sprint(v))
	}
	keys := stream.Keys{}
	partition := stream.Partition(event.Channel, stream.DefaultPartitions)
	if _, err := redis.XAdd(keys.In(partition), "*", fields); err != nil {
		panic(err)
	}
	if err := w.Run(ctx); err != nil {
		panic(err)
	}
	out, err := redis.Stream(keys.Out(partition))
	if err != nil {
		panic(err)
	}
	fmt.Println(out[0].Values)
	// Output:
	// pub by ann on chat:lobby: hello
	// [ch chat:lobby data hello]
}

// A backend that says who may subscribe, for gateways whose namespace "room" has authorize: backend.
func ExampleEvent_Grant() {
	redis := miniredis.NewMiniRedis()
	if err := redis.Start(); err != nil {
		panic(err)
	}
	defer redis.Close()

	w, err := worker.New(worker.Config{Redis: "redis://" + redis.Addr() + "/0"})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w.Handle("room", func(_ context.Context, e *worker.Event) error {
		defer stop()
		switch {
		case e.Kind != stream.KindSub || !e.Asked():
		case e.User == "ann":
			e.Grant(time.Minute) // the gateway may remember it for so long
		default:
			e.Deny(403, "members only")
		}
		return nil
	})

	keys := stream.Keys{}
	redis.XAdd(keys.Node("g1"), "*", []string{"kind", "wake"}) // a gateway's stream, which it makes itself
	question := stream.Event{Kind: stream.KindSub, Channel: "room:7", User: "ann", Node: "g1", Conn: "c1", Ref: "3"}
	var fields []string
	for _, v := range question.Values() {
		fields = append(fields, fmt.Sprint(v))
	}
	if _, err := redis.XAdd(keys.In(stream.Partition(question.Channel, stream.DefaultPartitions)), "*", fields); err != nil {
		panic(err)
	}
	if err := w.Run(ctx); err != nil {
		panic(err)
	}
	answers, err := redis.Stream(keys.Node("g1"))
	if err != nil {
		panic(err)
	}
	fmt.Println(answers[1].Values)
	// Output:
	// [kind grant conn c1 ref 3 data {"ttl_ms":60000}]
}
