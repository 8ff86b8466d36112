package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/internal/raft/transport"
	"github.com/drumline/drumline/statemachines"
)

const members = 3

// inProcess is three hosts of ours in this process, on disk, over TCP.
type inProcess struct {
	hosts   []*raft.Host
	leaders []atomic.Pointer[raft.Host] // by group
}

func newInProcess(ctx context.Context, dir string, groups int) (subject, error) {
	apps, err := statemachines.NewRegistry(tallyApp())
	if err != nil {
		return nil, err
	}
	s, shared := &inProcess{}, &book{addrs: map[ids.Host]string{}}
	for i := range members {
		h, err := openHost(dir, i, shared, apps)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.hosts = append(s.hosts, h)
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if err := s.launch(ctx, groups); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func hostID(i int) ids.Host { return ids.Host(fmt.Sprintf("bench-%d", i+1)) }

func openHost(dir string, i int, shared *book, apps *statemachines.Registry) (*raft.Host, error) {
	log := slog.New(slog.DiscardHandler)
	t, err := transport.New(transport.Options{Host: hostID(i), BootEpoch: 1, Deployment: "bench", Listen: "127.0.0.1:0", Book: shared, Log: log})
	if err != nil {
		return nil, err
	}
	if err := shared.Learn(hostID(i), t.Addr(), 1); err != nil {
		return nil, err
	}
	return raft.Open(raft.Options{
		Host: hostID(i), Deployment: "bench", Dir: filepath.Join(dir, string(hostID(i))), Transport: t, Apps: apps, Tick: tick, Log: log,
	})
}

// tick is that of both in-process subjects.
const tick = 50 * time.Millisecond

// launch starts the groups and waits until each is open and led.
func (s *inProcess) launch(ctx context.Context, groups int) error {
	for g := range groups {
		set := map[ids.Replica]ids.Host{}
		for i := range s.hosts {
			set[ids.Replica(g*members+i+1)] = hostID(i)
		}
		for i, h := range s.hosts {
			r := raft.Replica{Group: groupID(g), ID: ids.Replica(g*members + i + 1), Name: fmt.Sprintf("tally/%d", g), Members: set}
			if err := h.Start(ctx, r); err != nil {
				return err
			}
		}
	}
	s.leaders = make([]atomic.Pointer[raft.Host], groups)
	return s.locate(ctx)
}

// locate finds every group's leader and opens the group: before each run, because a
// busy machine may have moved some.
func (s *inProcess) locate(ctx context.Context) error {
	for g := range s.leaders {
		h, err := s.open(ctx, groupID(g))
		if err != nil {
			return err
		}
		s.leaders[g].Store(h)
	}
	return nil
}

// follow looks for the leader again when an operation failed, as any caller would.
func (s *inProcess) follow(g int, err error) error {
	if err != nil {
		if h := s.serving(groupID(g)); h != nil {
			s.leaders[g].Store(h)
		}
	}
	return err
}

func (s *inProcess) serving(g ids.Group) *raft.Host {
	for _, h := range s.hosts {
		if st, ok := h.Status(g); ok && st.Serving {
			return h
		}
	}
	return nil
}

func groupID(g int) ids.Group { return ids.FirstGroup + ids.Group(g) }

// open waits for a group's leader and opens the group.
func (s *inProcess) open(ctx context.Context, g ids.Group) (*raft.Host, error) {
	poll := time.NewTicker(tick)
	defer poll.Stop()
	for {
		if h := s.serving(g); h != nil {
			return h, h.OpenGroup(ctx, g, 1)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("group %d has no leader: %w", g, ctx.Err())
		case <-poll.C:
		}
	}
}

func (s *inProcess) operate(ctx context.Context, op string) (operation, error) {
	if err := s.locate(ctx); err != nil {
		return nil, err
	}
	cmd := make([]byte, payload)
	switch op {
	case "propose":
		return func(ctx context.Context, caller int) error {
			g := caller % len(s.leaders)
			_, err := s.leaders[g].Load().Propose(ctx, groupID(g), cmd)
			return s.follow(g, err)
		}, nil
	case "read":
		return func(ctx context.Context, caller int) error {
			g := caller % len(s.leaders)
			_, err := s.leaders[g].Load().Read(ctx, groupID(g), cmd)
			return s.follow(g, err)
		}, nil
	}
	return nil, fmt.Errorf("%w: no operation %q", errUsage, op)
}

func (*inProcess) usage() usage { return ownUsage() }

func (s *inProcess) close() error {
	var errs []error
	for _, h := range s.hosts {
		errs = append(errs, h.Close())
	}
	return errors.Join(errs...)
}

// book is the hosts' common address book.
type book struct {
	mu    sync.Mutex
	addrs map[ids.Host]string
}

// Lookup returns where a host is.
func (b *book) Lookup(h ids.Host) (string, uint64, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	addr, ok := b.addrs[h]
	return addr, 1, ok
}

// Learn notes where a host is.
func (b *book) Learn(h ids.Host, addr string, _ uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addrs[h] = addr
	return nil
}
