package capacity

import (
	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines"
)

// View is a look at a resource that costs next to nothing: what its leader's host must
// know of each command, and what is measured.
type View struct {
	// Revision of the definition, and the definition, which must not be changed; nil
	// before there is one.
	Revision   uint64
	Definition *capacitypb.Definition
	// Granted, Reserved and Wants are sums over all clients.
	Granted, Reserved, Wants float64
	// Clients is their number, those of servers counted in.
	Clients int64
}

var _ statemachines.Viewer = (*Machine)(nil)

// View implements statemachines.Viewer; it returns a View.
func (m *Machine) View() any {
	v := View{
		Revision: m.revision, Clients: m.sums.weight,
		Granted: m.sums.granted.Value(), Reserved: m.sums.reserved.Value(), Wants: m.sums.wants.Value(),
	}
	if m.def != nil {
		v.Definition = m.def.pb
	}
	return v
}
