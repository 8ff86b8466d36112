package formation

import (
	"context"
	"errors"
	"fmt"
	"sync"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/ids"
)

// answer is what one drummer said in a round.
type answer struct {
	told    string
	id      Identity
	members Members
	fleet   string
}

// round asks every other drummer once and decides if it can. missing says who did
// not answer; err is final.
func (f *Formation) round(ctx context.Context) (missing, err error) {
	since := f.statements()
	answers, missing := f.askAll(ctx, f.others())
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.members != nil {
		return missing, nil
	}
	for _, a := range answers {
		if a.members == nil {
			continue
		}
		if err := f.checkMine(a.members, a.told); err != nil {
			return missing, err
		}
		if err := f.checkFleet(a.fleet, a.told); err != nil {
			return missing, err
		}
		if f.contradicted(a.members, since) {
			continue
		}
		return missing, f.adopt(a.members, a.fleet, answers)
	}
	if missing == nil && f.o.Self.Index == 1 {
		return nil, f.decide(answers, since)
	}
	return missing, nil
}

// decide makes the map when all are new. Only drummer 1 does, under f.mu.
func (f *Formation) decide(answers []answer, since uint64) error {
	m := Members{f.o.Self.Index: f.o.Self.Host}
	taken := map[ids.Host]int{f.o.Self.Host: f.o.Self.Index}
	for _, a := range answers {
		if a.members != nil {
			return nil // formed, but contradicted in this round: ask again
		}
		if other, twice := taken[a.id.Host]; twice {
			return fmt.Errorf("drummers %d and %d have the same host id %s: one data directory is a copy of the other; empty one of them", other, a.id.Index, a.id.Host)
		}
		taken[a.id.Host] = a.id.Index
		m[a.id.Index] = a.id.Host
	}
	if len(m) != len(f.o.Drummers) || f.contradicted(m, since) {
		return nil
	}
	return f.adopt(m, f.o.Fleet, answers)
}

// contradicted tells whether a drummer said, after the round began, that it is
// another than m has it: its disk was lost meanwhile, and what this round's answers
// say may be older than that.
func (f *Formation) contradicted(m Members, since uint64) bool {
	for i, s := range f.heard {
		if s.at > since && s.host != m[i] {
			return true
		}
	}
	return false
}

// adopt writes the map to disk, then makes it the answer to every question.
func (f *Formation) adopt(m Members, fleet string, answers []answer) error {
	if err := f.store.saveMembers(m, fleet); err != nil {
		return err
	}
	f.members, f.fleet = m, fleet
	f.o.Log.Info("the drummers' group is formed", "members", m)
	for _, a := range answers {
		f.learn(a.id)
	}
	return nil
}

// learn keeps where a member is. Under f.mu. What an outsider says is not kept.
func (f *Formation) learn(id Identity) {
	if f.members[id.Index] != id.Host || id.Index == f.o.Self.Index || id.BootEpoch < f.peers[id.Index].BootEpoch {
		return
	}
	known := f.peers[id.Index] == id
	f.peers[id.Index] = id
	if err := f.o.Learn(id.Host, id.Raft, id.BootEpoch); err != nil {
		f.o.Log.Error("keep a drummer's address", "drummer", id.Index, "err", err)
	}
	if known {
		return
	}
	if err := f.store.savePeer(id); err != nil {
		f.o.Log.Error("keep a drummer's name", "drummer", id.Index, "err", err)
	}
}

func (f *Formation) statements() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

func (f *Formation) others() []int {
	var others []int
	for i := range f.o.Drummers {
		if i+1 != f.o.Self.Index {
			others = append(others, i+1)
		}
	}
	return others
}

// askAll asks at the same time; the error joins what went wrong.
func (f *Formation) askAll(ctx context.Context, indexes []int) ([]answer, error) {
	var (
		wg      sync.WaitGroup
		answers = make([]answer, len(indexes))
		errs    = make([]error, len(indexes))
	)
	for n, index := range indexes {
		wg.Go(func() { answers[n], errs[n] = f.ask(ctx, index) })
	}
	wg.Wait()
	good := answers[:0]
	for n, a := range answers {
		if errs[n] == nil {
			good = append(good, a)
		}
	}
	return good, errors.Join(errs...)
}

// ask puts the question to one drummer.
func (f *Formation) ask(ctx context.Context, index int) (answer, error) {
	address := f.o.Drummers[index-1]
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := f.o.Conn(address)
	if err != nil {
		return answer{}, fmt.Errorf("drummer %d at %s: %w", index, address, err)
	}
	self := f.o.Self
	resp, err := drummerpb.NewFormationClient(conn).Form(ctx, &drummerpb.FormRequest{
		Deployment: f.o.Deployment, Index: uint32(self.Index), HostId: string(self.Host),
		Raft: self.Raft, BootEpoch: self.BootEpoch, Name: self.Name, Region: self.Region,
	})
	if err != nil {
		return answer{}, fmt.Errorf("drummer %d at %s: %w", index, address, err)
	}
	if int(resp.GetIndex()) != index || resp.GetHostId() == "" || resp.GetRaft() == "" {
		return answer{}, fmt.Errorf("drummer %d at %s says that it is drummer %d: the lists of drummers differ between the configurations", index, address, resp.GetIndex())
	}
	return answer{told: address, id: identityOf(resp), members: membersOf(resp), fleet: resp.GetFleet()}, nil
}

func identityOf(r *drummerpb.FormResponse) Identity {
	return Identity{
		Index: int(r.GetIndex()), Host: ids.Host(r.GetHostId()), BootEpoch: r.GetBootEpoch(),
		Raft: r.GetRaft(), Name: r.GetName(), Region: r.GetRegion(),
	}
}

func membersOf(r *drummerpb.FormResponse) Members {
	if len(r.GetMembers()) == 0 {
		return nil
	}
	m := make(Members, len(r.GetMembers()))
	for i, h := range r.GetMembers() {
		m[int(i)] = ids.Host(h)
	}
	return m
}
