package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// supervisor has all children of one run.
type supervisor struct {
	// Immutable after newSupervisor.
	console *console
	timing  timing
	failed  chan error // what keep of any child said; one place each
}

// run starts everything, and stops everything when stop is done. It returns nil after an orderly end, and an error
// when something could not be started, did not become ready, or died too often.
func run(stop, kill context.Context, cfg config, out io.Writer) error {
	redisURL, redisNote := cfg.redis, "as told by --redis"
	if redisURL == "" {
		redis, err := startRedis(kill, cfg.redisPort)
		if err != nil {
			return err
		}
		defer redis.stop()
		redisURL, redisNote = redis.url(), "embedded, in memory"
	}
	backendParts, gatewayParts := slices.Concat(cfg.backendParts(redisURL), cfg.rewardsParts(redisURL)), cfg.gatewayParts(redisURL)
	if err := checkParts(slices.Concat(gatewayParts, backendParts)); err != nil {
		return err
	}

	c := &console{w: out, width: len(fmt.Sprintf("gateway-%d", max(cfg.gateways, cfg.backends)))}
	c.say("redis is at %s (%s)", redisURL, redisNote)
	s := &supervisor{console: c, timing: cfg.timing, failed: make(chan error, len(gatewayParts)+len(backendParts))}
	backends := s.start(kill, "backends", backendParts)
	defer backends.stop()
	gateways := s.start(kill, "gateways", gatewayParts)
	defer gateways.stop()

	err := s.waitReady(stop, slices.Concat(backends.children, gateways.children))
	if err != nil || stop.Err() != nil {
		return err
	}
	c.block(banner(&cfg, redisURL, redisNote, backendParts, gatewayParts))
	select {
	case err := <-s.failed:
		return err
	case <-stop.Done():
		return nil
	}
}

// group is what starts and stops together.
type group struct {
	s        *supervisor
	name     string
	children []*child
	cancel   context.CancelFunc
	running  sync.WaitGroup
}

func (s *supervisor) start(kill context.Context, name string, parts []part) *group {
	stop, cancel := context.WithCancel(kill)
	g := &group{s: s, name: name, cancel: cancel}
	for _, p := range parts {
		c := newChild(p, s.timing, s.console)
		g.children = append(g.children, c)
		g.running.Go(func() {
			if err := c.keep(stop, kill); err != nil {
				s.failed <- err
			}
		})
	}
	return g
}

// stop ends all children of the group and returns when they are gone.
func (g *group) stop() {
	if len(g.children) > 0 {
		g.s.console.say("stopping the %s", g.name)
	}
	g.cancel()
	g.running.Wait()
}

// waitReady returns when all children have been ready once, when one of them was given up, when it took too long, or
// (with nil) when stop is done.
func (s *supervisor) waitReady(stop context.Context, children []*child) error {
	patience := time.NewTimer(s.timing.ready)
	defer patience.Stop()
	progress := time.NewTicker(s.timing.ready / 6)
	defer progress.Stop()
	for i := 0; i < len(children); {
		select {
		case <-children[i].ready:
			i++
		case <-progress.C:
			s.console.say("waiting for %s", strings.Join(notReady(children), ", "))
		case err := <-s.failed:
			return err
		case <-patience.C:
			return s.tooLate(children)
		case <-stop.Done():
			return nil
		}
	}
	return nil
}

func notReady(children []*child) (names []string) {
	for _, c := range children {
		select {
		case <-c.ready:
		default:
			names = append(names, c.part.name)
		}
	}
	return names
}

func (s *supervisor) tooLate(children []*child) error {
	var faults []error
	for _, c := range children {
		select {
		case <-c.ready:
		default:
			faults = append(faults, fmt.Errorf("%s is not ready after %v (%w); the last lines of its log:\n%s",
				c.part.name, s.timing.ready, c.lastProbe(), c.log.last()))
		}
	}
	return errors.Join(faults...)
}
