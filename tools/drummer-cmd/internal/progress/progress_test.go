package progress_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/progress"
)

func TestWithoutATerminalEachTenthIsALine(t *testing.T) {
	var out bytes.Buffer
	p := progress.New(&out, false, "groups ok", 50)
	for n := range 51 {
		p.Show(n)
		p.Show(n)
	}
	p.End()
	require.Equal(t, 11, bytes.Count(out.Bytes(), []byte("\n")))
	require.Contains(t, out.String(), "0 of 50 groups ok\n5 of 50 groups ok\n")
	require.Contains(t, out.String(), "50 of 50 groups ok\n")
}

func TestOnATerminalTheLastWordStays(t *testing.T) {
	var out bytes.Buffer
	p := progress.New(&out, true, "groups gone", 2)
	p.Show(1)
	p.End()
	require.Regexp(t, "1 of 2 groups gone\n$", out.String())
}
