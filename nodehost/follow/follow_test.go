package follow_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
	"github.com/drumline/drumline/nodehost/follow"
	"github.com/drumline/drumline/statemachines"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func database(t *testing.T, path string) *bbolt.DB {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true})
	require.NoError(t, err)
	return db
}

// said is a revision of what is said of app board.
func said(revision uint64, templates ...string) *fleetpb.Configuration {
	c := &fleetpb.Configuration{App: "board", Revision: revision}
	for _, t := range templates {
		match, options, _ := strings.Cut(t, "=")
		c.Templates = append(c.Templates, &fleetpb.Template{Match: match, Options: []byte(options)})
	}
	return c
}

func TestTheBookIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "host.db")
	db := database(t, path)
	var changed []string
	book, err := follow.Open(db, func(app string) { changed = append(changed, app) })
	require.NoError(t, err)
	require.Nil(t, book.Configuration("board"))
	none, revision := book.Template("board/x")
	require.Nil(t, none)
	require.Zero(t, revision)
	for n := range uint64(20) {
		require.NoError(t, book.Learn([]*fleetpb.Configuration{said(n+1, "*="+fmt.Sprint(n+1)), said(n, "*=old")}))
	}
	require.NoError(t, book.Learn([]*fleetpb.Configuration{nil, {Revision: 5}, {App: "x"}, {App: "kv", Revision: 1}}))
	require.Len(t, changed, 21, "what is not news is not told")
	for range 2 {
		require.EqualValues(t, 20, book.Configuration("board").GetRevision())
		found, revision := book.Template("board/x")
		require.Equal(t, "20", string(found.GetOptions()))
		require.EqualValues(t, 20, revision)
		all := book.Configurations()
		require.Len(t, all, 2)
		require.Equal(t, "board", all[0].GetApp())
		require.NoError(t, db.Close())
		db = database(t, path)
		book, err = follow.Open(db, nil)
		require.NoError(t, err)
	}
	require.NoError(t, db.View(func(tx *bbolt.Tx) error {
		require.Equal(t, 8, tx.Bucket([]byte("configurations")).Bucket([]byte("board")).Stats().KeyN)
		return nil
	}))
	require.NoError(t, db.Close())
	require.Error(t, book.Learn([]*fleetpb.Configuration{said(21, "*=21")}))
	require.EqualValues(t, 21, book.Configuration("board").GetRevision(), "without a disk it is followed all the same")
}

func TestADamagedBookIsLearntAgain(t *testing.T) {
	db := database(t, filepath.Join(t.TempDir(), "host.db"))
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		root, err := tx.CreateBucket([]byte("configurations"))
		require.NoError(t, err)
		app, err := root.CreateBucket([]byte("board"))
		require.NoError(t, err)
		require.NoError(t, root.Put([]byte("loose"), []byte("x")))
		return app.Put([]byte("12345678"), []byte("no message"))
	}))
	book, err := follow.Open(db, nil)
	require.NoError(t, err)
	require.Empty(t, book.Configurations())
	require.NoError(t, book.Learn([]*fleetpb.Configuration{said(1, "*=x")}))
	require.Len(t, book.Configurations(), 1)
}

// fleet is groups whose machine has a revision and options, and no Raft.
type fleet struct {
	mu       sync.Mutex
	status   map[ids.Group]raft.Status // Await asks for it
	stuck    chan struct{}             // reads wait for it, unless it is nil
	entered  chan struct{}             // told when one begins to
	revision map[ids.Group]uint64
	options  map[ids.Group]string
	log      []string
	fail     error
}

func (f *fleet) Status(g ids.Group) (raft.Status, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, here := f.status[g]
	return s, here
}

func (f *fleet) ProposeOwn(_ context.Context, g ids.Group, cmd []byte) (statemachines.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	revision, options, _ := strings.Cut(string(cmd), " ")
	f.log = append(f.log, fmt.Sprintf("%d: %s", g, cmd))
	if f.fail != nil {
		return statemachines.Result{}, f.fail
	}
	if n, _ := strconv.ParseUint(revision, 10, 64); n > f.revision[g] {
		f.revision[g], f.options[g] = n, options
	}
	return statemachines.Result{}, nil
}

