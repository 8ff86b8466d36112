package notice

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNoticesMerge(t *testing.T) {
	b := New(3, 1)
	require.Empty(t, b.Take())
	for _, n := range []Notice{{1, 7, 70}, {1, 8, 80}, {3, 7, 70}, {1, 7, 70}, {1, 7, 71}, {2, 7, 70}} {
		b.Add(n)
	}
	<-b.Wake
	require.Empty(t, b.Wake, "told once")
	require.Equal(t, []Notice{{3, 7, 70}, {1, 7, 70}, {1, 8, 80}, {1, 7, 71}}, b.Take())
	require.Empty(t, b.Take())

	b.Add(Notice{1, 7, 70})
	b.Add(Notice{3, 7, 70}, 1)
	require.Equal(t, []Notice{{3, 7, 70}}, b.Take(), "taken back")
}
