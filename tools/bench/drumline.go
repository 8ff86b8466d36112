package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/internal/raft/transport"
	"github.com/drumline/drumline/internal/raft/transport/membook"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/tools/bench/measure"
	"github.com/drumline/drumline/tools/bench/tally"
)

// inProcess is hosts of ours, on disk, over TCP.
type inProcess struct {
	measure.Setup
	dir   string
	apps  *statemachines.Registry
	book  *membook.Book
	names []ids.Host // of the hosts
	hosts []*raft.Host
	lines []*transport.Transport
}

func newOurs(ctx context.Context, dir string, s measure.Setup) (subject, error) {
	apps, err := statemachines.NewRegistry(tally.App())
	if err != nil {
		return nil, err
	}
	return newLocal(ctx, s, &inProcess{
		Setup: s, dir: dir, apps: apps, book: membook.New(),
		names: hostNames(s.Hosts), hosts: make([]*raft.Host, s.Hosts), lines: make([]*transport.Transport, s.Hosts),
	})
}

func hostNames(n int) []ids.Host {
	names := make([]ids.Host, n)
	for i := range names {
		names[i] = ids.Host(fmt.Sprintf("bench-%d", i+1))
	}
	return names
}

func (s *inProcess) open(i int) error {
	log, id := slog.New(slog.DiscardHandler), s.names[i]
	epoch := s.book.Next(id)
	t, err := transport.New(transport.Options{Host: id, BootEpoch: epoch, Deployment: "bench", Listen: "127.0.0.1:0", Book: s.book, Log: log})
	if err != nil {
		return err
	}
	if err := s.book.Learn(id, t.Addr(), epoch); err != nil {
		return err
	}
	s.lines[i] = t
	s.hosts[i], err = raft.Open(raft.Options{
		Host: id, Deployment: "bench", Dir: filepath.Join(s.dir, string(id)), Transport: t, Apps: s.apps, Tick: s.Tick, Log: log,
		Hibernate: s.Hibernate, UnloadAfter: s.UnloadAfter,
	})
	return err
}

func groupID(g int) ids.Group { return ids.FirstGroup + ids.Group(g) }

func (s *inProcess) replicaID(host, group int) ids.Replica {
	return ids.Replica(group*s.Hosts + host + 1)
}

func (s *inProcess) start(ctx context.Context, host, group int, again bool) error {
	set := make(map[ids.Replica]ids.Host, s.Hosts)
	for i := range s.hosts {
		set[s.replicaID(i, group)] = s.names[i]
	}
	return s.hosts[host].Start(ctx, raft.Replica{
		Group: groupID(group), ID: s.replicaID(host, group), Name: fmt.Sprintf("tally/%d", group), Members: set, Restart: again,
	})
}

func (s *inProcess) leads(host, group int) bool {
	st, ok := s.hosts[host].Status(groupID(group))
	return ok && st.Leading
}

func (s *inProcess) knows(host, group int) bool {
	st, ok := s.hosts[host].Status(groupID(group))
	return ok && st.Leader != 0
}

func (s *inProcess) admit(ctx context.Context, host, group int) error {
	return s.hosts[host].OpenGroup(ctx, groupID(group), 1)
}

func (s *inProcess) propose(ctx context.Context, host, group int, cmd []byte) error {
	_, err := s.hosts[host].Propose(ctx, groupID(group), cmd)
	return err
}

func (s *inProcess) read(ctx context.Context, host, group int, query []byte) error {
	_, err := s.hosts[host].Read(ctx, groupID(group), query)
	return err
}

func (s *inProcess) unloaded(host, group int) bool {
	st, ok := s.hosts[host].Status(groupID(group))
	return ok && st.Unloaded
}

// stop closes the sockets of a host that dies before all else.
func (s *inProcess) stop(i int, dead bool) error {
	var err error
	if dead {
		err = s.lines[i].Close()
	}
	return errors.Join(err, s.hosts[i].Close())
}
