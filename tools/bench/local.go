package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/drumline/drumline/internal/raft/engine"
	"github.com/drumline/drumline/tools/bench/measure"
	"github.com/drumline/drumline/tools/bench/tally"
)

// cluster is some hosts in this process, ours or plain dragonboat's, by index. Its
// methods may be called together for different hosts.
type cluster interface {
	// open starts a host, also again.
	open(host int) error
	// start starts a group's replica on a host, the first time or again.
	start(ctx context.Context, host, group int, again bool) error
	// leads tells whether a host believes to lead a group, knows whether it knows a leader.
	leads(host, group int) bool
	knows(host, group int) bool
	// admit lets a group that a host leads obey commands.
	admit(ctx context.Context, host, group int) error
	propose(ctx context.Context, host, group int, cmd []byte) error
	read(ctx context.Context, host, group int, query []byte) error
	// unloaded tells whether a group's replica on a host is.
	unloaded(host, group int) bool
	// stop ends a host; dead, it ends as the kernel ends the sockets of a process that was killed.
	stop(host int, dead bool) error
}

// local is a cluster in this process as a subject.
type local struct {
	cluster
	measure.Setup
	leaders []atomic.Int32 // by group
	up      []atomic.Bool  // by host
	victim  int            // the host that is killed next
	took    time.Duration  // the first start
}

// startPatience bounds the start of a subject, quickPoll how exactly its end is seen.
const (
	startPatience = 25 * time.Minute
	quickPoll     = 10 * time.Millisecond
)

