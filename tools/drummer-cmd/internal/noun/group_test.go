package noun_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// TestOne: nobody guesses which region is meant.
func TestOne(t *testing.T) {
	all := []*drummerpb.GroupInfo{
		{Name: "kv/a", Id: 1000},
		{Name: "kv/a", Id: 1001},
		{Name: "counter/one", Id: 1002, Region: "ord"},
		{Name: "counter/hits", Id: 1003, Region: "ord"},
		{Name: "counter/hits", Id: 1004, Region: "ams"},
		{Name: "counter/hits", Id: 1005, Region: "ord"},
	}
	for _, row := range []struct {
		name, region string
		id           uint64
		says         string
	}{
		{"kv/a", "", 1001, ""},
		{"counter/one", "", 1002, ""},
		{"counter/hits", "ams", 1004, ""},
		{"counter/hits", "ord", 1005, ""},
		{"counter/hits", "", 0, "counter/hits is in ams, ord: say --region ams"},
		{"counter/hits", "hkg", 0, "that name has groups in ams, ord"},
		{"kv/b", "", 0, "there is no group kv/b"},
		{"kv/b", "ord", 0, "there is no group kv/b"},
	} {
		g, err := noun.One(all, row.name, row.region)
		if row.says != "" {
			require.ErrorContains(t, err, row.says)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, row.id, g.GetId())
	}
}
