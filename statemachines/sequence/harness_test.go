package sequence_test

import (
	"bytes"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/sequence"
)

const group = 1000

// outcomes, for short.
const (
	okay      = sequencepb.Outcome_OUTCOME_OK
	invalid   = sequencepb.Outcome_OUTCOME_INVALID
	exhausted = sequencepb.Outcome_OUTCOME_EXHAUSTED
)

// world is a machine with a clock.
type world struct {
	t   require.TestingT
	m   *sequence.Machine
	now int64
}

func newWorld(t require.TestingT) *world {
	return &world{t: t, m: sequence.New(statemachines.Group{ID: group, Name: "sequence/test"})}
}

// pass lets the lease clock go on.
func (w *world) pass(ms int64) { w.now += ms * 1e6 }

func (w *world) raw(data []byte) *sequencepb.Result {
	results := make([]statemachines.Result, 1)
	w.m.Apply([]statemachines.Command{{Time: w.now, Version: sequence.Version, Data: data}}, results)
	r := &sequencepb.Result{}
	require.NoError(w.t, proto.Unmarshal(results[0].Data, r))
	again, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	require.NoError(w.t, err)
	require.Equal(w.t, again, results[0].Data, "results are encoded as protobuf does")
	return r
}

func (w *world) do(c *sequencepb.Command) *sequencepb.Result { return w.raw(encode(c)) }

// user is a client that was opened.
type user struct {
	w      *world
	client *sequencepb.Client
	serial uint64
}

func (w *world) open() *user {
	r := w.do(&sequencepb.Command{Op: &sequencepb.Command_Open{Open: &sequencepb.Open{Nonce: 77}}})
	require.Equal(w.t, okay, r.GetOutcome())
	return &user{w: w, client: r.GetClient()}
}

// caller is that of the user's next command.
func (u *user) caller() *sequencepb.Caller {
	u.serial++
	return &sequencepb.Caller{Client: u.client, Serial: u.serial}
}

func (u *user) do(c *sequencepb.Command) *sequencepb.Result {
	c.Caller = u.caller()
	return u.w.do(c)
}

func next(n *sequencepb.Next) *sequencepb.Command {
	return &sequencepb.Command{Op: &sequencepb.Command_Next{Next: n}}
}

func take(count uint64) *sequencepb.Command { return next(&sequencepb.Next{Count: count}) }

func giveBack(serial, unused uint64) *sequencepb.Command {
	return &sequencepb.Command{Op: &sequencepb.Command_GiveBack{GiveBack: &sequencepb.GiveBack{Serial: serial, Unused: unused}}}
}

func create(key string, d *sequencepb.Definition) *sequencepb.Command {
	return &sequencepb.Command{Op: &sequencepb.Command_Create{Create: &sequencepb.Create{Key: key, Definition: d}}}
}

func set(s *sequencepb.Set) *sequencepb.Command {
	return &sequencepb.Command{Op: &sequencepb.Command_Set{Set: s}}
}

func restart(r *sequencepb.Restart) *sequencepb.Command {
	return &sequencepb.Command{Op: &sequencepb.Command_Restart{Restart: r}}
}

func drop(key string) *sequencepb.Command {
	return &sequencepb.Command{Op: &sequencepb.Command_Drop{Drop: &sequencepb.Drop{Key: key}}}
}

func resume(r *sequencepb.Resume) *sequencepb.Command {
	return &sequencepb.Command{Op: &sequencepb.Command_Resume{Resume: r}}
}

func configure(revision uint64, s *sequencepb.Settings) *sequencepb.Command {
	return &sequencepb.Command{Op: &sequencepb.Command_Configure{Configure: &sequencepb.Configure{Revision: revision, Settings: s}}}
}

func reserve(forMS uint64) *sequencepb.Command {
	return &sequencepb.Command{Op: &sequencepb.Command_Reserve{Reserve: &sequencepb.Reserve{ForMs: forMS}}}
}

func commit(r *sequencepb.Reservation) *sequencepb.Command {
	return &sequencepb.Command{Op: &sequencepb.Command_Commit{Commit: &sequencepb.Commit{Number: r.GetNumber(), Token: r.GetToken()}}}
}

func cancel(r *sequencepb.Reservation) *sequencepb.Command {
	return &sequencepb.Command{Op: &sequencepb.Command_Cancel{Cancel: &sequencepb.Cancel{Number: r.GetNumber(), Token: r.GetToken()}}}
}

func lease(l *sequencepb.LeaseWorker) *sequencepb.Command {
	return &sequencepb.Command{Op: &sequencepb.Command_LeaseWorker{LeaseWorker: l}}
}

func release(w *sequencepb.Worker) *sequencepb.Command {
	return &sequencepb.Command{Op: &sequencepb.Command_ReleaseWorker{
		ReleaseWorker: &sequencepb.ReleaseWorker{Worker: w.GetWorker(), Token: w.GetToken()},
	}}
}

func encode(m proto.Message) []byte {
	data, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return data
}

func (w *world) query(q *sequencepb.Query) *sequencepb.Answer {
	data, err := w.m.Query(encode(q))
	require.NoError(w.t, err)
	a := &sequencepb.Answer{}
	require.NoError(w.t, proto.Unmarshal(data, a))
	return a
}

func (w *world) describe(key string) *sequencepb.Info {
	a := w.query(&sequencepb.Query{Op: &sequencepb.Query_Describe{Describe: &sequencepb.Describe{Key: key}}})
	require.True(w.t, a.GetFound(), key)
	return a.GetSequences()[0]
}

func (w *world) status() *sequencepb.GroupInfo {
	return w.query(&sequencepb.Query{Op: &sequencepb.Query_Status{Status: &sequencepb.Status{}}}).GetGroup()
}

func snapshotOf(t require.TestingT, m *sequence.Machine) []byte {
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
	w.m = sequence.New(statemachines.Group{ID: group, Name: "sequence/test"})
	require.NoError(w.t, w.m.Restore(bytes.NewReader(snap)))
	require.Equal(w.t, snap, snapshotOf(w.t, w.m))
}

// numbers are those of a grant.
func numbers(t require.TestingT, r *sequencepb.Result) []int64 {
	require.Equal(t, okay, r.GetOutcome(), r.GetDetail())
	out := make([]int64, r.GetGrant().GetCount())
	for i := range out {
		out[i] = r.GetGrant().GetFirst() + int64(i)*r.GetGrant().GetStep()
	}
	return out
}
