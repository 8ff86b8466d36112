package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Victims are the processes that a nemesis may act on.
type Victims interface {
	// Kill ends a process with SIGKILL.
	Kill(name string) error
	// Stop ends a process with SIGTERM.
	Stop(name string) error
	// Pause stops a process for a while.
	Pause(name string) error
	// Resume lets it go on.
	Resume(name string) error
	// Wipe kills a process and removes its data.
	Wipe(name string) error
	// Start starts a process that does not run.
	Start(name string) error
}

// Action is one way to hurt a process.
type Action string

// Actions. A drummer is never wiped: it has no way back yet but to be replaced.
const (
	ActionKill  Action = "kill"
	ActionStop  Action = "stop"
	ActionPause Action = "pause"
	ActionWipe  Action = "wipe"
)

// Blow is one fault: what, whom, and for how long.
type Blow struct {
	Action Action        `json:"action"`
	Name   string        `json:"name"`
	For    time.Duration `json:"for"`
}

// String is the blow in a line for people.
func (b Blow) String() string { return fmt.Sprintf("%s %s for %s", b.Action, b.Name, b.For) }

// Schedule draws count blows from a seed: the same seed gives the same blows.
func Schedule(seed uint64, count int, hosts, drummers []string) []Blow {
	r := rand.New(rand.NewPCG(seed, 0))
	blows := make([]Blow, 0, count)
	for range count {
		b := Blow{For: time.Duration(500+r.IntN(14_500)) * time.Millisecond}
		actions := []Action{ActionKill, ActionStop, ActionPause, ActionWipe}
		b.Name = hosts[r.IntN(len(hosts))]
		if len(drummers) > 0 && r.IntN(4) == 0 {
			b.Name = drummers[r.IntN(len(drummers))]
			actions = slices.DeleteFunc(actions, func(a Action) bool { return a == ActionWipe })
		}
		b.Action = actions[r.IntN(len(actions))]
		blows = append(blows, b)
	}
	return blows
}

// Strike makes one blow, waits and undoes it. It ends early, undone, with the context.
func Strike(ctx context.Context, v Victims, b Blow) error {
	act, undo, err := moves(v, b.Action)
	if err != nil {
		return err
	}
	if err := act(b.Name); err != nil {
		return fmt.Errorf("%s: %w", b, err)
	}
	hold := time.NewTimer(b.For)
	defer hold.Stop()
	select {
	case <-ctx.Done():
		err = ctx.Err()
	case <-hold.C:
	}
	if e := undo(b.Name); e != nil {
		err = errors.Join(err, fmt.Errorf("undo %s: %w", b, e))
	}
	return err
}

func moves(v Victims, a Action) (act, undo func(string) error, err error) {
	switch a {
	case ActionKill:
		return v.Kill, v.Start, nil
	case ActionStop:
		return v.Stop, v.Start, nil
	case ActionPause:
		return v.Pause, v.Resume, nil
	case ActionWipe:
		return v.Wipe, v.Start, nil
	}
	return nil, nil, fmt.Errorf("unknown action %q", a)
}
