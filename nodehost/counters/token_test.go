package counters_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/internal/serve/servetest"
	"github.com/drumline/drumline/nodehost/counters"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/counter"
)

// regional is the native service of a region's host.
func (c *cluster) regional(t testing.TB, region string) counterpb.CounterClient {
	t.Helper()
	s := counters.New(counters.Options{Router: c, Region: region, Regions: c.regions, Now: c.clock})
	t.Cleanup(func() { _ = s.Close() })
	return counterpb.NewCounterClient(servetest.Dial(t, func(r *servetest.Server) { s.Register(r) }))
}

// do applies a command to a group.
func (c *cluster) do(t testing.TB, group string, cmd *counterpb.Command) {
	t.Helper()
	data, err := proto.Marshal(cmd)
	require.NoError(t, err)
	c.change(func() {
		c.groups[group].Apply([]statemachines.Command{{Version: counter.Version, Data: data}}, make([]statemachines.Result, 1))
	})
}

// codeOf is how a read with a token ends.
func codeOf(t testing.TB, s counterpb.CounterClient, group string, token *counterpb.Token) (codes.Code, string) {
	t.Helper()
	_, err := s.Get(within(t), &counterpb.GetRequest{Group: group, Token: token})
	return status.Code(err), status.Convert(err).Message()
}

// addOne counts, and returns the answer's token.
func addOne(t testing.TB, s counterpb.CounterClient, group string) *counterpb.Token {
	t.Helper()
	r, err := s.Add(within(t), &counterpb.AddRequest{Group: group, Add: &counterpb.Add{Amount: 1}})
	require.NoError(t, err)
	return r.GetToken()
}

// TestTokensOfNoAnswer: a token that the counter never gave is a mistake of the caller, who
// is told; waiting would not help.
func TestTokensOfNoAnswer(t *testing.T) {
	c := newCluster(group, "counter/other", "counter/again")
	s := c.dial(t, nil)
	own, other, again := addOne(t, s, group), addOne(t, s, "counter/other"), addOne(t, s, "counter/again")
	c.change(func() { // it is deleted, and another one is made under its name
		c.groups["counter/again"] = counter.New(statemachines.Group{ID: 2000, Name: "counter/again"})
	})
	addOne(t, s, "counter/again")
	for name, row := range map[string]struct {
		group string
		token *counterpb.Token
		want  codes.Code
		says  string
	}{
		"none":                   {group, nil, codes.OK, ""},
		"an empty one":           {group, &counterpb.Token{}, codes.OK, ""},
		"its own":                {group, own, codes.OK, ""},
		"of another counter":     {group, other, codes.InvalidArgument, "of another counter"},
		"of one that is deleted": {"counter/again", again, codes.InvalidArgument, "that was deleted"},
		"half of one":            {group, &counterpb.Token{Version: 1}, codes.InvalidArgument, "no incarnation"},
		"garbage":                {group, &counterpb.Token{Incarnation: 0xdeadbeef, Version: math.MaxUint64}, codes.InvalidArgument, "of another counter"},
		"of the future":          {group, &counterpb.Token{Incarnation: own.GetIncarnation(), Version: math.MaxUint64}, codes.Unavailable, "not here yet"},
	} {
		code, says := codeOf(t, s, row.group, row.token)
		require.Equal(t, row.want, code, "%s: %s", name, says)
		require.Contains(t, says, row.says, name)
	}
	c.change(func() { c.groups[group].Recovered(1) })
	code, says := codeOf(t, s, group, own)
	require.Equal(t, codes.InvalidArgument, code, says)
	require.Contains(t, says, "recovered")
}

// TestTokensOfOtherRegions: a token of one region is honoured in another, as soon as that has
// heard of it.
func TestTokensOfOtherRegions(t *testing.T) {
	c := newCluster(in("ord"), in("hkg"))
	c.settle(t)
	const name = "counter/default"
	ord, hkg := c.regional(t, "ord"), c.regional(t, "hkg")
	token := addOne(t, ord, name)
	code, says := codeOf(t, hkg, name, token)
	require.Equal(t, codes.Unavailable, code, says)
	require.Contains(t, says, "has not heard yet")
	code, says = codeOf(t, hkg, name, &counterpb.Token{Incarnation: 7, Version: 1})
	require.Equal(t, codes.InvalidArgument, code, says)

	require.True(t, c.exchanged())
	code, says = codeOf(t, hkg, name, token)
	require.Equal(t, codes.OK, code, says)
	later := addOne(t, ord, name)
	code, says = codeOf(t, hkg, name, later)
	require.Equal(t, codes.Unavailable, code, says)
	require.Contains(t, says, "not here yet")

	c.do(t, in("hkg"), &counterpb.Command{Op: &counterpb.Command_Retire{Retire: &counterpb.Retire{Region: "ord"}}})
	code, says = codeOf(t, hkg, name, later)
	require.Equal(t, codes.InvalidArgument, code, "it never comes: %s", says)
	code, says = codeOf(t, hkg, name, token)
	require.Equal(t, codes.OK, code, "what had come stays: %s", says)
	c.change(func() { c.groups[in("ord")] = nil })
	code, says = codeOf(t, hkg, name, &counterpb.Token{Incarnation: 7, Version: 1})
	require.Equal(t, codes.Unavailable, code, "who is not there may have given it: %s", says)
}
