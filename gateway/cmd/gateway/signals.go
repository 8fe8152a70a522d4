package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// stopSignals listens for SIGINT and SIGTERM: the first ends stop, the second ends hurry, and a third ends the process as it would
// without any of this.
func stopSignals() (stop, hurry context.Context) {
	stop, cancelStop := context.WithCancel(context.Background())
	hurry, cancelHurry := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancelStop()
		<-signals
		signal.Stop(signals)
		cancelHurry()
	}()
	return stop, hurry
}

// onHangup calls f for each SIGHUP, one at a time, until the function that it returns is called. Those that come meanwhile are one.
func onHangup(f func()) (stop func()) {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		defer close(done)
		for range signals {
			f()
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}
