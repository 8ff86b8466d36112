package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/arrange"
)

// TestTheDocsKnowTheCommands reads every command line of the documentation, those in
// blocks and those in the text, as the program would: there is such a command, and it has
// those flags.
func TestTheDocsKnowTheCommands(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	pages = append(pages, "../../README.md", "../../config/examples/cluster.yaml")
	app, read := newTool(streams{}).app(), 0
	for _, page := range pages {
		raw, err := os.ReadFile(page)
		require.NoError(t, err)
		if filepath.Base(page) == "cli.md" {
			continue // it is made of the commands
		}
		for _, line := range commandLines(string(raw)) {
			_, err := arrange.Words(app, shellWords(line))
			require.NoError(t, err, "%s: drummer-cmd %s", page, line)
			read++
		}
	}
	require.Greater(t, read, 40, "the command lines are not found any more")
}

// commandLines finds command lines, without the program's name. In the text a command
// also stands alone, as `groups list`.
func commandLines(page string) []string {
	inBlock := regexp.MustCompile(`(?m)^(?:#? *|\$ |.*; )(?:bin/)?drummer-cmd ([a-z-][^\x60\n]*)$`)
	inText := regexp.MustCompile(`\x60(?:drummer-cmd ((?:-|[a-z]+)[^\x60\n]*)|((?:groups|hosts|servers|kv|launch|events|explain|propose|read) [^\x60\n]*))\x60`)
	var lines []string
	for _, m := range append(inBlock.FindAllStringSubmatch(page, -1), inText.FindAllStringSubmatch(page, -1)...) {
		line := m[1]
		if len(m) > 2 && line == "" {
			line = m[2]
		}
		if !strings.ContainsAny(line, "…|") { // a command cut short
			lines = append(lines, line)
		}
	}
	return lines
}

// shellWords splits a line as a shell does, as far as the documentation needs that.
func shellWords(line string) []string {
	line, _, _ = strings.Cut(line, "  #")
	var words []string
	for _, m := range regexp.MustCompile(`'([^']*)'|"([^"]*)"|(\S+)`).FindAllStringSubmatch(line, -1) {
		words = append(words, m[1]+m[2]+m[3])
	}
	return words
}
