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

// onReload calls each of them at each SIGHUP, one after the other, until stop is called.
func onReload(calls ...func()) (stop func()) {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		defer close(done)
		for range signals {
			for _, call := range calls {
				call()
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals) // nothing is sent to it after Stop
		<-done
	}
}
