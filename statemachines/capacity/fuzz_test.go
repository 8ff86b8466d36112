package capacity_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/capacity"
)

// Whatever bytes come: a result, a state that can be written and read, and never
// more than there is.
func FuzzCommand(f *testing.F) {
	f.Add(encode(decide(wants("a", 60), wants("b", 60))))
	f.Add(encode(configure(9, define(priority, 5), 10)))
	f.Add(encode(&capacitypb.Command{Op: &capacitypb.Command_Release{Release: &capacitypb.Release{ClientIds: []string{"c"}}}}))
	f.Add([]byte{0x0a, 0x00})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := divided(t, fair, 100)
		r.ask(wants("c", 30))
		r.applyBytes(data)
		s := r.summary()
		if a := s.GetDefinition().GetAlgorithm(); a != none && a != static && s.GetRevision() == 1 {
			require.LessOrEqual(t, s.GetReserved(), 100*(1+1e-9), "but for the last bits of each grant")
		}
		v := r.m.Snapshot()
		var out bytes.Buffer
		_, err := v.WriteTo(&out)
		require.NoError(t, err)
		v.Close()
		require.NoError(t, capacity.New().Restore(&out))
	})
}

// A snapshot of anybody's making is refused or gives a machine that works.
func FuzzSnapshot(f *testing.F) {
	r := divided(f, priority, 100)
	r.ask(wants("a", 60))
	r.ask(wants("b", 60))
	v := r.m.Snapshot()
	var out bytes.Buffer
	_, err := v.WriteTo(&out)
	require.NoError(f, err)
	v.Close()
	f.Add(out.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		m := capacity.New()
		if m.Restore(bytes.NewReader(data)) != nil {
			return
		}
		q := &resource{t: t, m: m, now: 1 << 40, lead: 1}
		q.apply(decide(wants("a", 1)))
		require.GreaterOrEqual(t, q.summary().GetReserved(), 0.0)
	})
}

func FuzzQuery(f *testing.F) {
	f.Add(encode(&capacitypb.Query{Op: &capacitypb.Query_List{List: &capacitypb.List{After: 1, Limit: 2}}}))
	f.Add(encode(&capacitypb.Query{Op: &capacitypb.Query_Describe{Describe: &capacitypb.Describe{}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := divided(t, fair, 100)
		r.ask(wants("a", 60))
		if _, err := r.m.Query(data); err != nil && !errors.Is(err, statemachines.ErrInvalidQuery) {
			t.Fatal(err)
		}
	})
}