// Read loads a group that is unloaded: it is led here then.
func (f *fleet) Read(ctx context.Context, g ids.Group, query []byte) ([]byte, error) {
	if f.stuck != nil {
		select {
		case f.entered <- struct{}{}:
		default:
		}
		select {
		case <-f.stuck:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.status[g]; s.Unloaded {
		s.Unloaded, s.Serving, s.Term = false, true, s.Term+1
		f.status[g] = s
	}
	f.log = append(f.log, fmt.Sprintf("%d? %s", g, query))
	return strconv.AppendUint(nil, f.revision[g], 10), f.fail
}

// did returns what was done since, and forgets it.
func (f *fleet) did() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	done := f.log
	f.log = nil
	return done
}

// leads has the fleet run the task for a status.
func leads(t *testing.T, f *follow.Follower) func(s raft.Status) error {
	return func(s raft.Status) error { return f.Task().Run(t.Context(), s) }
}

func newFleet(t *testing.T) (*fleet, *follow.Book, *follow.Follower) {
	db := database(t, filepath.Join(t.TempDir(), "host.db"))
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	book, err := follow.Open(db, nil)
	require.NoError(t, err)
	f := &fleet{status: map[ids.Group]raft.Status{}, revision: map[ids.Group]uint64{}, options: map[ids.Group]string{}}
	machine := func(statemachines.Group) statemachines.Machine { return nil }
	apps, err := statemachines.NewRegistry(
		statemachines.App{Name: "kv", Version: 1, New: machine},
		statemachines.App{Name: "board", Version: 1, New: machine, Follow: &statemachines.Follow{
			Command: func(revision uint64, options []byte) ([]byte, error) {
				if string(options) == "bad" {
					return nil, errors.New("no options of a board")
				}
				return fmt.Appendf(nil, "%d %s", revision, options), nil
			},
			Query:    []byte("revision"),
			Revision: func(answer []byte) (uint64, error) { return strconv.ParseUint(string(answer), 10, 64) },
		}},
	)
	require.NoError(t, err)
	return f, book, follow.New(follow.Options{Book: book, Raft: f, Apps: apps})
}

func TestAGroupFollows(t *testing.T) {
	f, book, follower := newFleet(t)
	run := leads(t, follower)
	a := raft.Status{Group: 7, Name: "board/a", Term: 3, Opened: true}
	learn := func(c *fleetpb.Configuration) { require.NoError(t, book.Learn([]*fleetpb.Configuration{c})) }
	require.NoError(t, run(a))
	require.Empty(t, f.did(), "nothing is said of the app")
	learn(said(1, "a=one", "*=all"))
	require.NoError(t, run(a))
	require.Equal(t, []string{"7? revision", "7: 1 one"}, f.did())
	require.NoError(t, run(a))
	require.Empty(t, f.did(), "it has that")
	learn(said(2, "*=all", "a=two"))
	require.NoError(t, run(a))
	require.Equal(t, []string{"7: 2 two"}, f.did(), "within a leadership nobody else can have changed it")
	learn(said(3, "*=other", "a=two"))
	require.NoError(t, run(a))
	require.Empty(t, f.did(), "its options have not changed")
	a.Term = 4
	require.NoError(t, run(a))
	require.Equal(t, []string{"7? revision"}, f.did(), "another leadership may have changed it")
	learn(said(4, "b=x"))
	require.NoError(t, run(a))
	require.Empty(t, f.did(), "its template is gone: it keeps what it has")
	learn(said(5, "*=two"))
	require.NoError(t, run(a))
	require.Empty(t, f.did(), "another template, the same options")
	for n := uint64(6); n < 14; n++ {
		learn(said(n, "*=two"))
	}
	require.NoError(t, run(a))
	require.Equal(t, []string{"7: 13 two"}, f.did(), "what it has is not remembered any more")
}

func TestAFollowerThatFails(t *testing.T) {
	f, book, follower := newFleet(t)
	run := leads(t, follower)
	a := raft.Status{Group: 7, Name: "board/a", Term: 3, Opened: true}
	require.NoError(t, book.Learn([]*fleetpb.Configuration{said(2, "a=x", "b=bad")}))
	f.fail = errors.New("no quorum")
	require.ErrorContains(t, run(a), "no quorum")
	require.Equal(t, []string{"7? revision"}, f.did())
	f.fail = nil
	f.revision[7] = 9 // a newer one came first, through another host
	require.NoError(t, run(a))
	require.Equal(t, []string{"7? revision"}, f.did(), "it never goes back")
	f.revision[7] = 1
	a.Term++
	require.NoError(t, run(a))
	require.Equal(t, []string{"7? revision", "7: 2 x"}, f.did())

	for name, s := range map[string]raft.Status{
		"not open":            {Group: 8, Name: "board/a", Term: 3},
		"sealed":              {Group: 8, Name: "board/a", Term: 3, Opened: true, Sealed: true},
		"app unknown":         {Group: 8, Name: "none/a", Term: 3, Opened: true},
		"app follows nothing": {Group: 8, Name: "kv/a", Term: 3, Opened: true},
		"no template":         {Group: 8, Name: "board/c", Term: 3, Opened: true},
	} {
		require.NoError(t, run(s), name)
		require.Empty(t, f.did(), name)
	}
	require.NoError(t, run(raft.Status{Group: 9, Name: "board/b", Term: 3, Opened: true}))
	require.Equal(t, []string{"9? revision"}, f.did(), "options that the app cannot read are not proposed")
}
