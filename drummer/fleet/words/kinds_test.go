package words_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/drummer/fleet/words"
)

// The wire says which kinds of operation there are, and which can be paused.
func TestTheWireNamesAllKinds(t *testing.T) {
	kinds := declared(t)
	require.Contains(t, kinds, words.KindTune)
	for _, kind := range kinds {
		require.Regexp(t, `\b`+kind+`\b`, comment(t, "fleet/fleet.proto", `// (kind is launch, .*)\n`))
	}
	for _, kind := range append(words.BuildKinds(), words.KindTransfer, words.KindTune) {
		require.Regexp(t, `\b`+kind+`\b`, comment(t, "drummer/drummer.proto", `// (kind of operation: .*)\n`))
	}
}

// declared are the kinds that the source declares.
func declared(t *testing.T) (kinds []string) {
	file, err := parser.ParseFile(token.NewFileSet(), "kinds.go", nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		d, is := n.(*ast.GenDecl)
		if !is || d.Tok != token.CONST {
			return true
		}
		ast.Inspect(d, func(n ast.Node) bool {
			if l, is := n.(*ast.BasicLit); is {
				kind, err := strconv.Unquote(l.Value)
				require.NoError(t, err)
				kinds = append(kinds, kind)
			}
			return true
		})
		return false
	})
	return kinds
}

// comment is the first one of a file that looks so.
func comment(t *testing.T, file, pattern string) string {
	text, err := os.ReadFile("../../../drummerpb/" + file)
	require.NoError(t, err)
	found := regexp.MustCompile(pattern).FindSubmatch(text)
	require.NotNil(t, found, "%s has no comment like %s", file, pattern)
	return string(found[1])
}
