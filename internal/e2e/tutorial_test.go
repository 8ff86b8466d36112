//go:build e2e || e2elong

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	doormanpb "github.com/drumline/drumline/drummerpb/doorman"
	"github.com/drumline/drumline/internal/localfleet"
)

// tutorialConfig is the configuration of Doorman's tutorial.
const tutorialConfig = `resources:
- identifier_glob: proportional
  capacity: 100
  safe_capacity: 10
  description: proportional example
  algorithm: {kind: PROPORTIONAL_SHARE, lease_length: 15, refresh_interval: 5}
- identifier_glob: fair
  capacity: 1000
  safe_capacity: 10
  description: fair share example
  algorithm: {kind: FAIR_SHARE, lease_length: 15, refresh_interval: 5}
- identifier_glob: "*"
  capacity: 1000
  safe_capacity: 10
  algorithm: {kind: FAIR_SHARE, lease_length: 60, refresh_interval: 15}
`

// student follows the tutorial: clients as the original's, which ask one host for ever and
// show what they have.
type student struct {
	*world
	at  doormanpb.CapacityClient
	has map[string]float64 // by client and resource
}

// get asks once for a client.
func (s *student) get(client, resource string, wants float64) float64 {
	s.Helper()
	r := &doormanpb.ResourceRequest{ResourceId: &resource, Priority: new(int64(0)), Wants: &wants}
	key := client + " " + resource
	if has, ok := s.has[key]; ok {
		r.Has = &doormanpb.Lease{ExpiryTime: new(time.Now().Unix()), RefreshInterval: new(int64(5)), Capacity: &has}
	}
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	resp, err := s.at.GetCapacity(ctx, &doormanpb.GetCapacityRequest{ClientId: &client, Resource: []*doormanpb.ResourceRequest{r}})
	s.must(err)
	require.Nil(s, resp.GetMastership(), "the host answers itself")
	got := resp.GetResponse()[0]
	require.InDelta(s, 10, got.GetSafeCapacity(), 0)
	s.has[key] = got.GetGets().GetCapacity()
	return s.has[key]
}

func (s *student) smalls(resource string, wants float64) {
	s.Helper()
	for i := range 4 {
		require.InDelta(s, wants, s.get(fmt.Sprintf("small%d", i+1), resource, wants), 0, "small%d", i+1)
	}
}

// lesson is steps 4 to 13 of the tutorial, with something done between them.
func (s *student) lesson(between func()) {
	s.Helper()
	is := func(want, got float64) {
		s.Helper()
		require.InDelta(s, want, got, 0)
	}
	s.smalls("proportional", 10)
	between()
	is(60, s.get("big", "proportional", 500))
	is(0, s.get("bigger", "proportional", 1000))
	s.smalls("proportional", 10)
	between()
	is(25.454545454545457, s.get("big", "proportional", 500))
	is(0, s.get("bigger", "proportional", 1000))
	is(25.454545454545457, s.get("big", "proportional", 500))
	is(34.54545454545455, s.get("bigger", "proportional", 1000))
	s.smalls("proportional", 10)

	s.smalls("fair", 100)
	between()
	is(600, s.get("big", "fair", 1000))
	is(0, s.get("bigger", "fair", 2000))
	s.smalls("fair", 100)
	between()
	is(300, s.get("big", "fair", 1000))
	is(0, s.get("bigger", "fair", 2000))
	is(300, s.get("big", "fair", 1000))
	is(300, s.get("bigger", "fair", 2000))
	s.smalls("fair", 100)
}

// forget gives everything back.
func (s *student) forget() {
	ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
	defer cancel()
	for _, client := range []string{"small1", "small2", "small3", "small4", "big", "bigger"} {
		_, err := s.at.ReleaseCapacity(ctx, &doormanpb.ReleaseCapacityRequest{ClientId: &client, ResourceId: []string{"proportional", "fair"}})
		s.must(err)
	}
	clear(s.has)
}

// leads lists the groups that a host leads, as its status page says.
func (w *world) leads(host string) map[string]bool {
	w.Helper()
	var status struct {
		Replicas []struct {
			Name    string
			Serving bool
		}
		Capacity struct {
			Resources []struct {
				Resource, Leader string
				Revision         uint64
			}
			Configuration string
		}
	}
	w.must(json.Unmarshal([]byte(debugStatus(w, host)), &status))
	require.Equal(w, tutorialConfig, status.Capacity.Configuration)
	require.Len(w, status.Capacity.Resources, 2)
	for _, r := range status.Capacity.Resources {
		require.EqualValues(w, 1, r.Revision, r.Resource)
	}
	out := map[string]bool{}
	for _, r := range status.Replicas {
		if r.Serving {
			out[r.Name] = true
		}
	}
	return out
}

// stranger finds a host that leads none of the tutorial's groups.
func (w *world) stranger() string {
	w.Helper()
	for i := range 5 {
		name := fmt.Sprintf("host-%d", i+1)
		if led := w.leads(name); !led["capacity/proportional"] && !led["capacity/fair"] {
			return name
		}
	}
	require.Fail(w, "every host leads")
	return ""
}

// leaderOf is the host that leads a group, as Drummer knows; empty while it does not.
func (w *world) leaderOf(group string) string {
	groups, err := w.groups()
	if err != nil {
		return ""
	}
	for _, r := range groups[group].GetReplicas() {
		if r.GetLeader() {
			return r.GetHost()
		}
	}
	return ""
}

