package counters_test

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/nodehost/counters"
	"github.com/drumline/drumline/statemachines"
)

// in is the full name of a region's group.
func in(region string) string { return statemachines.NameIn("counter/default", region) }

// regions is what drummers know of groups.
func (c *cluster) regions(_ context.Context, name string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != nil {
		return nil, errors.New("no drummer answers")
	}
	var out []string
	for full := range c.groups {
		if base, region := statemachines.CutRegion(full); base == name && region != "" {
			out = append(out, region)
		}
	}
	return out, nil
}

// region serves HTTP as a host of a region does.
func (c *cluster) region(t testing.TB, region string) string {
	t.Helper()
	makes := func(name string) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.auto != nil && c.auto(name)
	}
	mux := http.NewServeMux()
	service := counters.New(counters.Options{Router: c, Region: region, Regions: c.regions, Makes: makes, Now: c.clock})
	t.Cleanup(func() { _ = service.Close() })
	service.Handle(mux.Handle)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

// settle tells each group its region.
func (c *cluster) settle(t testing.TB) {
	t.Helper()
	for name, m := range c.groups {
		_, region := statemachines.CutRegion(name)
		cmd, err := proto.Marshal(&counterpb.Command{Op: &counterpb.Command_Settle{Settle: &counterpb.Settle{Region: region}}})
		require.NoError(t, err)
		m.Apply([]statemachines.Command{{Version: 1, Data: cmd}}, make([]statemachines.Result, 1))
	}
}

// TestRegions: a host counts in its own region; one of none of the counter's counts in
// one of them; and a global read asks all.
func TestRegions(t *testing.T) {
	c := newCluster(in("ord"), in("hkg"), "counter/plain")
	c.settle(t)
	ord, hkg, lax := c.region(t, "ord"), c.region(t, "hkg"), c.region(t, "lax")
	_, _, body := ask(t, "GET", ord+"/inc?amount=3")
	require.Equal(t, "3\n", body)
	_, _, body = ask(t, "GET", hkg+"/inc?amount=4")
	require.Equal(t, "4\n", body)
	_, _, body = ask(t, "GET", lax+"/inc?amount=1")
	require.Equal(t, "5\n", body, "the first of them")
	_, _, body = ask(t, "GET", ord+"/?read=global")
	require.Equal(t, "8\n", body)
	_, _, body = ask(t, "GET", ord+"/verbose?read=global")
	require.Contains(t, strings.ReplaceAll(body, " ", ""), `"stale":[]`)
	code, _, body := ask(t, "GET", ord+"/?read=exact")
	require.Equal(t, 200, code)
	require.Equal(t, "8\n", body)
	code, _, _ = ask(t, "GET", ord+"/?read=never")
	require.Equal(t, 400, code)
	code, _, body = ask(t, "POST", ord+"/v1/counters/plain?amount=2")
	require.Equal(t, 200, code, body)
	c.change(func() { c.groups[in("hkg")] = nil })
	_, _, body = ask(t, "GET", ord+"/verbose?read=global")
	require.Contains(t, strings.ReplaceAll(body, " ", ""), `"stale":["hkg"]`)
	code, _, body = ask(t, "GET", ord+"/?read=exact")
	require.Equal(t, 503, code, "who wants it exact is told that it is not")
	require.Contains(t, body, "no answer from hkg")
}

// TestFirstUse: a counter that templates make appears in each region when that counts; who
// only looks makes none.
func TestFirstUse(t *testing.T) {
	c := newCluster()
	c.auto = func(name string) bool { return name == in("ord") || name == in("hkg") }
	ord, hkg, lax := c.region(t, "ord"), c.region(t, "hkg"), c.region(t, "lax")
	code, _, body := ask(t, "GET", ord+"/")
	require.Equal(t, 404, code, body)
	code, _, body = ask(t, "GET", lax+"/inc?amount=1")
	require.Equal(t, 404, code, "no template names that region: %s", body)
	_, _, body = ask(t, "GET", ord+"/inc?amount=3")
	require.Equal(t, "3\n", body)
	c.change(func() { c.seconds += 60 }) // what regions there are is asked anew
	_, _, body = ask(t, "GET", hkg+"/")
	require.Equal(t, "3\n", body, "until it counts itself, that of another region")
	_, _, body = ask(t, "GET", hkg+"/inc?amount=4")
	require.Equal(t, "4\n", body)
	c.change(func() { require.Len(t, c.groups, 2) })
}

