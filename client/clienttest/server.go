package clienttest

import (
	"context"
	"net"
)

// server is a drummer or a host, running or not. Its methods are called by one goroutine
// at a time.
type server struct {
	addr string
	port net.Listener // held for the first start
	run  func(ctx context.Context, ln net.Listener) error

	cancel context.CancelFunc // nil while it does not run
	done   chan struct{}
	err    error // after done
}

// start runs it; on the port that is held for it, the first time.
func (s *server) start() {
	if s.cancel != nil {
		return
	}
	ln := s.port // nil: it binds its own
	s.port = nil
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.cancel, s.done, s.err = cancel, done, nil
	go func() {
		defer close(done)
		s.err = s.run(ctx, ln)
	}()
}

// ended is why it ended by itself, if it did.
func (s *server) ended() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// stop stops it in order and waits.
func (s *server) stop() error {
	if s.cancel == nil {
		if s.port == nil {
			return nil
		}
		return s.port.Close()
	}
	s.cancel()
	<-s.done
	s.cancel = nil
	return s.err
}
