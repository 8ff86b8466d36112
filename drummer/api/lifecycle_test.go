package api

import (
	"testing"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
)

// TestAChangeShowsWhatItCameTo: also before the supervisor has looked at it.
func TestAChangeShowsWhatItCameTo(t *testing.T) {
	w := newTown(t, 1)
	w.record.do(t, host("h1"))
	duty := func(r *drummerpb.ChangeHostRequest) string {
		r.Host = "h1"
		resp, err := w.drummer(0).ChangeHost(t.Context(), r)
		require.NoError(t, err)
		return resp.GetHost().GetDuty()
	}
	require.Equal(t, "serving", duty(&drummerpb.ChangeHostRequest{Verb: "maintenance", ForMs: 60_000, DryRun: true}))
	require.Equal(t, "maintenance", duty(&drummerpb.ChangeHostRequest{Verb: "maintenance", ForMs: 60_000}))
	require.Equal(t, "maintenance", duty(&drummerpb.ChangeHostRequest{Verb: "weight", Weight: 50}))
	require.Equal(t, "cordoned", duty(&drummerpb.ChangeHostRequest{Verb: "cordon"}))
	require.Equal(t, "serving", duty(&drummerpb.ChangeHostRequest{Verb: "uncordon"}))
}
