//go:build e2e || e2elong

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/client"
	"github.com/drumline/drumline/client/sequence"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/internal/chaos"
	"github.com/drumline/drumline/internal/localfleet"
)

// What broke rr_seq, or could break a sequence, and where it is tried on real processes.
// Each ends with chaos.Numbers, which judges what clients wrote down, and with the same
// logs under drummer-cmd sequence verify. With the build tag e2elong all go on for longer.
//
//	servers start, serve soon, and refuse strangers         TestSequencesAndKills/strangers
//	a host whose list of drummers is wrong                   TestSequencesAndKills/wrong drummers
//	rr_seq's quick start, by the command line                TestSequencesOfManyKinds/quick start
//	buffers mixed, no delay                                  TestSequencesOfManyKinds/mixed buffers
//	one client, many readers: dense                          TestSequencesOfManyKinds/readers
//	32 unbuffered clients: dense, and none is starved        TestSequencesOfManyKinds/unbuffered
//	hosts end by INT, QUIT and KILL under load               TestSequencesAndKills/one by one
//	no quorum: buffers drain, waiting costs nothing          TestSequencesWithoutAMajority/no quorum
//	everything is killed, also at a name's first number      TestSequencesAndKills/all at once
//	a host loses its data; another one is stale              TestSequencesAndLostData
//	a client with a range is killed, or ends well            TestSequencesOfManyKinds/clients end
//	partitions, one-way losses, delays, lost packets         TestSequencesPartitioned
//	every n-th answer is lost                                TestSequencesOfManyKinds/lost answers
//	more clients than dragonboat has sessions, all retry     TestSequencesOfManyKinds/thousands of clients
//	odd ranges, odd names                                    TestSequencesOfManyKinds/odd requests
//	definitions, restart, set, drop and create               TestSequencesOfManyKinds/definitions
//	gap-free numbers while holders and hosts die             TestSequencesOfOtherModes/gap-free
//	numbers of time, workers with wrong clocks               TestSequencesOfOtherModes/time
//	timestamps while leaders are killed                      TestSequencesOfOtherModes/timestamps
//	hosts whose clocks are wrong by 10 s                     TestSequencesOnHostsWithWrongClocks
//	a family of very many keys                               TestSequencesOfManyKinds/many keys
//	Close while nothing answers                              TestSequencesWithoutAMajority/close
//	opened after a recovery, while hosts are killed          TestSequencesOpenWhileHostsDie
//	linearizable, with an administrator at work              TestSequencesAreLinearizable

// family is the group that most scenarios have keys of.
const family = "sequence/fam"

var errAnswerLost = errors.New("the answer was lost")

// newSequences is a fleet of three hosts with a family and some groups of their own, and
// a client that knows the hosts only, as applications do.
func newSequences(t *testing.T, names ...string) (*world, *client.Client) {
	t.Helper()
	w := newWorld(t, 1, 3)
	return w, w.sequences(names...)
}

// sequences makes groups of sequences and a client of the hosts.
func (w *world) sequences(names ...string) *client.Client {
	w.Helper()
	w.create(sequenceSpecs(append(names, family)...)...)
	w.within(20*time.Second, "groups are whole", w.whole(nil))
	return w.hostsClient()
}

// sequenceSpecs are groups of sequences.
func sequenceSpecs(names ...string) []*fleetpb.Spec {
	var specs []*fleetpb.Spec
	for _, name := range names {
		specs = append(specs, &fleetpb.Spec{Name: name, App: "sequence", Replicas: 3})
	}
	return specs
}

// hostsClient is a client that knows the hosts only.
func (w *world) hostsClient() *client.Client {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	c, err := client.Open(ctx, w.fleet.APIs(localfleet.KindNodeHost))
	w.must(err)
	w.Cleanup(c.Close)
	return c
}

// cast is the clients of one sequence, with the checker of what they get.
type cast struct {
	*testing.T
	c       *client.Client
	name    string
	numbers *chaos.Numbers
	// lose, unless 0, loses every so-many-th answer on its way to a client.
	lose uint64
}

func newCast(t *testing.T, c *client.Client, name string) *cast {
	return &cast{T: t, c: c, name: name, numbers: chaos.NewNumbers()}
}

// actor is a client of the cast: a Sequence and the book of what it got.
type actor struct {
	*sequence.Sequence
	book *chaos.Book
}

// actor opens one, whose grants are noted on their way to it.
func (p *cast) actor(who string, opts ...sequence.Option) *actor {
	group, key := family, p.name[len(family)+1:]
	if p.name[:len(family)] != family {
		group, key = p.name, ""
	}
	b := p.numbers.Book(who)
	return &actor{sequence.New(&witness{group: p.c.Group(group), book: b, lose: p.lose}, p.name, key, opts...), b}
}

// end closes it. What it could not give back in time is a gap, and no failure.
func (a *actor) end() { _ = a.Close() }