func newLocal(ctx context.Context, s measure.Setup, c cluster) (subject, error) {
	l := &local{cluster: c, Setup: s, leaders: make([]atomic.Int32, s.Groups), up: make([]atomic.Bool, s.Hosts)}
	if s.Tuned {
		if err := engine.Tune(slog.New(slog.DiscardHandler)); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	var err error
	profile := l.Profiled(measure.Request{Op: measure.OpStart}, func() { err = l.launch(ctx) })
	if err = errors.Join(err, profile); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// launch starts all there is for the first time. The groups of a wave obey before the
// next one starts: the first of many sleep when the last begin.
func (l *local) launch(ctx context.Context) error {
	began := time.Now()
	if err := l.openAll(ctx); err != nil {
		return err
	}
	wave := l.Wave
	if wave == 0 {
		wave = l.Groups
	}
	for from := 0; from < l.Groups; from += wave {
		to := min(from+wave, l.Groups)
		if err := l.startGroups(ctx, from, to, false); err != nil {
			return err
		}
		l.took = time.Since(began)
		if err := l.locate(ctx, from, to); err != nil {
			return err
		}
	}
	return nil
}

func (l *local) openAll(ctx context.Context) error {
	for h := range l.up {
		if err := l.openInPhase(ctx, h); err != nil {
			return err
		}
		l.up[h].Store(true)
	}
	return nil
}

// openInPhase opens each host at its own share of a tick. Hosts that are opened within
// milliseconds of one another would tick together ever after, as no separate machines
// do, and every tenth of their elections would split the vote.
func (l *local) openInPhase(ctx context.Context, host int) error {
	into := time.Duration(time.Now().UnixNano()) % l.Tick
	measure.Pause(ctx, (l.Tick*time.Duration(host)/time.Duration(l.Hosts)-into+l.Tick)%l.Tick)
	return l.open(host)
}

// startGroups starts every replica, side by side on the hosts, and waits until every
// group has a leader.
func (l *local) startGroups(ctx context.Context, from, to int, again bool) error {
	var wg sync.WaitGroup
	errs := make([]error, l.Hosts)
	for h := range l.Hosts {
		wg.Go(func() { errs[h] = l.startOn(ctx, h, from, to, again) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return l.awaitLeaders(ctx, from, to)
}

func (l *local) startOn(ctx context.Context, host, from, to int, again bool) error {
	for g := from; g < to; g++ {
		if err := l.start(ctx, host, g, again); err != nil {
			return fmt.Errorf("start group %d on host %d: %w", g, host, err)
		}
	}
	return nil
}

// awaitLeaders looks at a few of the groups at a time that have no leader yet, so
// that looking costs little.
func (l *local) awaitLeaders(ctx context.Context, from, to int) error {
	const few = 64
	missing := make([]int, 0, to-from)
	for g := from; g < to; g++ {
		missing = append(missing, g)
	}
	return every(ctx, quickPoll, func() bool {
		kept, looked := missing[:0], 0
		for _, g := range missing {
			if looked < few && (l.led(g) >= 0 || l.parked(g)) {
				continue
			}
			looked++
			kept = append(kept, g)
		}
		missing = kept
		return len(missing) == 0
	}, func() string {
		return fmt.Sprintf("%d groups have no leader, group %d for one", len(missing), missing[0])
	})
}

// every asks again and again until the answer is yes.
func every(ctx context.Context, interval time.Duration, done func() bool, what func() string) error {
	poll := time.NewTicker(interval)
	defer poll.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what(), ctx.Err())
		case <-poll.C:
		}
	}
	return nil
}

// led is the host that believes to lead a group, or -1.
func (l *local) led(group int) int {
	for h := range l.up {
		if l.up[h].Load() && l.leads(h, group) {
			return h
		}
	}
	return -1
}

// parked tells whether a group is unloaded on some host. It had a leader, or it would
// not be idle.
func (l *local) parked(group int) bool {
	for h := range l.up {
		if l.UnloadAfter > 0 && l.up[h].Load() && l.unloaded(h, group) {
			return true
		}
	}
	return false
}

// awake is the number of replicas that are not unloaded.
func (l *local) awake() (n int) {
	for h := range l.up {
		for g := range l.Groups {
			if l.up[h].Load() && !l.unloaded(h, g) {
				n++
			}
		}
	}
	return n
}

// locate finds groups' leaders and lets the groups obey, some at a time: before each
// run, because a busy machine may have moved some.
func (l *local) locate(ctx context.Context, from, to int) error {
	const some = 16
	var wg sync.WaitGroup
	errs := make([]error, some)
	for i := range some {
		wg.Go(func() { errs[i] = l.locateEach(ctx, from+i, to, some) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (l *local) locateEach(ctx context.Context, from, to, step int) error {
	for g := from; g < to; g += step {
		var last error
		tries := 0
		err := every(ctx, quickPoll, func() bool {
			h := l.led(g)
			if h < 0 && !l.parked(g) {
				return false
			}
			if h < 0 { // the call loads it
				h = tries % l.Hosts
				tries++
			}
			l.leaders[g].Store(int32(h))
			last = l.admit(ctx, h, g)
			return last == nil
		}, func() string { return fmt.Sprintf("group %d does not answer", g) })
		if err != nil {
			return errors.Join(err, last)
		}
	}
	return nil
}

func (l *local) run(ctx context.Context, r measure.Request) (s measure.Sample, err error) {
	switch r.Op {
	case measure.OpPause, measure.OpResume: // it has no processes beside this one
		return s, nil
	case measure.OpStart:
		return measure.Sample{Seconds: l.took.Seconds(), Memory: measure.OwnMemory()}, nil
	case measure.OpRestart:
		profile := l.Profiled(r, func() { s, err = l.restart(ctx) })
		return s, errors.Join(err, profile)
	case measure.OpSettle:
		return s, l.settle(ctx, r.Time)
	case measure.OpIdle:
		err = l.Profiled(r, func() { s = l.rest(ctx, r.Time) })
		return s, err
	case measure.OpFirst:
		return l.first(ctx), nil
	case measure.OpFail:
		err = l.Profiled(r, func() { s, err = l.fail(ctx) })
		return s, err
	}
	if err = l.locate(ctx, 0, l.Groups); err != nil {
		return s, err
	}
	op, err := l.operation(r.Op)
	if err != nil {
		return s, err
	}
	return l.Measured(ctx, r, measure.OwnUsage, measure.Workload{Call: op, Weight: 1})
}

func (l *local) operation(name string) (measure.Operation, error) {
	cmd := make([]byte, tally.Payload)
	call := map[string]func(context.Context, int, int, []byte) error{"propose": l.propose, "read": l.read}[name]
	if call == nil {
		return nil, fmt.Errorf("%w: no operation %q", errUsage, name)
	}
	return func(ctx context.Context, caller int) error {
		g := caller % len(l.leaders)
		if err := call(ctx, int(l.leaders[g].Load()), g, cmd); err != nil {
			l.follow(g)
			return err
		}
		return nil
	}, nil
}

// follow looks for the leader again when an operation failed, as any caller would.
func (l *local) follow(g int) {
	if h := l.led(g); h >= 0 {
		l.leaders[g].Store(int32(h))
	}
}

func (l *local) close() error {
	var errs []error
	for h := range l.up {
		if l.up[h].Swap(false) {
			errs = append(errs, l.stop(h, false))
		}
	}
	return errors.Join(errs...)
}
