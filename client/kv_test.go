package client_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/client"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	kvpb "github.com/drumline/drumline/drummerpb/kv"
)

func TestKV(t *testing.T) {
	c := newCluster(t)
	h := c.add("nodehost")
	var cmd kvpb.Command
	var query kvpb.Query
	result, answer := &kvpb.Result{}, &kvpb.Answer{}
	h.propose = func(_ context.Context, _ int, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		require.NoError(t, proto.Unmarshal(req.GetCommand(), &cmd))
		data, err := proto.Marshal(result)
		return &hostpb.ProposeResponse{Data: data}, err
	}
	h.read = func(_ context.Context, _ int, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
		require.NoError(t, proto.Unmarshal(req.GetQuery(), &query))
		data, err := proto.Marshal(answer)
		return &hostpb.ReadResponse{Data: data}, err
	}
	kv := c.open(h.addr).KV("kv/x")
	ctx := within(t, ample)

	result = &kvpb.Result{Outcome: kvpb.Outcome_OUTCOME_OK, Revision: 7}
	rev, err := kv.Put(ctx, []byte("k"), []byte("v"))
	require.NoError(t, err)
	require.Equal(t, uint64(7), rev)
	require.Equal(t, "v", string(cmd.GetPut().GetValue()))

	result = &kvpb.Result{Outcome: kvpb.Outcome_OUTCOME_CONFLICT, Revision: 9}
	rev, ok, err := kv.CompareAndSet(ctx, []byte("k"), 7, []byte("w"))
	require.NoError(t, err)
	require.False(t, ok)
	require.Equal(t, uint64(9), rev)
	require.Equal(t, uint64(7), cmd.GetCompareAndSet().GetExpectedRevision())

	result = &kvpb.Result{Outcome: kvpb.Outcome_OUTCOME_NOT_FOUND}
	ok, err = kv.Delete(ctx, []byte("k"))
	require.NoError(t, err)
	require.False(t, ok)

	result = &kvpb.Result{Outcome: kvpb.Outcome_OUTCOME_INVALID, Detail: "the key is empty"}
	_, err = kv.Put(ctx, nil, nil)
	requireError(t, err, hostpb.Reason_REASON_INVALID, client.NotApplied)
	require.ErrorContains(t, err, "the key is empty")

	_, ok, err = kv.Get(ctx, []byte("k"))
	require.NoError(t, err)
	require.False(t, ok)
	answer = &kvpb.Answer{Found: true, More: true, Entries: []*kvpb.Entry{{Key: []byte("k"), Value: []byte("v"), Revision: 3}}}
	e, ok, err := kv.Get(ctx, []byte("k"))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, client.Entry{Key: []byte("k"), Value: []byte("v"), Revision: 3}, e)
	page, more, err := kv.List(ctx, []byte("p"), []byte("a"), 10)
	require.NoError(t, err)
	require.True(t, more)
	require.Len(t, page, 1)
	require.Equal(t, uint32(10), query.GetList().GetLimit())
	require.False(t, query.GetList().GetKeysOnly())
	page, more, err = kv.ListKeys(ctx, []byte("p"), []byte("a"), 11)
	require.NoError(t, err)
	require.True(t, more)
	require.Len(t, page, 1)
	require.True(t, proto.Equal(&kvpb.List{Prefix: []byte("p"), After: []byte("a"), Limit: 11, KeysOnly: true}, query.GetList()))
}

func TestKVOnAGroupOfAnotherApp(t *testing.T) {
	c := newCluster(t)
	h := c.add("nodehost")
	garbage := func() []byte { return []byte{0xff, 0xff, 0xff} }
	h.propose = func(context.Context, int, *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		return &hostpb.ProposeResponse{Data: garbage()}, nil
	}
	h.read = func(context.Context, int, *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
		return &hostpb.ReadResponse{Data: garbage()}, nil
	}
	kv := c.open(h.addr).KV("counter/x")
	_, err := kv.Put(within(t, ample), []byte("k"), nil)
	requireError(t, err, hostpb.Reason_REASON_INTERNAL, client.Unknown)
	_, _, err = kv.Get(within(t, ample), []byte("k"))
	requireError(t, err, hostpb.Reason_REASON_INTERNAL, client.NotApplied)
}