// draw takes numbers until there are enough, stop is set, or ctx ends.
func (a *actor) draw(ctx context.Context, enough int, stop *atomic.Bool) error {
	for range enough {
		if stop != nil && stop.Load() {
			return nil
		}
		if err := a.one(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (a *actor) one(ctx context.Context) error {
	sent := time.Now()
	n, err := a.Next(ctx)
	if err == nil {
		a.book.Note(n, sent, time.Now())
	}
	return err
}

// play has an actor that draws so many numbers, which must come, and closes.
func (p *cast) play(who string, enough int, opts ...sequence.Option) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), time.Minute)
	defer cancel()
	a := p.actor(who, opts...)
	defer a.end()
	require.NoError(p, a.draw(ctx, enough, nil))
}

// judge ends a cast, with the checker and with the command for operators.
func (p *cast) judge(ordered bool) chaos.NumbersReport {
	p.Helper()
	r, err := p.numbers.Judge(ordered)
	require.NoError(p, err)
	dir := p.TempDir()
	require.NoError(p, p.numbers.Write(dir))
	out, err := exec.Command(filepath.Join(programs(p.T), "drummer-cmd"), "sequence", "verify", dir).CombinedOutput()
	require.NoError(p, err, string(out))
	p.Logf("%s: %v", p.name, r)
	return r
}

// dense demands that the numbers are 1 to n, without a gap.
func (p *cast) dense(r chaos.NumbersReport) {
	p.Helper()
	require.EqualValues(p, 1, r.Least)
	require.Zero(p, r.Missing, "a gap, although no client was lost")
}

// witness is a group that a client proposes to; it notes what the client is granted and
// loses answers.
type witness struct {
	group *client.Group
	book  *chaos.Book
	lose  uint64
	asked atomic.Uint64
}

// Propose implements sequence.Group.
func (g *witness) Propose(ctx context.Context, cmd []byte) ([]byte, bool, error) {
	r, err := g.group.ProposeIdempotent(ctx, cmd)
	if err != nil {
		reason := reasonOf(err)
		return nil, reason != hostpb.Reason_REASON_INVALID && reason != hostpb.Reason_REASON_GROUP_NOT_FOUND, err
	}
	if g.lose > 0 && g.asked.Add(1)%g.lose == 0 {
		return nil, true, errAnswerLost
	}
	answer := &sequencepb.Result{}
	if err := proto.Unmarshal(r.Data, answer); err != nil {
		return nil, false, err
	}
	if gr := answer.GetGrant(); gr.GetCount() > 0 {
		g.book.Granted(gr.GetFirst(), gr.GetCount())
	}
	return r.Data, false, nil
}

// service is the native service, at any host.
func service(c *client.Client) sequencepb.SequenceClient {
	return sequencepb.NewSequenceClient(c.Hosts())
}

// describe reads a sequence of the family.
func (p *cast) describe() *sequencepb.Info {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), 20*time.Second)
	defer cancel()
	r, err := service(p.c).Describe(ctx, &sequencepb.DescribeRequest{Group: family, Describe: &sequencepb.Describe{Key: p.name[len(family)+1:]}})
	require.NoError(p, err)
	return r.GetInfo()
}

// streamer is a process of drummer-cmd sequence stream, rr_seq's example client.
type streamer struct {
	*testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
	book  *chaos.Book
}

// streamer starts one; its book has what it prints.
func (p *cast) streamer(w *world, who string, args ...string) *streamer {
	p.Helper()
	args = append([]string{"--servers", w.fleet.APIs(localfleet.KindNodeHost)[0] + "," + w.fleet.APIs(localfleet.KindNodeHost)[1], "sequence", "stream"}, args...)
	s := &streamer{T: p.T, cmd: exec.Command(filepath.Join(programs(p.T), "drummer-cmd"), append(args, p.name)...), book: p.numbers.Book(who)}
	out, err := s.cmd.StdoutPipe()
	require.NoError(p, err)
	s.lines = bufio.NewScanner(out)
	require.NoError(p, s.cmd.Start())
	p.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() }) // it has ended, unless the test failed
	return s
}

// read reads so many numbers of what it prints.
func (s *streamer) read(n int) {
	s.Helper()
	for range n {
		sent := time.Now()
		require.True(s, s.lines.Scan(), "it ended: %v", s.lines.Err())
		s.note(sent)
	}
}

func (s *streamer) note(sent time.Time) {
	s.Helper()
	var v int64
	_, err := fmt.Sscanf(s.lines.Text(), "Got: %d", &v)
	require.NoError(s, err, s.lines.Text())
	s.book.Note(v, sent, time.Now())
}

// end sends a signal and reads what there still is.
func (s *streamer) end(sig os.Signal) {
	s.Helper()
	require.NoError(s, s.cmd.Process.Signal(sig))
	for s.lines.Scan() {
		s.note(time.Now())
	}
	_ = s.cmd.Wait() // it was told to end: how is of no matter
}

// used is the processor time of a streamer so far.
func (s *streamer) used() time.Duration {
	s.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", s.cmd.Process.Pid))
	require.NoError(s, err)
	require.NotEmpty(s, threads)
	sum := time.Duration(0)
	for _, path := range threads {
		raw, err := os.ReadFile(path)
		require.NoError(s, err)
		ran, err := strconv.ParseInt(strings.Fields(string(raw))[0], 10, 64)
		require.NoError(s, err)
		sum += time.Duration(ran)
	}
	return sum
}
