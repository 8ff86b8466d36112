// Package follow makes live groups follow the configuration of their app.
//
// A Book has the configurations that drummers told of, and keeps them on disk: a host
// that starts with no drummer in sight follows what it knew last. The Task runs on the
// host that leads a group: when a leadership begins, when the group opens, and when the
// Book learns of a newer revision. If the revision that the group has is older, and its
// template's options have changed since, it proposes the app's command (see
// statemachines.Follow). So every group comes to the newest options through its own
// log, however often that is tried, and whichever hosts it is led from meanwhile.
//
// Commands that a leadership takes first wait for that (Await), so none is decided by what a
// group had when it was unloaded.
//
//	book, err := follow.Open(db, func(app string) { roster.Again(follow.TaskName) })
//	follower := follow.New(follow.Options{Book: book, Raft: raftHost, Apps: apps})
//	roster := duty.New(duty.Options{…}, follower.Task())
package follow

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/config/template"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/statemachines"
)

// bucketConfigurations is their place in the host's database: a bucket for each app, in
// it revisions (8 bytes, big-endian) and fleetpb.Configuration messages. On disk, do not
// rename.
const bucketConfigurations = "configurations"

// kept is how many revisions of an app a host remembers: with those before the newest it
// sees that a group's options have not changed, and leaves the group alone.
const kept = 8

// Book is what is said of apps. It is safe for any number of goroutines; the messages
// that it gives are shared and must not be changed.
type Book struct {
	db      *bbolt.DB
	changed func(app string)

	mu   sync.RWMutex
	apps map[string][]*fleetpb.Configuration // guarded by mu; newest first
}

// Open reads what the disk has. changed, if not nil, is called for each app that has a
// newer revision, after it is kept; it must not block.
func Open(db *bbolt.DB, changed func(app string)) (*Book, error) {
	b := &Book{db: db, changed: changed, apps: map[string][]*fleetpb.Configuration{}}
	err := db.View(func(tx *bbolt.Tx) error {
		root := tx.Bucket([]byte(bucketConfigurations))
		if root == nil {
			return nil
		}
		return root.ForEachBucket(func(app []byte) error {
			return root.Bucket(app).ForEach(func(_, raw []byte) error {
				c := &fleetpb.Configuration{}
				if proto.Unmarshal(raw, c) == nil && c.GetApp() == string(app) { // else it is told again
					b.apps[c.GetApp()] = append(b.apps[c.GetApp()], c)
				}
				return nil
			})
		})
	})
	for _, list := range b.apps {
		slices.Reverse(list) // keys ascend
	}
	if err != nil {
		return nil, fmt.Errorf("configurations: read: %w", err)
	}
	return b, nil
}

// Learn takes in what a drummer said; what is not newer than what is known changes
// nothing. After an error of the disk it is followed all the same.
func (b *Book) Learn(list []*fleetpb.Configuration) error {
	var errs []error
	for _, c := range list {
		if !b.take(c) {
			continue
		}
		errs = append(errs, b.keep(c))
		if b.changed != nil {
			b.changed(c.GetApp())
		}
	}
	return errors.Join(errs...)
}

// take remembers a configuration if it is newer.
func (b *Book) take(c *fleetpb.Configuration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.apps[c.GetApp()]
	if c.GetApp() == "" || c.GetRevision() == 0 || len(old) > 0 && old[0].GetRevision() >= c.GetRevision() {
		return false
	}
	b.apps[c.GetApp()] = append([]*fleetpb.Configuration{c}, old[:min(len(old), kept-1)]...)
	return true
}

// keep writes a configuration and drops what is remembered no more.
func (b *Book) keep(c *fleetpb.Configuration) error {
	raw, err := proto.Marshal(c)
	if err != nil {
		return fmt.Errorf("configuration of app %s: %w", c.GetApp(), err)
	}
	err = b.db.Update(func(tx *bbolt.Tx) error {
		root, err := tx.CreateBucketIfNotExists([]byte(bucketConfigurations))
		if err != nil {
			return err
		}
		revisions, err := root.CreateBucketIfNotExists([]byte(c.GetApp()))
		if err != nil {
			return err
		}
		if err := revisions.Put(binary.BigEndian.AppendUint64(nil, c.GetRevision()), raw); err != nil {
			return err
		}
		n := 0
		all := revisions.Cursor()
		for k, _ := all.Last(); k != nil; k, _ = all.Prev() {
			if n++; n > kept {
				return revisions.Delete(k) // one comes, one goes
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("configuration of app %s: write: %w", c.GetApp(), err)
	}
	return nil
}

// Configuration returns what is in force for an app as far as this host knows, or nil.
func (b *Book) Configuration(app string) *fleetpb.Configuration {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if list := b.apps[app]; len(list) > 0 {
		return list[0]
	}
	return nil
}

// Configurations lists what is in force for every app, by app.
func (b *Book) Configurations() []*fleetpb.Configuration {
	b.mu.RLock()
	defer b.mu.RUnlock()
	all := make([]*fleetpb.Configuration, 0, len(b.apps))
	for _, list := range b.apps {
		all = append(all, list[0])
	}
	slices.SortFunc(all, func(x, y *fleetpb.Configuration) int { return cmp.Compare(x.GetApp(), y.GetApp()) })
	return all
}

// Template returns the template that a group's name (app/name, full or not) matches, and
// the revision that says so; nil when there is none, as far as this host knows. It is the
// same in all regions.
func (b *Book) Template(group string) (*fleetpb.Template, uint64) {
	app, _, _ := strings.Cut(group, "/")
	c := b.Configuration(app)
	return templateOf(c, group), c.GetRevision()
}

// templateOf is the template of a configuration that a full name matches, or nil.
func templateOf(c *fleetpb.Configuration, full string) *fleetpb.Template {
	name, _ := statemachines.CutRegion(full)
	return template.Of(c, name)
}

// at returns a revision that is remembered, or nil.
func (b *Book) at(app string, revision uint64) *fleetpb.Configuration {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, c := range b.apps[app] {
		if c.GetRevision() == revision {
			return c
		}
	}
	return nil
}
