package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/drumline/drumline/internal/freeport"
)

const (
	members = 3
	// startPatience bounds the start of a side, stopPatience the end of a member.
	startPatience = 2 * time.Minute
	stopPatience  = 15 * time.Second
	poll          = 50 * time.Millisecond
)

// errEnded is a member that ended without an error, before it was told to.
var errEnded = errors.New("it stopped by itself")

// etcd is three members, each a process, and the clients that call them.
type etcd struct {
	procs   []*member
	clients []*clientv3.Client
}

// member is a running member, seen from here.
type member struct {
	cmd  *exec.Cmd
	in   io.WriteCloser // its end ends the member
	done chan struct{}  // closed when it has ended
	err  error          // why; to be read after done
}

// startEtcd starts the members under dir and waits until they have stored every key.
func startEtcd(ctx context.Context, dir string, clients int, set keys) (*etcd, error) {
	e := &etcd{}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	endpoints, err := e.spawn(dir, giveUp)
	if err == nil {
		err = e.connect(endpoints, clients)
	}
	if err == nil {
		err = e.fill(ctx, set)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start etcd: %w", err), e.close())
	}
	return e, nil
}

// spawn starts the processes and returns their clients' addresses. A process that ends says
// so to ended.
func (e *etcd) spawn(dir string, ended func(error)) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addrs, err := freeport.Addresses(2 * members) // they know each other's before they start
	if err != nil {
		return nil, err
	}
	endpoints, peers := addrs[:members], addrs[members:]
	cluster := make([]string, members)
	for i := range cluster {
		cluster[i] = fmt.Sprintf("member-%d=http://%s", i+1, peers[i])
	}
	for i := range members {
		name := fmt.Sprintf("member-%d", i+1)
		m := &member{done: make(chan struct{}), cmd: exec.Command(self, "member", name, filepath.Join(dir, name),
			"http://"+endpoints[i], "http://"+peers[i], strings.Join(cluster, ","))}
		m.cmd.Stderr = os.Stderr
		if m.in, err = m.cmd.StdinPipe(); err != nil {
			return nil, err
		}
		if err := m.cmd.Start(); err != nil {
			return nil, err
		}
		e.procs = append(e.procs, m)
		go func() { // close waits for it
			defer close(m.done)
			m.err = m.cmd.Wait()
			ended(fmt.Errorf("%s has ended, its output says why: %w", name, cmp.Or(m.err, errEnded)))
		}()
	}
	return endpoints, nil
}

// connect makes the clients. Each knows all members, as etcd's manual says, and
// spreads its calls over them by itself.
func (e *etcd) connect(endpoints []string, clients int) error {
	for range clients {
		c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: startPatience})
		if err != nil {
			return err
		}
		e.clients = append(e.clients, c)
	}
	return nil
}

// fill stores every key, and so waits for the members. A put is tried until there is a
// leader: the first one may stay away, and the next takes a second to be found. The first
// put goes alone, the rest many at a time.
func (e *etcd) fill(ctx context.Context, set keys) error {
	put := func(i int) error {
		return until(ctx, func() error { return e.put(ctx, i, set.names[i], set.value) })
	}
	if err := put(0); err != nil {
		return err
	}
	return eachKey(len(set.names), put)
}

func (e *etcd) put(ctx context.Context, worker int, key, value string) error {
	_, err := e.clients[worker%len(e.clients)].Put(ctx, key, value)
	return err
}

// get reads linearizably, which is etcd's default.
func (e *etcd) get(ctx context.Context, worker int, key string) error {
	resp, err := e.clients[worker%len(e.clients)].Get(ctx, key)
	if err != nil {
		return err
	}
	if len(resp.Kvs) != 1 || len(resp.Kvs[0].Value) != valueSize {
		return fmt.Errorf("etcd has lost key %s", key)
	}
	return nil
}

// cells are what is measured of etcd.
func (e *etcd) cells(set keys) []*cell {
	of := func(op string, do func(ctx context.Context, worker int, key string) error) *cell {
		return &cell{Op: op, System: "etcd", How: "clientv3", Batch: 1, pids: e.pids(), call: func(ctx context.Context, worker, turn int) error {
			_, key := set.pickOne(worker, turn, 1)
			return do(ctx, worker, set.names[key])
		}}
	}
	return []*cell{
		of("put", func(ctx context.Context, worker int, key string) error { return e.put(ctx, worker, key, set.value) }),
		of("read", e.get),
	}
}

func (e *etcd) pids() []int {
	var pids []int
	for _, m := range e.procs {
		pids = append(pids, m.cmd.Process.Pid)
	}
	return pids
}

func (e *etcd) close() error {
	var errs []error
	for _, c := range e.clients {
		errs = append(errs, c.Close())
	}
	for _, m := range e.procs {
		_ = m.in.Close() // it may have ended by itself, which Wait tells
	}
	for _, m := range e.procs {
		late := time.AfterFunc(stopPatience, func() { _ = m.cmd.Process.Kill() }) // Wait tells of it
		<-m.done
		errs = append(errs, m.err)
		late.Stop()
	}
	return errors.Join(errs...)
}
