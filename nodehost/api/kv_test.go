package api_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	kvpb "github.com/drumline/drumline/drummerpb/kv"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/statemachines/kv"
)

func pack(t *testing.T, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	require.NoError(t, err)
	return data
}

func TestKVChanges(t *testing.T) {
	r := &fakeRouter{}
	c, ctx := kvpb.NewKVClient(serveRouter(t, r)), within(t, 20*time.Second)
	for _, outcome := range []kvpb.Outcome{kvpb.Outcome_OUTCOME_OK, kvpb.Outcome_OUTCOME_NOT_FOUND, kvpb.Outcome_OUTCOME_CONFLICT} {
		r.propose = &hostpb.ProposeResponse{Data: pack(t, &kvpb.Result{Outcome: outcome, Revision: 5})}
		put, err := c.Put(ctx, &kvpb.PutRequest{Group: "kv/x", Put: &kvpb.Put{Key: []byte("k"), Value: []byte("v")}})
		require.NoError(t, err)
		require.Equal(t, outcome, put.GetResult().GetOutcome())
		del, err := c.Delete(ctx, &kvpb.DeleteRequest{Group: "kv/x", Delete: &kvpb.Delete{Key: []byte("k")}})
		require.NoError(t, err)
		require.Equal(t, outcome, del.GetResult().GetOutcome())
		cas, err := c.CompareAndSet(ctx, &kvpb.CompareAndSetRequest{Group: "kv/x", CompareAndSet: &kvpb.CompareAndSet{Key: []byte("k"), ExpectedRevision: 4}})
		require.NoError(t, err)
		require.Equal(t, uint64(5), cas.GetResult().GetRevision())
		req, ok := r.last().(*hostpb.ProposeRequest)
		require.True(t, ok)
		require.Equal(t, "kv/x", req.GetGroup().GetName())
		require.Zero(t, req.GetGroup().GetId())
		cmd := &kvpb.Command{}
		require.NoError(t, proto.Unmarshal(req.GetCommand(), cmd))
		require.Equal(t, uint64(4), cmd.GetCompareAndSet().GetExpectedRevision())
	}
	r.propose = &hostpb.ProposeResponse{Data: pack(t, &kvpb.Result{Outcome: kvpb.Outcome_OUTCOME_INVALID, Detail: "no such thing"})}
	_, err := c.Put(ctx, &kvpb.PutRequest{Group: "kv/x", Put: &kvpb.Put{Key: []byte("k")}})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	require.ErrorContains(t, err, "no such thing")
	r.propose = &hostpb.ProposeResponse{Data: []byte{0xff}}
	_, err = c.Put(ctx, &kvpb.PutRequest{Group: "kv/x", Put: &kvpb.Put{Key: []byte("k")}})
	require.Equal(t, codes.Internal, status.Code(err))
}

func TestKVReads(t *testing.T) {
	r := &fakeRouter{read: &hostpb.ReadResponse{}}
	c, ctx := kvpb.NewKVClient(serveRouter(t, r)), within(t, 20*time.Second)
	get, err := c.Get(ctx, &kvpb.GetRequest{Group: "kv/x", Get: &kvpb.Get{Key: []byte("k")}})
	require.NoError(t, err)
	require.False(t, get.GetFound())
	r.read.Data = pack(t, &kvpb.Answer{Found: true, More: true, Entries: []*kvpb.Entry{{Key: []byte("k"), Revision: 3}}})
	get, err = c.Get(ctx, &kvpb.GetRequest{Group: "kv/x", Get: &kvpb.Get{Key: []byte("k")}})
	require.NoError(t, err)
	require.True(t, get.GetFound())
	require.Equal(t, uint64(3), get.GetEntry().GetRevision())
	list, err := c.List(ctx, &kvpb.ListRequest{Group: "kv/x"})
	require.NoError(t, err)
	require.Len(t, list.GetEntries(), 1)
	require.True(t, list.GetMore())
	r.err = said(fault.NoQuorum)
	_, err = c.List(ctx, &kvpb.ListRequest{Group: "kv/x"})
	require.Equal(t, codes.Unavailable, status.Code(err))
}

