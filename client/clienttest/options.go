package clienttest

import (
	"log/slog"

	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/capacity"
	"github.com/drumline/drumline/statemachines/counter"
	"github.com/drumline/drumline/statemachines/kv"
	"github.com/drumline/drumline/statemachines/sequence"
)

// options of Start.
type options struct {
	hosts   int
	disk    bool
	apps    []statemachines.App
	options map[string][]byte // of an app's template
	log     *slog.Logger
}

func newOptions(opts []Option) options {
	o := options{
		hosts: 1, apps: []statemachines.App{kv.App(), capacity.App(), sequence.App(), counter.App()},
		options: map[string][]byte{}, log: slog.New(slog.DiscardHandler),
	}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// Option changes the cluster that Start starts.
type Option func(*options)

// Hosts is how many hosts there are: 1, which is the default, or 3, 5 or 7. Each group has
// a replica on all of them.
func Hosts(n int) Option { return func(o *options) { o.hosts = n } }

// OnDisk keeps data in files under the test's temporary directory and syncs them, as
// clusters do; a host that is stopped and started is the same one then.
func OnDisk() Option { return func(o *options) { o.disk = true } }

// Apps are the apps of the hosts, instead of the built-in ones.
func Apps(apps ...statemachines.App) Option { return func(o *options) { o.apps = apps } }

// Template is what groups of an app get as their options when they are made: what a
// template of the app's configuration holds, in the app's own encoding.
func Template(app string, content []byte) Option {
	return func(o *options) { o.options[app] = content }
}

// Log is where the servers log; by default nowhere.
func Log(l *slog.Logger) Option { return func(o *options) { o.log = l } }
