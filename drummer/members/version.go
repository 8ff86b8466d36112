package members

import (
	"context"
	"fmt"

	"github.com/drumline/drumline/drummer/fleet"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// raise raises the behaviour version of the record to that of this program, once every other
// drummer says that its program knows it: no two of them may apply a command differently.
func (m *Members) raise(ctx context.Context, c *Cluster, number uint64, list []*fleetpb.Drummer) (why string, err error) {
	st, _ := c.Group.Status(ids.DrummerGroup)
	if st.Version == 0 || st.Version >= fleet.AppVersion {
		return "", nil
	}
	for _, d := range list {
		if d.GetNumber() == number {
			continue
		}
		stays := fmt.Sprintf("%s: the record stays at version %d until it runs a program that knows version %d", d.GetName(), st.Version, fleet.AppVersion)
		resp, err := m.ask(ctx, d.GetApi(), m.question())
		if err != nil || resp.GetSelf().GetHostId() != d.GetHostId() || resp.GetRecordVersion() < fleet.AppVersion {
			return stays, nil //nolint:nilerr // it is asked again at the next look
		}
	}
	return fmt.Sprintf("raise the record to version %d", fleet.AppVersion), c.Group.RaiseVersion(ctx, ids.DrummerGroup, fleet.AppVersion)
}