// The region travels beside the name, as the Router takes it.
func TestKVInARegion(t *testing.T) {
	r := &fakeRouter{propose: &hostpb.ProposeResponse{Data: pack(t, &kvpb.Result{Outcome: kvpb.Outcome_OUTCOME_OK})}, read: &hostpb.ReadResponse{}}
	c, ctx := kvpb.NewKVClient(serveRouter(t, r)), within(t, 20*time.Second)
	group, region, key := "kv/x", "east", []byte("k")
	for _, call := range []func() error{
		func() error {
			_, err := c.Put(ctx, &kvpb.PutRequest{Group: group, Region: region, Put: &kvpb.Put{Key: key}})
			return err
		},
		func() error {
			_, err := c.Delete(ctx, &kvpb.DeleteRequest{Group: group, Region: region, Delete: &kvpb.Delete{Key: key}})
			return err
		},
		func() error {
			_, err := c.CompareAndSet(ctx, &kvpb.CompareAndSetRequest{Group: group, Region: region, CompareAndSet: &kvpb.CompareAndSet{Key: key}})
			return err
		},
		func() error {
			_, err := c.Get(ctx, &kvpb.GetRequest{Group: group, Region: region, Get: &kvpb.Get{Key: key}})
			return err
		},
		func() error {
			_, err := c.List(ctx, &kvpb.ListRequest{Group: group, Region: region})
			return err
		},
	} {
		require.NoError(t, call())
		req, ok := r.last().(interface{ GetGroup() *hostpb.GroupRef })
		require.True(t, ok)
		require.Equal(t, group, req.GetGroup().GetName())
		require.Equal(t, region, req.GetGroup().GetRegion())
	}
	_, err := c.List(ctx, &kvpb.ListRequest{Group: group, Region: "ea\nst"})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
}

func TestKVLimitsAreCheckedBeforeAnythingTravels(t *testing.T) {
	r := &fakeRouter{}
	c, ctx := kvpb.NewKVClient(serveRouter(t, r)), within(t, 20*time.Second)
	big, key := make([]byte, kv.MaxValue+1), []byte("k")
	long := bytes.Repeat(key, kv.MaxKey+1)
	for name, call := range map[string]func() error{
		"no put":    func() error { _, err := c.Put(ctx, &kvpb.PutRequest{Group: "kv/x"}); return err },
		"no delete": func() error { _, err := c.Delete(ctx, &kvpb.DeleteRequest{Group: "kv/x"}); return err },
		"no cas":    func() error { _, err := c.CompareAndSet(ctx, &kvpb.CompareAndSetRequest{Group: "kv/x"}); return err },
		"no get":    func() error { _, err := c.Get(ctx, &kvpb.GetRequest{Group: "kv/x"}); return err },
		"nothing":   func() error { _, err := c.Put(ctx, nil); return err },
		"no group":  func() error { _, err := c.Put(ctx, &kvpb.PutRequest{Put: &kvpb.Put{Key: key}}); return err },
		"other app": func() error {
			_, err := c.Put(ctx, &kvpb.PutRequest{Group: "counter/x", Put: &kvpb.Put{Key: key}})
			return err
		},
		"no name":   func() error { _, err := c.List(ctx, &kvpb.ListRequest{Group: "kv/"}); return err },
		"empty key": func() error { _, err := c.Put(ctx, &kvpb.PutRequest{Group: "kv/x", Put: &kvpb.Put{}}); return err },
		"long key": func() error {
			_, err := c.Get(ctx, &kvpb.GetRequest{Group: "kv/x", Get: &kvpb.Get{Key: long}})
			return err
		},
		"big value": func() error {
			_, err := c.Put(ctx, &kvpb.PutRequest{Group: "kv/x", Put: &kvpb.Put{Key: key, Value: big}})
			return err
		},
		"greedy list": func() error {
			_, err := c.List(ctx, &kvpb.ListRequest{Group: "kv/x", List: &kvpb.List{Limit: kv.MaxPage + 1}})
			return err
		},
		"long prefix": func() error {
			_, err := c.List(ctx, &kvpb.ListRequest{Group: "kv/x", List: &kvpb.List{Prefix: long}})
			return err
		},
		"unprintable":   func() error { _, err := c.List(ctx, &kvpb.ListRequest{Group: "kv/\n"}); return err },
		"part of group": func() error { _, err := c.List(ctx, &kvpb.ListRequest{Group: "kv/x#key"}); return err },
	} {
		require.Equal(t, codes.InvalidArgument, status.Code(call()), name)
		require.Nil(t, r.last(), name)
	}
}