// TestTutorial is Doorman's tutorial, through a host that leads none of the groups; then
// again while hosts and drummers are killed between the steps; then in the shell.
func TestTutorial(t *testing.T) {
	w := newWorld(t, 3, 5)
	w.create()
	file := filepath.Join(w.dir, "tutorial.yml")
	w.must(os.WriteFile(file, []byte(tutorialConfig), 0o600))
	program := filepath.Join(programs(t), "drummer-cmd")
	out, err := exec.Command(program, "--servers", w.fleet.APIs(localfleet.KindDrummer)[0], "capacity", "config", "apply", "-f", file).CombinedOutput()
	require.NoError(t, err, string(out))
	for _, name := range []string{"capacity/proportional", "capacity/fair"} {
		_, err := w.definition(name, 20*time.Second)
		w.must(err)
	}
	host := w.stranger()
	p, err := w.fleet.Process(host)
	w.must(err)
	conn, err := grpc.NewClient(p.API, grpc.WithTransportCredentials(insecure.NewCredentials()))
	w.must(err)
	defer func() { w.must(conn.Close()) }()
	s := &student{world: w, at: doormanpb.NewCapacityClient(conn), has: map[string]float64{}}
	who, err := s.at.Discovery(t.Context(), &doormanpb.DiscoveryRequest{})
	w.must(err)
	require.True(t, who.GetIsMaster())
	require.Equal(t, p.API, who.GetMastership().GetMasterAddress())

	s.lesson(func() {})
	s.forget()
	s.lesson(w.havoc(host))
	s.forget()
	w.shell(program, p.API)
}

// havoc kills, in turn, a leader of each group and the leading drummer, and starts what it
// killed before; never the host that is asked.
func (w *world) havoc(spare string) func() {
	var down string
	turn := 0
	return func() {
		w.Helper()
		if down != "" {
			w.must(w.fleet.Start(down))
			down = ""
		}
		victim := ""
		switch turn++; turn % 3 {
		case 1:
			victim = w.leaderOf("capacity/proportional")
		case 2:
			victim, _ = w.leadingDrummer()
		case 0:
			victim = w.leaderOf("capacity/fair")
		}
		if victim == "" || victim == spare {
			return
		}
		w.must(w.fleet.Kill(victim))
		w.Logf("killed %s", victim)
		down = victim
	}
}

// session is drummer-cmd's shell with somebody at it.
type session struct {
	*world
	cmd   *exec.Cmd
	in    io.Writer
	lines *bufio.Reader
}

func (w *world) session(program, server string) *session {
	w.Helper()
	s := &session{world: w, cmd: exec.CommandContext(w.Context(), program, "--servers", server, "capacity", "shell")}
	in, err := s.cmd.StdinPipe()
	w.must(err)
	out, err := s.cmd.StdoutPipe()
	w.must(err)
	s.in, s.lines, s.cmd.Stderr = in, bufio.NewReader(out), os.Stderr
	w.must(s.cmd.Start())
	return s
}

func (s *session) say(text string) {
	_, err := io.WriteString(s.in, text+"\n")
	s.must(err)
}

// shown is what each client has, once so many are there.
func (s *session) shown(clients int) map[string]string {
	s.say("show")
	got := map[string]string{}
	for range clients {
		var holding [3]string
		for i := range 4 {
			line, err := s.lines.ReadString('\n')
			s.must(err)
			if i < 3 {
				_, holding[i], _ = strings.Cut(strings.TrimSpace(line), ": ")
			}
		}
		got[strings.Trim(holding[0], `"`)] = holding[2]
	}
	return got
}

// quit leaves, and fails if anybody else was shown than those who were looked for.
func (s *session) quit() {
	s.Helper()
	s.say("quit")
	rest, err := io.ReadAll(s.lines)
	s.must(err)
	require.Empty(s, string(rest))
	s.must(s.cmd.Wait())
}

// part is the tutorial's steps for one resource: what is wanted of it, and what one big client
// has beside the small ones, and then two have.
type part struct{ resource, small, big, bigger, alone, withBigger, biggerHas string }

// typed types a part of the tutorial.
func (s *session) typed(p part) {
	s.Helper()
	want := map[string]string{"big": p.alone}
	for _, client := range []string{"small1", "small2", "small3", "small4"} {
		s.say("get " + client + " " + p.resource + " " + p.small)
		want[client] = p.small
	}
	s.say("get big " + p.resource + " " + p.big)
	require.Equal(s, want, s.shown(5))
	s.say("get bigger " + p.resource + " " + p.bigger)
	want["big"], want["bigger"] = p.withBigger, p.biggerHas
	s.within(30*time.Second, "the shell's clients have what the tutorial says", func() (bool, string) {
		got := s.shown(6)
		return maps.Equal(want, got), fmt.Sprint(got)
	})
}

// shell types the tutorial into two of drummer-cmd's shells, as its last steps do: the second
// shows its own clients alone.
func (w *world) shell(program, server string) {
	w.Helper()
	first := w.session(program, server)
	first.typed(part{"proportional", "10", "500", "1000", "60", "25.454545454545457", "34.54545454545455"})
	second := w.session(program, server)
	second.typed(part{"fair", "100", "1000", "2000", "600", "300", "300"})
	second.quit()
	first.quit()
}
