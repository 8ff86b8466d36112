package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/drumline/drumline/tools/bench/measure"
	"github.com/drumline/drumline/tools/bench/tally"
)

// restart stops all hosts in order and measures the time until every group has a
// leader again.
func (l *local) restart(ctx context.Context) (measure.Sample, error) {
	if err := l.close(); err != nil {
		return measure.Sample{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	began := time.Now()
	err := l.openAll(ctx)
	if err == nil {
		err = l.startGroups(ctx, 0, l.Groups, true)
	}
	return measure.Sample{Seconds: time.Since(began).Seconds(), Memory: measure.OwnMemory()}, err
}

// settle waits a time, and then for the last group that is to be unloaded.
func (l *local) settle(ctx context.Context, d time.Duration) error {
	measure.Pause(ctx, d)
	if l.UnloadAfter == 0 {
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, l.UnloadAfter+time.Minute)
	defer cancel()
	return every(ctx, time.Second, func() bool { return l.awake() == 0 }, func() string { return fmt.Sprintf("%d replicas are not unloaded", l.awake()) })
}

// rest measures the processor time of doing nothing, then what memory that takes.
func (l *local) rest(ctx context.Context, d time.Duration) measure.Sample {
	began, before := time.Now(), measure.OwnUsage()
	measure.Pause(ctx, d)
	used, took := measure.OwnUsage().Since(before), time.Since(began)
	return measure.Sample{CPU: 100 * float64(used.CPU) / float64(took), Memory: measure.OwnMemory()}
}

const (
	// firsts is the number of groups that get a first command.
	firsts = 50
	// firstPatience bounds its answer.
	firstPatience = 30 * time.Second
)

// first proposes once to some of the groups, one after the other, and goes from host
// to host until one takes it.
func (l *local) first(ctx context.Context) measure.Sample {
	var s measure.Sample
	var times []time.Duration
	for i := range min(firsts, l.Groups) {
		began := time.Now()
		err := l.ring(ctx, i*max(1, l.Groups/firsts))
		if err != nil {
			s.Failed, s.Error = s.Failed+1, err.Error()
			continue
		}
		times = append(times, time.Since(began))
	}
	s.Spread(times)
	return s
}

// ring proposes where the leader was and then everywhere.
func (l *local) ring(ctx context.Context, group int) error {
	ctx, cancel := context.WithTimeout(ctx, firstPatience)
	defer cancel()
	at := int(l.leaders[group].Load())
	for {
		err := l.propose(ctx, at, group, make([]byte, tally.Payload))
		if err == nil || ctx.Err() != nil {
			return err
		}
		measure.Pause(ctx, quickPoll)
		at = (at + 1) % l.Hosts
		if h := l.led(group); h >= 0 {
			at = h
		}
	}
}

// failPatience is when a group counts as lost for good.
const failPatience = time.Minute

// fail kills a host, the next at each call, and measures for each group that was led
// there when a survivor leads it. Then the host comes back.
func (l *local) fail(ctx context.Context) (measure.Sample, error) {
	dead := l.victim
	l.victim = (dead + 1) % l.Hosts
	var orphans []int
	for g := range l.Groups {
		if l.led(g) == dead {
			orphans = append(orphans, g)
		}
	}
	s := measure.Sample{Moved: len(orphans)}
	began, stopped := time.Now(), make(chan error, 1)
	l.up[dead].Store(false)
	go func() { stopped <- l.stop(dead, true) }() // received below
	s.Spread(l.adopted(ctx, orphans, began))
	s.Failed = s.Moved - s.Counted
	if err := <-stopped; err != nil {
		return s, err
	}
	return s, l.revive(ctx, dead)
}

// adopted waits for the groups' new leaders.
func (l *local) adopted(ctx context.Context, orphans []int, began time.Time) (times []time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, failPatience)
	defer cancel()
	_ = every(ctx, quickPoll, func() bool { // what is missing at the end is counted as failed
		orphans = slices.DeleteFunc(orphans, func(g int) bool {
			if l.led(g) < 0 {
				return false
			}
			times = append(times, time.Since(began))
			return true
		})
		return len(orphans) == 0
	}, func() string { return "orphans" })
	return times
}

// revive starts a host again and waits until all its replicas know their leaders.
func (l *local) revive(ctx context.Context, host int) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if err := errors.Join(l.openInPhase(ctx, host), l.startOn(ctx, host, 0, l.Groups, true)); err != nil {
		return err
	}
	l.up[host].Store(true)
	unaware := func() (n int) {
		for g := range l.Groups {
			if !l.knows(host, g) {
				n++
			}
		}
		return n
	}
	return every(ctx, time.Second/4, func() bool { return unaware() == 0 }, func() string { return fmt.Sprintf("%d replicas know no leader", unaware()) })
}
