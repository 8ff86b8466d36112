package route

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve"
)

func openDB(t *testing.T) *bbolt.DB {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "host.db"), 0o600, &bbolt.Options{NoSync: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// at1 is a location of kv/x.
func at1(id, version uint64, leader string, members ...string) *hostpb.Location {
	where := &hostpb.Location{Name: "kv/x", Id: id, Version: version, LeaderHost: leader}
	if leader != "" {
		where.LeaderApi = "api-" + leader
	}
	for i, m := range members {
		where.Members = append(where.Members, &hostpb.Member{Replica: uint64(i + 1), HostId: m, Api: "api-" + m})
	}
	return where
}

func TestDirectoryBelievesTheNewest(t *testing.T) {
	d := openDirectory(Options{}.withDefaults())
	require.Nil(t, d.byName("kv/x"))
	d.learn(at1(5, 3, "a", "a", "b"))
	for _, c := range []struct {
		said    *hostpb.Location
		leader  string
		members int
		id      uint64
	}{
		{at1(4, 9, "z", "z"), "a", 2, 5}, // an older group of the name
		{at1(5, 0, "b"), "b", 2, 5},      // who leads is news, who is a member is not said
		{at1(5, 0, ""), "b", 2, 5},       // nothing is said
		{at1(5, 2, "c", "c"), "c", 2, 5}, // an older list of members
		{at1(5, 4, "", "a", "b", "c"), "c", 3, 5},
		{at1(6, 1, "d", "d"), "d", 1, 6},
		{at1(5, 9, "a", "a", "b"), "d", 1, 6},
	} {
		d.learn(c.said)
		now := d.byName("kv/x")
		require.Equal(t, c.leader, now.GetLeaderHost(), "%v", c.said)
		require.Equal(t, "api-"+c.leader, now.GetLeaderApi())
		require.Len(t, now.GetMembers(), c.members, "%v", c.said)
		require.Equal(t, c.id, now.GetId())
	}
	require.Nil(t, d.byID(5))
	require.NotNil(t, d.byID(6))
	same := d.byName("kv/x")
	require.Same(t, same, d.learn(at1(6, 1, "d", "d")), "no news, no write")
	d.drop("kv/x", 5)
	require.NotNil(t, d.byName("kv/x"), "only the hint that was meant is dropped")
	d.drop("kv/x", 6)
	require.Nil(t, d.byName("kv/x"))
	require.Nil(t, d.byID(6))
	require.NotNil(t, d.learn(&hostpb.Location{Name: "kv/y"}), "a location without a number is handed through, not kept")
	require.Nil(t, d.byName("kv/y"))
}

func TestDirectoryIsBoundedAlsoOnTheDisk(t *testing.T) {
	db := openDB(t)
	d := openDirectory(Options{DB: db, Entries: 10, Flush: time.Millisecond}.withDefaults())
	for i := range 100 {
		d.learn(&hostpb.Location{Name: fmt.Sprintf("kv/%d", i), Id: uint64(i + 1)})
		require.NotNil(t, d.byName("kv/0"), "used, so kept")
	}
	require.Len(t, d.names, 10)
	require.Len(t, d.ids, 10)
	require.NoError(t, d.close())
	require.NoError(t, d.close())
	on, err := loadDisk(db, 1000)
	require.NoError(t, err)
	require.Len(t, on, 10)
	again := openDirectory(Options{DB: db, Entries: 5}.withDefaults())
	require.Len(t, again.names, 5)
	require.NoError(t, again.close())
}

func TestDirectorySurvivesGarbageOnTheDisk(t *testing.T) {
	db := openDB(t)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte(bucket))
		if err != nil {
			return err
		}
		_, err = b.CreateBucket([]byte("nested"))
		return errors.Join(err, b.Put([]byte("kv/a"), []byte{0xff, 0xff}), b.Put([]byte("kv/b"), nil))
	}))
	d := openDirectory(Options{DB: db, Flush: time.Millisecond}.withDefaults())
	require.Empty(t, d.names)
	d.learn(at1(5, 1, "a", "a"))
	require.NoError(t, d.close())
}

func TestDirectoryOnAClosedDiskIsOnlyALoss(t *testing.T) {
	db := openDB(t)
	d := openDirectory(Options{DB: db, Flush: time.Millisecond}.withDefaults())
	require.NoError(t, db.Close())
	d.learn(at1(5, 1, "a", "a"))
	require.NotNil(t, d.byName("kv/x"))
	require.Error(t, d.close())
	again := openDirectory(Options{DB: db}.withDefaults())
	require.Empty(t, again.names)
	require.NoError(t, again.close())
}

func TestClassOfAForwardedError(t *testing.T) {
	cut := status.Error(codes.Unavailable, "EOF")
	for _, c := range []struct {
		err              error
		left, repeatable bool
		want             fault.Reason
		silent           bool
	}{
		{cut, true, false, fault.UnknownOutcome, true},
		{cut, false, false, fault.Unavailable, true},
		{cut, true, true, fault.Unavailable, true},
		{status.Error(codes.DeadlineExceeded, ""), true, false, fault.UnknownOutcome, true},
		{status.Error(codes.Unimplemented, ""), true, false, fault.Unavailable, true},
		{status.Error(codes.PermissionDenied, ""), true, false, fault.Unavailable, false},
		{status.Error(codes.InvalidArgument, ""), true, false, fault.Invalid, false},
		{serve.Status(fault.New(fault.NotLeader, "x")).Err(), true, false, fault.NotLeader, false},
		{serve.Status(fault.New(fault.UnknownOutcome, "x")).Err(), true, false, fault.UnknownOutcome, false},
		{serve.Status(fault.New(fault.Internal, "x")).Err(), true, false, fault.Internal, false},
		{serve.Status(fault.Wrap(context.DeadlineExceeded, fault.UnknownOutcome, "x")).Err(), true, true, fault.UnknownOutcome, false},
	} {
		got := class(c.err, c.left, c.repeatable)
		require.Equal(t, c.want.String(), fault.ReasonOf(got).String(), "%v", c)
		require.Equal(t, c.silent, errors.As(got, new(silence)), "%v", c)
	}
}

func TestMarginLeavesTimeForTheAnswer(t *testing.T) {
	for _, d := range []time.Duration{time.Millisecond, 100 * time.Millisecond, time.Second, time.Minute} {
		end := time.Now().Add(d)
		outer, cancelOuter := context.WithDeadline(t.Context(), end)
		ctx, cancel := bound(outer)
		mine, ok := ctx.Deadline()
		require.True(t, ok)
		require.GreaterOrEqual(t, end.Sub(mine), leastMargin)
		require.LessOrEqual(t, end.Sub(mine), mostMargin)
		cancel()
		cancelOuter()
	}
	ctx, cancel := bound(context.Background())
	defer cancel()
	end, ok := ctx.Deadline()
	require.True(t, ok)
	require.InDelta(t, defaultDeadline.Seconds(), time.Until(end).Seconds(), 1)
}
