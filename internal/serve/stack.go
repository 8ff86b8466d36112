package serve

import (
	"errors"
	"fmt"
	"sync"
)

// Stack is the teardown of a server: each acquisition pushes its release right
// away, and Drain runs them in reverse order. The zero value is empty.
type Stack struct {
	mu    sync.Mutex // guards items; never held while one runs
	items []teardown
}

type teardown struct {
	name string
	run  func() error
}

// Push registers the release of something just acquired.
func (s *Stack) Push(name string, run func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, teardown{name: name, run: run})
}

// Drain runs all releases, last in first out, each once, whatever the others
// return; the errors are joined. A second Drain has nothing to do.
func (s *Stack) Drain() error {
	var errs []error
	for {
		t, ok := s.pop()
		if !ok {
			return errors.Join(errs...)
		}
		if err := t.run(); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", t.name, err))
		}
	}
}

func (s *Stack) pop() (teardown, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.items) == 0 {
		return teardown{}, false
	}
	t := s.items[len(s.items)-1]
	s.items = s.items[:len(s.items)-1]
	return t, true
}
