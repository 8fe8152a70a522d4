package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/millracehq/millrace/bench/internal/contest"
	"github.com/millracehq/millrace/bench/internal/results"
)

const (
	subscribers = 100 // of a channel
	few         = 100 // connections that are there before memory and accepting are measured
	settle      = 2 * time.Second
	searchStart = 20_000     // deliveries/s
	searchEnd   = 10_000_000 // where nobody comes
	precision   = 1.06       // of a search: how far apart the highest good and the lowest bad rate may be
)

// newSize is the full size or the quick one. rounds and connections are those of the flags, 0 where there were none.
func newSize(quick bool, rounds, connections int) (results.Size, error) {
	s := results.Size{
		Connections: 15_000, PerClient: 10, Body: 128, ConnectRate: 1500, Rates: []int{20_000, 60_000}, Requests: 5000,
		Seconds: 18, StepSeconds: 3, Target: 50, Rounds: 3,
	}
	if quick {
		s.Connections, s.Seconds, s.StepSeconds, s.Rounds = 2000, 3, 2, 1
	}
	if rounds > 0 {
		s.Rounds = rounds
	}
	if connections > 0 {
		s.Connections = connections
	}
	s.Channels = s.Connections / subscribers
	if s.Channels < 2 || s.Connections%subscribers != 0 {
		return s, fmt.Errorf("--connections: %d is not a multiple of %d, or too few", s.Connections, subscribers)
	}
	return s, nil
}

// warming is for how many seconds a load is put on before it is measured: 2, or a third of a short one.
func warming(measured float64) float64 { return min(2, measured/3) }

// measures are names of what is measured once the connections are there; none are all. It is done in the order of measureNames.
type measures []string

const (
	deliveries = "deliveries" // at fixed rates
	requests   = "requests"
	highest    = "highest" // one publication at a time
	bursts     = "bursts"  // the highest rate of ten at a time
)

var measureNames = measures{deliveries, requests, highest, bursts}

func (m measures) want(name string) bool { return len(m) == 0 || slices.Contains(m, name) }

// estimate is roughly how long everything takes: ten steps a search, and a bad one is waited out and tried twice.
func estimate(s results.Size, chosen []contest.Contestant, measure measures) time.Duration {
	connecting := 4*time.Second + 2*settle + seconds(float64(s.Connections)/s.ConnectRate)
	steady, search := seconds(warming(s.Seconds)+s.Seconds+0.4), seconds(14*(s.StepSeconds+0.5))
	var all time.Duration
	for _, c := range chosen {
		all += connecting
		if c.Connect {
			continue
		}
		if measure.want(deliveries) {
			all += steady * time.Duration(len(s.Rates))
		}
		if measure.want(requests) && c.Asks {
			all += steady
		}
		if measure.want(highest) {
			all += search
		}
		if measure.want(bursts) {
			all += connecting + search // with more subscriptions
		}
	}
	return all * time.Duration(s.Rounds)
}
