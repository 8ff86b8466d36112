package words

import (
	"fmt"
	"strings"
	"time"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// Wish says what has changed in what is wanted of a host, for the event.
func Wish(old, next *fleetpb.HostWanted) string {
	var parts []string
	if old.GetDuty() != next.GetDuty() {
		parts = append(parts, DutyWord(next.GetDuty()))
	}
	if old.GetMaintenanceUntilUnixMs() != next.GetMaintenanceUntilUnixMs() {
		parts = append(parts, "maintenance until "+fmt.Sprint(next.GetMaintenanceUntilUnixMs())+" ms")
		if next.GetMaintenanceUntilUnixMs() == 0 {
			parts[len(parts)-1] = "no maintenance"
		}
	}
	if weight(old) != weight(next) {
		parts = append(parts, fmt.Sprintf("weight %d percent", weight(next)))
	}
	if next.GetReason() != "" {
		parts = append(parts, next.GetReason())
	}
	if len(parts) == 0 {
		return DutyWord(next.GetDuty())
	}
	return strings.Join(parts, ", ")
}

// RulesOf says where a spec wants its replicas, for the event.
func RulesOf(s *fleetpb.Spec) string {
	var parts []string
	for _, r := range s.GetRegions() {
		parts = append(parts, fmt.Sprintf("%d in %s", r.GetCount(), r.GetRegion()))
	}
	for _, l := range s.GetRequire() {
		parts = append(parts, "on "+l)
	}
	for _, l := range s.GetForbid() {
		parts = append(parts, "not on "+l)
	}
	if s.GetIsolation() != fleetpb.Isolation_ISOLATION_UNSPECIFIED {
		parts = append(parts, "isolated by "+isolationWord(s.GetIsolation()))
	}
	if len(s.GetLeaders()) > 0 {
		parts = append(parts, "led from "+strings.Join(s.GetLeaders(), ", "))
	}
	if ms := s.GetDownAfterMs(); ms != 0 {
		parts = append(parts, "replaced after "+(time.Duration(ms)*time.Millisecond).String())
	}
	if !plain(s.GetRaft()) {
		parts = append(parts, "Raft options "+RaftOf(s.GetRaft()))
	}
	if len(parts) == 0 {
		return ""
	}
	return "; " + strings.Join(parts, ", ")
}

func isolationWord(i fleetpb.Isolation) string {
	if i == fleetpb.Isolation_ISOLATION_REGION {
		return "region"
	}
	return "zone"
}

func plain(o *fleetpb.RaftOptions) bool {
	return o.GetSnapshotEntries() == 0 && o.GetElectionTicks() == 0 && o.GetHeartbeatTicks() == 0
}

// RaftOf says which Raft options a group has of its own, as people write them.
func RaftOf(o *fleetpb.RaftOptions) string {
	if plain(o) {
		return "those of its hosts"
	}
	var parts []string
	if n := o.GetSnapshotEntries(); n != 0 {
		parts = append(parts, fmt.Sprintf("snapshot_entries=%d", n))
	}
	if o.GetElectionTicks() != 0 {
		parts = append(parts, fmt.Sprintf("election_ticks=%d", o.GetElectionTicks()), fmt.Sprintf("heartbeat_ticks=%d", o.GetHeartbeatTicks()))
	}
	return strings.Join(parts, ",")
}
