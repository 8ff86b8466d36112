package steer

import (
	"context"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

func (r *Room) set() noun.Verb {
	return noun.Verb{
		Name: "set", Usage: "change the Raft options of a group that runs", Args: "NAME", Min: 1, Max: 1,
		About: "The options are snapshot_entries, election_ticks and heartbeat_ticks; the last two are set together. They replace those that the group has; what is " +
			"left out is as its hosts are configured, and --raft=default leaves out all. Replicas are restarted one after the other, each only while all others are up, " +
			"and the leader last, after it has handed over.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "raft", Usage: "`OPTIONS` like snapshot_entries=1000,election_ticks=20,heartbeat_ticks=2, or default"},
			noun.Region(), author(), dryRun(),
		},
		Run: func(ctx context.Context, c *cli.Context) error {
			return r.shape(ctx, c, func(s *fleetpb.Spec) (err error) { s.Raft, err = raftOptions(c.String("raft")); return err })
		},
	}
}

// raftOptions reads Raft options; nil for those of the hosts.
func raftOptions(text string) (*fleetpb.RaftOptions, error) {
	if text == "default" {
		return nil, nil
	}
	o, seen := &fleetpb.RaftOptions{}, map[string]bool{}
	for _, part := range list(text) {
		key, value, _ := strings.Cut(part, "=")
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil || n == 0 || seen[key] {
			return nil, noun.Fault(noun.Usage, "--raft: %q is not OPTION=NUMBER, each option once, like snapshot_entries=1000", part)
		}
		switch seen[key] = true; key {
		case "snapshot_entries":
			o.SnapshotEntries = n
		case "election_ticks":
			o.ElectionTicks = uint32(n)
		case "heartbeat_ticks":
			o.HeartbeatTicks = uint32(n)
		default:
			return nil, noun.Fault(noun.Usage, "--raft: option %q is not known: use snapshot_entries, election_ticks and heartbeat_ticks", key)
		}
	}
	if len(seen) == 0 {
		return nil, noun.Fault(noun.Usage, "--raft says nothing: name options, like snapshot_entries=1000, or default")
	}
	return o, nil
}
