package counter_test

import (
	"bytes"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/counter"
)

const okay = counterpb.Outcome_OUTCOME_OK

// start is the time at which worlds begin, in Unix milliseconds.
const start = 1_700_000_000_000

// world is the machine of one region.
type world struct {
	t   require.TestingT
	id  uint64
	m   *counter.Machine
	now uint64
}

func newWorld(t require.TestingT, id uint64, region string) *world {
	w := &world{t: t, id: id, m: counter.New(statemachines.Group{ID: id, Name: "counter/test"}), now: start}
	if region != "" {
		w.must(&counterpb.Command{Op: &counterpb.Command_Settle{Settle: &counterpb.Settle{Region: region}}})
	}
	return w
}

func (w *world) raw(data []byte) *counterpb.Result {
	results := make([]statemachines.Result, 1)
	w.m.Apply([]statemachines.Command{{Version: counter.Version, Data: data}}, results)
	r := &counterpb.Result{}
	require.NoError(w.t, proto.Unmarshal(results[0].Data, r))
	again, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	require.NoError(w.t, err)
	require.Equal(w.t, string(again), string(results[0].Data), "results are encoded as protobuf does")
	return r
}

func (w *world) do(c *counterpb.Command) *counterpb.Result {
	c.NowMs = w.now
	return w.raw(encode(c))
}

func (w *world) must(c *counterpb.Command) *counterpb.Result {
	r := w.do(c)
	require.Equal(w.t, okay, r.GetOutcome(), r.GetDetail())
	return r
}

func (w *world) configure(s *counterpb.Settings) {
	w.must(&counterpb.Command{Op: &counterpb.Command_Configure{Configure: &counterpb.Configure{Revision: w.status().GetRevision() + 1, Settings: s}}})
}

func add(key string, amount int64) *counterpb.Command {
	return &counterpb.Command{Op: &counterpb.Command_Add{Add: &counterpb.Add{Key: key, Amount: amount}}}
}

func addOnce(amount int64, k *counterpb.Key) *counterpb.Command {
	return &counterpb.Command{Op: &counterpb.Command_Add{Add: &counterpb.Add{Amount: amount, Once: k}}}
}

func reset(key string) *counterpb.Command {
	return &counterpb.Command{Op: &counterpb.Command_Reset_{Reset_: &counterpb.Reset{Key: key}}}
}

func remove(key string) *counterpb.Command {
	return &counterpb.Command{Op: &counterpb.Command_Delete{Delete: &counterpb.Delete{Key: key}}}
}

func create(key string) *counterpb.Command {
	return &counterpb.Command{Op: &counterpb.Command_Create{Create: &counterpb.Create{Key: key}}}
}

func transfer(to string, amount uint64) *counterpb.Command {
	return &counterpb.Command{Op: &counterpb.Command_Transfer{Transfer: &counterpb.Transfer{To: to, Amount: amount}}}
}

func retire(region string) *counterpb.Command {
	return &counterpb.Command{Op: &counterpb.Command_Retire{Retire: &counterpb.Retire{Region: region}}}
}

func merge(g *counterpb.Merge) *counterpb.Command {
	return &counterpb.Command{Op: &counterpb.Command_Merge{Merge: g}}
}

func encode(m proto.Message) []byte {
	data, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return data
}

func (w *world) query(q *counterpb.Query) *counterpb.Answer {
	data, err := w.m.Query(encode(q))
	require.NoError(w.t, err)
	a := &counterpb.Answer{}
	require.NoError(w.t, proto.Unmarshal(data, a))
	return a
}

func (w *world) status() *counterpb.GroupInfo {
	return w.query(&counterpb.Query{Op: &counterpb.Query_Status{Status: &counterpb.Status{}}}).GetGroup()
}

func (w *world) get(key string) *counterpb.Answer {
	return w.query(&counterpb.Query{Op: &counterpb.Query_Get{Get: &counterpb.Get{Key: key}}})
}

// value of a counter, 0 when there is none.
func (w *world) value(key string) int64 {
	a := w.get(key)
	if !a.GetFound() {
		return 0
	}
	return a.GetCounters()[0].GetValue()
}

func (w *world) windows(r counterpb.Resolution) []*counterpb.Window {
	return w.query(&counterpb.Query{Op: &counterpb.Query_Windows{Windows: &counterpb.Windows{Resolution: r}}}).GetWindows()
}

func (w *world) export(x *counterpb.Export) (*counterpb.Merge, bool) {
	a := w.query(&counterpb.Query{Op: &counterpb.Query_Export{Export: x}})
	return a.GetExport(), a.GetMore()
}

// digest is that of an origin, nil for the world's own.
func (w *world) digest(of *counterpb.Origin) *counterpb.DigestInfo {
	return w.query(&counterpb.Query{Op: &counterpb.Query_Digest{Digest: &counterpb.Digest{Of: of}}}).GetDigest()
}

// seen is what the world knows of another's origin.
func (w *world) seen(o *counterpb.Origin) *counterpb.Region {
	for _, r := range w.status().GetRegions() {
		if proto.Equal(r.GetOrigin(), o) {
			return r
		}
	}
	return &counterpb.Region{}
}

// next is the page of changes that w has not got of another.
func (w *world) next(from *world, limit uint32) (*counterpb.Merge, bool) {
	r := w.seen(from.status().GetOrigin())
	return from.export(&counterpb.Export{After: r.GetVersion(), WallMs: r.GetWallMs(), Limit: limit})
}

// pull takes in all that another has counted.
func (w *world) pull(from *world) {
	for more := true; more; {
		var g *counterpb.Merge
		g, more = w.next(from, 2)
		w.must(merge(g))
	}
}

// relay takes in what another knows of others.
func (w *world) relay(from *world) {
	g, _ := from.export(&counterpb.Export{Relayed: true})
	w.must(merge(g))
}

func snapshotOf(t require.TestingT, m *counter.Machine) []byte {
	v := m.Snapshot()
	defer v.Close()
	var out bytes.Buffer
	_, err := v.WriteTo(&out)
	require.NoError(t, err)
	return out.Bytes()
}

// reload replaces the machine by one that was restored from its snapshot.
func (w *world) reload() {
	snap := snapshotOf(w.t, w.m)
	w.m = counter.New(statemachines.Group{ID: w.id, Name: "counter/test"})
	require.NoError(w.t, w.m.Restore(bytes.NewReader(snap)))
	require.Equal(w.t, snap, snapshotOf(w.t, w.m))
}
