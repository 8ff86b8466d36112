package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/bench/holders"
	"github.com/drumline/drumline/tools/bench/measure"
)

func TestLeaseRowsAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range holders.Rows() {
		require.False(t, seen[row.String()], row.String())
		seen[row.String()] = true
		require.Contains(t, algorithms(), row.Algorithm)
		require.GreaterOrEqual(t, row.Clients, row.Callers, "%v: a client has one request under way", row)
	}
	require.True(t, seen["doorman fair 100 1 32"], "as the help says")
}

func TestClientsKeepToTheirProtocol(t *testing.T) {
	require.Equal(t, holders.Protocol(holders.ViaDoorman), holders.Protocol(holders.ViaAnyHost))
	require.NotEqual(t, holders.Protocol(holders.ViaDoorman), holders.Protocol(holders.ViaNative))
}

func TestTheTableOfLeases(t *testing.T) {
	var out bytes.Buffer
	rows := []holders.Row{{Via: holders.ViaDoorman, Algorithm: "fair", Clients: 100, Each: 1, Callers: 32, Original: 26400}, {Via: holders.ViaDoorman, Algorithm: "fair", Clients: 5000, Each: 1, Callers: 32, Original: 0}, {Via: holders.ViaDoorman, Algorithm: "fair", Clients: 100, Each: 10, Callers: 32, Original: 8900}}
	echoes := []measure.Sample{{PerSec: 40000}, {PerSec: 44500}, {PerSec: 50000}}
	found := []measured{
		{[]measure.Sample{{PerSec: 13200, P50: 1, P99: 2, CPU: 50, Entries: 62}}, echoes},
		{[]measure.Sample{{PerSec: 12000, P50: 1, P99: 2, CPU: 60}}, echoes},
		{[]measure.Sample{{PerSec: 4450, P50: 1, P99: 2, CPU: 100, Failed: 2, Error: "why"}}, echoes},
	}
	app := cli.NewApp()
	app.Writer = &out
	require.NoError(t, printLeases(cli.NewContext(app, nil, nil), rows, found))
	cells := func(line int) (all []string) {
		for cell := range strings.SplitSeq(strings.Split(out.String(), "\n")[line], "|") {
			all = append(all, strings.TrimSpace(cell))
		}
		return all
	}
	require.Equal(t, []string{"", "doorman", "fair", "100", "1", "32", "13200", "13200", "1.00", "2.00", "62", "50.0", "1.00", "13200", "1.00", ""}, cells(2))
	require.Equal(t, []string{"", "doorman", "fair", "5000", "1", "32", "12000", "12000", "1.00", "2.00", "–", "60.0", "1.20", "–", "–", ""}, cells(3))
	require.Equal(t, []string{"", "doorman", "fair", "100", "10", "32", "4450", "44500", "1.00", "2.00", "–", "10.0", "1.00", "4450", "1.00", ": 2 failed: why"}, cells(4))
	require.Contains(t, out.String(), "32 callers on 4 connections: 44500/s; 89000/s where the original was measured")
}