// TestAcks: an increment waits for other regions if it is told to.
func TestAcks(t *testing.T) {
	c := newCluster(in("ord"), in("hkg"), in("ams"))
	c.settle(t)
	ord := c.region(t, "ord")
	code, _, _ := ask(t, "GET", ord+"/inc?amount=1&acks=wan:3")
	require.Equal(t, 400, code, "there are two other regions")
	code, _, _ = ask(t, "GET", ord+"/inc?amount=1&acks=all")
	require.Equal(t, 400, code)
	answers := make(chan struct{}) // ams is silent until another region was enough
	c.change(func() { c.silent = map[string]chan struct{}{in("ams"): answers} })
	answer := sync.OnceFunc(func() { close(answers) })
	t.Cleanup(answer)
	ended := make(chan struct{})
	go func() { // the exchange, which comes some time
		defer close(ended)
		for !c.exchanged() {
			runtime.Gosched()
		}
	}()
	code, _, body := ask(t, "GET", ord+"/inc?amount=1&acks=wan:1")
	answer()
	require.Equal(t, 200, code, body)
	<-ended
}

// TestWindowsAreSealedWhenAllWereHeard: a region that was not may tell of any time.
func TestWindowsAreSealedWhenAllWereHeard(t *testing.T) {
	c := newCluster(in("ord"), in("hkg"))
	c.settle(t)
	ord, hkg := c.region(t, "ord"), c.region(t, "hkg")
	sealed := func(at string) bool {
		code, _, body := ask(t, "GET", at+"/v1/counters/default/windows")
		require.Equal(t, 200, code, body)
		return strings.Contains(strings.ReplaceAll(body, " ", ""), `"sealed":true`)
	}
	for range 3 {
		for _, at := range []string{ord, hkg} {
			code, _, body := ask(t, "GET", at+"/inc?amount=1")
			require.Equal(t, 200, code, body)
		}
		c.change(func() { c.seconds++ })
	}
	require.False(t, sealed(ord))
	require.False(t, sealed(hkg))
	require.True(t, c.exchanged())
	require.True(t, sealed(hkg))
	require.False(t, sealed(ord), "which has heard of nobody")
}

// TestAGlobalReadIsAsNewAsTheyAre: it says up to when each region is known, knows of deletes
// that only others have heard of, and adds up what fits, exactly.
func TestAGlobalReadIsAsNewAsTheyAre(t *testing.T) {
	const name, most = "counter/default", math.MaxInt64 - 100
	c := newCluster(in("ord"), in("hkg"))
	c.settle(t)
	ord, hkg, ctx := c.regional(t, "ord"), c.regional(t, "hkg"), within(t)
	add := func(s counterpb.CounterClient, n int64) {
		_, err := s.Add(ctx, &counterpb.AddRequest{Group: name, Add: &counterpb.Add{Amount: n}})
		require.NoError(t, err)
	}
	global := func() *counterpb.GetResponse {
		r, err := ord.Get(ctx, &counterpb.GetRequest{Group: name, Level: counterpb.Level_LEVEL_GLOBAL})
		require.NoError(t, err)
		return r
	}
	add(ord, 2)
	add(hkg, most)
	r := global()
	require.EqualValues(t, most+2, r.GetInfo().GetValue())
	require.Len(t, r.GetRegions(), 2, "also of one that it hears of for the first time")
	require.EqualValues(t, c.clock().UnixMilli(), r.GetRegions()[1].GetWallMs())
	add(ord, 1000)
	require.True(t, global().GetInfo().GetOverflow())
	require.True(t, c.exchanged())
	c.do(t, in("hkg"), &counterpb.Command{Op: &counterpb.Command_Delete{Delete: &counterpb.Delete{}}})
	add(hkg, 7)
	r = global()
	require.EqualValues(t, 7, r.GetInfo().GetValue(), "what was counted before the delete is gone")
	require.False(t, r.GetInfo().GetOverflow())
	add(ord, 1) // which has not heard of it: it is gone as well when it does
	require.EqualValues(t, 7, global().GetInfo().GetValue())
	r, err := hkg.Get(ctx, &counterpb.GetRequest{Group: name, Level: counterpb.Level_LEVEL_GLOBAL})
	require.NoError(t, err)
	require.EqualValues(t, 7, r.GetInfo().GetValue())
}

// exchanged gives hkg what ord counted, and tells whether there was anything.
func (c *cluster) exchanged() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	query, _ := proto.Marshal(&counterpb.Query{Op: &counterpb.Query_Export{Export: &counterpb.Export{}}})
	data, _ := c.groups[in("ord")].Query(query)
	a := &counterpb.Answer{}
	if proto.Unmarshal(data, a) != nil || len(a.GetExport().GetEntries()) == 0 {
		return false
	}
	cmd, _ := proto.Marshal(&counterpb.Command{Op: &counterpb.Command_Merge{Merge: a.GetExport()}})
	c.groups[in("hkg")].Apply([]statemachines.Command{{Version: 1, Data: cmd}}, make([]statemachines.Result, 1))
	return true
}
