package nodehost

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/statemachines"
)

// board is a register that follows its app's configuration: it answers with its value
// behind its options. Its command "=REVISION OPTIONS" configures it.
type board struct {
	register
	revision uint64
	options  string
}

func boardApp() statemachines.App {
	return statemachines.App{Name: "board", Version: 1, New: func(statemachines.Group) statemachines.Machine { return &board{} }, Follow: &statemachines.Follow{
		Command: func(revision uint64, options []byte) ([]byte, error) {
			return fmt.Appendf(nil, "=%d %s", revision, options), nil
		},
		Query: []byte("revision"),
		Revision: func(answer []byte) (uint64, error) {
			if len(answer) != 8 {
				return 0, errors.New("no revision")
			}
			return binary.BigEndian.Uint64(answer), nil
		},
	}}
}

func (b *board) Apply(batch []statemachines.Command, results []statemachines.Result) {
	for i, c := range batch {
		var revision uint64
		var options string
		if n, _ := fmt.Sscanf(string(c.Data), "=%d %s", &revision, &options); n == 2 {
			if revision > b.revision {
				b.revision, b.options = revision, options
			}
			continue
		}
		b.register.Apply(batch[i:i+1], results[i:i+1])
	}
}

func (b *board) Query(q []byte) ([]byte, error) {
	if string(q) == "revision" {
		return binary.BigEndian.AppendUint64(nil, b.revision), nil
	}
	return []byte(b.options + ":" + string(b.value)), nil
}

func (b *board) Snapshot() statemachines.View {
	return frozen(fmt.Sprintf("%d %s %s", b.revision, b.options, b.value))
}

func (b *board) Restore(in io.Reader) error {
	_, err := fmt.Fscan(in, &b.revision, &b.options, &b.value)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// said is a revision of app board whose only template is for all names.
func said(revision uint64, options string) *fleetpb.Configuration {
	return &fleetpb.Configuration{App: "board", Revision: revision, Templates: []*fleetpb.Template{
		{Match: "*", Replicas: 3, AutoCreate: true, Options: []byte(options)},
	}}
}

// awaitAnswer reads a group until the answer is the one.
func awaitAnswer(t *testing.T, app *caller, h *testHost, group, want string) {
	t.Helper()
	require.Eventually(t, func() bool {
		got, err := app.get(h, group)
		return err == nil && got == want
	}, patience, 2*time.Millisecond)
}

func TestAGroupIsMadeOnFirstUseAndFollows(t *testing.T) {
	d := newDrummer(t)
	hosts := []*testHost{newHost(t, "a", d.addr), newHost(t, "b", d.addr), newHost(t, "c", d.addr)}
	d.configure(said(1, "one"))
	app := newCaller(t)
	used := make(chan error, 1)
	go func() { used <- app.put(hosts[2], "board/new", "hello") }()
	d.await("the first use", func() bool { return d.wanted["board/new"] > 0 })
	d.launch(group, "board/new", 1, hosts...)
	require.NoError(t, <-used, "it waits until the group is open")
	awaitAnswer(t, app, hosts[0], "board/new", "one:hello")

	for n := uint64(2); n <= 5; n++ {
		d.configure(said(n, fmt.Sprintf("options-%d", n)))
	}
	d.configure(said(4, "late"))
	awaitAnswer(t, app, hosts[1], "board/new", "options-5:hello")
	leader, _ := d.leader(group, hosts...)
	require.NoError(t, leader.halt())
	d.configure(said(6, "six"))
	for _, h := range hosts {
		if h != leader {
			awaitAnswer(t, app, h, "board/new", "six:hello")
		}
	}
	require.Contains(t, strings.Join(hostsConfigurations(t, hosts, leader), " "), "board 6 [*]")
	for _, h := range hosts {
		if h != leader {
			_, metrics := h.get("/metrics")
			require.Contains(t, metrics, `nodehost_configuration_revision{app="board"} 6`)
		}
	}
}

func hostsConfigurations(t *testing.T, hosts []*testHost, but *testHost) (all []string) {
	t.Helper()
	for _, h := range hosts {
		if h != but {
			for _, c := range h.status().Configurations {
				all = append(all, fmt.Sprint(c.App, " ", c.Revision, " ", c.Templates))
			}
		}
	}
	return all
}

// TestConfigurationsAreFollowedWithNoDrummerInSight: hosts were told of a revision that
// their groups do not have yet, and start again alone.
func TestConfigurationsAreFollowedWithNoDrummerInSight(t *testing.T) {
	d := newDrummer(t)
	hosts := []*testHost{newHost(t, "a", d.addr), newHost(t, "b", d.addr), newHost(t, "c", d.addr)}
	d.launch(group, "board/x", 1, hosts...)
	app := newCaller(t)
	require.NoError(t, app.put(hosts[0], "board/x", "kept"))
	for _, h := range hosts {
		require.NoError(t, h.halt())
	}
	d.configure(said(3, "three"))
	for _, h := range hosts { // each is told alone: without a quorum nothing is proposed
		h.start()
		require.Eventually(t, func() bool { return len(h.status().Configurations) == 1 }, patience, time.Millisecond)
		require.NoError(t, h.halt())
	}
	d.stop()
	for _, h := range hosts {
		h.cfg.BootGrace = 300 * time.Millisecond // nobody answers
		h.start()
	}
	for _, h := range hosts {
		h.awaitBoot()
		awaitAnswer(t, app, h, "board/x", "three:kept")
	}
}
