package formation

import (
	"context"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
)

// maxText bounds every text of a question, in bytes.
const maxText = 512

// Form answers another drummer.
func (f *Formation) Form(_ context.Context, r *drummerpb.FormRequest) (*drummerpb.FormResponse, error) {
	if err := f.check(r); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	index, host := int(r.GetIndex()), ids.Host(r.GetHostId())
	if f.heard[index].host != host {
		f.count++
		f.heard[index] = statement{host: host, at: f.count}
	}
	f.learn(Identity{
		Index: index, Host: host, BootEpoch: r.GetBootEpoch(),
		Raft: r.GetRaft(), Name: r.GetName(), Region: r.GetRegion(),
	})
	return f.answer(), nil
}

func (f *Formation) answer() *drummerpb.FormResponse {
	resp := &drummerpb.FormResponse{
		Index: uint32(f.o.Self.Index), HostId: string(f.o.Self.Host), Raft: f.o.Self.Raft,
		BootEpoch: f.o.Self.BootEpoch, Name: f.o.Self.Name, Region: f.o.Self.Region,
	}
	if f.members != nil {
		resp.Fleet = f.fleet
		resp.Members = make(map[uint32]string, len(f.members))
		for i, h := range f.members {
			resp.Members[uint32(i)] = string(h)
		}
	}
	return resp
}

// check refuses strangers and mistakes in the configuration.
func (f *Formation) check(r *drummerpb.FormRequest) error {
	for _, s := range []string{r.GetDeployment(), r.GetHostId(), r.GetRaft(), r.GetName(), r.GetRegion()} {
		if len(s) > maxText {
			return fault.New(fault.Invalid, "a text of %d bytes is longer than %d", len(s), maxText)
		}
	}
	index := int(r.GetIndex())
	switch {
	case r.GetDeployment() != f.o.Deployment:
		return fault.New(fault.Invalid, "drummer %d belongs to deployment %q, this one to %q: check the addresses of the drummers", index, r.GetDeployment(), f.o.Deployment)
	case r.GetHostId() == "" || r.GetRaft() == "":
		return fault.New(fault.Invalid, "a host id and a Raft address are needed")
	case index < 1 || index > len(f.o.Drummers):
		return fault.New(fault.Invalid, "drummer index %d is not among the %d that are configured here: give every drummer the same list", index, len(f.o.Drummers))
	case index == f.o.Self.Index:
		return fault.New(fault.Invalid, "drummer index %d is this drummer's own: give each its own index", index)
	case ids.Host(r.GetHostId()) == f.o.Self.Host:
		return fault.New(fault.Invalid, "host id %s is this drummer's own: drummer %d uses a copy of its data directory", r.GetHostId(), index)
	}
	return nil
}
