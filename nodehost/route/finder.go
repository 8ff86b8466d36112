package route

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/nodehost/route/refs"
	"github.com/drumline/drumline/statemachines"
)

// How the other hosts are asked while drummers are silent.
const (
	// headStart is how long drummers have before hosts are asked too: their answer is
	// the better one, and mostly takes a millisecond.
	headStart = 200 * time.Millisecond
	// hostTimeout bounds the question to one host, gatherTime how long further
	// answers are awaited after the first.
	hostTimeout = time.Second
	gatherTime  = 50 * time.Millisecond
	// maxAsked bounds the hosts asked for one group, askedAtOnce those at a time.
	maxAsked    = 256
	askedAtOnce = 16
)

// finder asks drummers where a group is and, while none answers, the other hosts:
// each knows what it has replicas of. So any host answers for any group although
// every drummer is down.
type finder struct {
	Locator
	hosts func() []string
	pool  Pool
}

// found is an answer, or why there is none.
type found struct {
	where *hostpb.Location
	err   error
}

// Locate returns what a drummer says or, if none says anything, what hosts say.
func (f *finder) Locate(ctx context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	drummers, hosts := make(chan found, 1), make(chan found, 1)
	running.Go(func() {
		where, err := f.Locator.Locate(ctx, ref)
		drummers <- found{where, err}
	})
	start := time.NewTimer(headStart)
	defer start.Stop()
	asked := false
	askHosts := func() {
		if !asked {
			asked = true
			running.Go(func() { hosts <- f.askHosts(ctx, ref) })
		}
	}
	var silence error
	for {
		select {
		case d := <-drummers:
			if d.err == nil || !silent(d.err) {
				return d.where, d.err
			}
			silence = d.err
			drummers = nil
			askHosts()
		case h := <-hosts:
			if h.err == nil {
				return h.where, nil
			}
			hosts = nil
		case <-start.C:
			askHosts()
		case <-ctx.Done():
			return nil, fault.Wrap(ctx.Err(), fault.Unavailable, "no drummer and no host says where the group is")
		}
		if drummers == nil && hosts == nil {
			return nil, silence
		}
	}
}

// silent tells whether the error only says that no drummer answers.
func silent(err error) bool {
	return fault.Of(err) == nil || fault.Is(err, fault.Unavailable) || fault.Is(err, fault.NotSupervisor)
}

// askHosts asks the hosts, in random order, and joins what those say that answer
// about the same time. Of two groups of one name the one with the higher number is
// the living one.
func (f *finder) askHosts(ctx context.Context, ref *hostpb.GroupRef) found {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	addrs := f.hosts()
	rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	addrs = addrs[:min(len(addrs), maxAsked)]
	answers, turns := make(chan *hostpb.Location, len(addrs)), make(chan struct{}, askedAtOnce)
	for _, addr := range addrs {
		running.Go(func() {
			select {
			case turns <- struct{}{}:
				answers <- f.askHost(ctx, addr, ref)
				<-turns
			case <-ctx.Done():
				answers <- nil
			}
		})
	}
	return gather(answers, len(addrs))
}

// gather joins answers; nil is a host that does not know.
func gather(answers <-chan *hostpb.Location, n int) found {
	var best *hostpb.Location
	var enough <-chan time.Time
	for range n {
		select {
		case where := <-answers:
			if where == nil {
				continue
			}
			if best = join(best, where); enough == nil {
				enough = time.After(gatherTime)
			}
		case <-enough:
			return found{where: best}
		}
	}
	if best == nil {
		return found{err: fault.New(fault.Unavailable, "no host has a replica of it")}
	}
	return found{where: best}
}

// join puts two hosts' answers together.
func join(a, b *hostpb.Location) *hostpb.Location {
	switch {
	case a == nil || b.GetId() > a.GetId():
		return b
	case b.GetId() < a.GetId():
		return a
	}
	a.Members = append(a.Members, b.GetMembers()...)
	if a.GetLeaderApi() == "" {
		a.LeaderHost, a.LeaderApi = b.GetLeaderHost(), b.GetLeaderApi()
	}
	return a
}

// askHost asks one host; nil if it does not know or does not answer.
func (f *finder) askHost(ctx context.Context, addr string, ref *hostpb.GroupRef) *hostpb.Location {
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	conn, err := f.pool.Dial(ctx, addr)
	if err != nil {
		return nil
	}
	resp, err := hostpb.NewDirectoryClient(conn).Locate(ctx, &hostpb.LocateRequest{Group: ref, Local: true})
	if serve.ReadFault(err) != nil || resp.GetLocation().GetId() == 0 {
		return nil
	}
	return resp.GetLocation()
}

// LocateHere tells of a group what this host knows by a replica of its own;
// fault.GroupNotFound if it has none that is open.
func (r *Router) LocateHere(_ context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error) {
	if err := refs.Check(ref); err != nil {
		return nil, err
	}
	g := ids.Group(ref.GetId())
	if g == 0 {
		g, _ = r.o.Local.GroupByName(statemachines.NameOf(ref))
	}
	s, ok := r.o.Raft.Status(g)
	if !ok || !s.Opened || s.Sealed {
		return nil, fault.New(fault.GroupNotFound, "this host has no open replica of group %s", refs.Title(statemachines.NameOf(ref), ref.GetId()))
	}
	where := refs.Here(s.Name, g)
	where.LeaderHost = string(s.LeaderHost)
	if err := refs.Agree(ref, where); err != nil {
		return nil, err
	}
	where.LeaderApi = r.api(s.LeaderHost, where)
	where.Members = []*hostpb.Member{{Replica: uint64(s.Replica), HostId: string(r.o.Self), Api: r.api(r.o.Self, where), Observer: s.Observer}}
	return where, nil
}
