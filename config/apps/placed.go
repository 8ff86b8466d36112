package apps

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// placed is what templates of every app may say of the groups that they make.
type placed struct {
	replicas   int64
	regions    map[string]int64
	eachRegion []string
	autoCreate bool
	at         ast.Node

	require, forbid, leaders []string
	isolation                fleetpb.Isolation
	downAfter                time.Duration
	raft                     *fleetpb.RaftOptions // nil for those of the hosts
}

// defaultPlaced: three voters anywhere, made on first use, as the original does.
func defaultPlaced(at ast.Node) *placed { return &placed{autoCreate: true, at: at} }

// fields adds the keys to those of an app.
func (p *placed) fields(r *reader, with map[string]field) map[string]field {
	maps.Copy(with, map[string]field{
		"replicas":    r.integer(&p.replicas, 1, 7),
		"auto_create": r.flag(&p.autoCreate),
		"each_region": r.texts(&p.eachRegion),
		"require":     r.texts(&p.require),
		"forbid":      r.texts(&p.forbid),
		"leaders":     r.texts(&p.leaders),
		"isolation":   r.isolation(&p.isolation),
		"down_after":  r.duration(&p.downAfter),
		"raft":        func(n ast.Node, path string) { p.raft = r.raft(n, path) },
		"regions": func(n ast.Node, path string) {
			p.regions = map[string]int64{}
			m, ok := n.(ast.MapNode)
			if !ok {
				r.fail(n, path, "is %s; want regions with counts, like east: 2", nodeName(n))
				return
			}
			for it := m.MapRange(); it.Next(); { // regions' names count in their own case
				name, count := it.Key().GetToken().Value, int64(0)
				r.integer(&count, 1, 7)(it.Value(), join(path, name))
				p.regions[name] = count
			}
		},
	})
	return with
}

// template makes a template of it.
func (p *placed) template(r *reader, path, match string, options []byte) *fleetpb.Template {
	t := &fleetpb.Template{
		Match: match, AutoCreate: p.autoCreate, Options: options, Require: slices.Sorted(slices.Values(p.require)), Forbid: slices.Sorted(slices.Values(p.forbid)),
		Isolation: p.isolation, Leaders: p.leaders, DownAfterMs: p.downAfter.Milliseconds(), Raft: p.raft, EachRegion: slices.Sorted(slices.Values(p.eachRegion)),
	}
	sum := int64(0)
	for _, name := range slices.Sorted(maps.Keys(p.regions)) {
		count := p.regions[name]
		sum += count
		t.Regions = append(t.Regions, &fleetpb.RegionCount{Region: name, Count: uint32(count)})
	}
	replicas := p.replicas
	if replicas == 0 {
		if replicas = 3; sum > 0 {
			replicas = sum
		}
	}
	switch {
	case sum > 0 && len(p.eachRegion) > 0:
		r.fail(p.at, path, "has regions and each_region; the first places one group, the second makes one in each region: use one of them")
	case replicas%2 == 0 || replicas > 7:
		r.fail(p.at, path, "wants %d replicas; use 1, 3, 5 or 7", replicas)
	case sum > 0 && sum != replicas:
		r.fail(p.at, path, "its regions sum up to %d, but replicas is %d; make them equal", sum, replicas)
	}
	t.Replicas = uint32(min(replicas, math.MaxInt32))
	return t
}

// raft reads Raft options, nil when none is set. Whether their values make sense is for the
// record to say, as it does for those of a launch file.
func (r *reader) raft(n ast.Node, path string) *fleetpb.RaftOptions {
	var snapshots, election, heartbeat int64
	r.object(n, path, map[string]field{
		"snapshot_entries": r.integer(&snapshots, 0, math.MaxInt64),
		"election_ticks":   r.integer(&election, 0, math.MaxUint32),
		"heartbeat_ticks":  r.integer(&heartbeat, 0, math.MaxUint32),
	})
	if snapshots == 0 && election == 0 && heartbeat == 0 {
		return nil
	}
	return &fleetpb.RaftOptions{SnapshotEntries: uint64(snapshots), ElectionTicks: uint32(election), HeartbeatTicks: uint32(heartbeat)}
}

// texts reads a list of texts.
func (r *reader) texts(to *[]string) field {
	return func(n ast.Node, path string) {
		*to = nil
		r.list(n, path, func(n ast.Node, path string) {
			text := ""
			r.text(&text)(n, path)
			*to = append(*to, text)
		})
	}
}

// isolation reads what no two replicas may share.
func (r *reader) isolation(to *fleetpb.Isolation) field {
	known := map[string]fleetpb.Isolation{
		"host": fleetpb.Isolation_ISOLATION_UNSPECIFIED, "zone": fleetpb.Isolation_ISOLATION_ZONE, "region": fleetpb.Isolation_ISOLATION_REGION,
	}
	return func(n ast.Node, path string) {
		word := ""
		r.text(&word)(n, path)
		kind, ok := known[word]
		if !ok && word != "" {
			r.fail(n, path, "is %q; use host, zone or region", word)
		}
		*to = kind
	}
}

// duration reads a time like 90s.
func (r *reader) duration(to *time.Duration) field {
	return func(n ast.Node, path string) {
		text := ""
		r.text(&text)(n, path)
		d, err := time.ParseDuration(text)
		if text != "" && err != nil {
			r.fail(n, path, "is %q; want a duration like 90s", text)
		}
		*to = d
	}
}
