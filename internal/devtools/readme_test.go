package devtools

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The program in the README compiles, and what it links to is there.
func TestReadme(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	for _, link := range regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(string(page), -1) {
		require.FileExists(t, filepath.Join(root, link[1]))
	}
	programs := blocks(t, page)
	require.Len(t, programs, 1)
	vet(t, programs[0])
}

// The programs and lines of Go that other pages have compile, too.
func TestGoInDocs(t *testing.T) {
	lines := map[string][]string{ // by page: what the lines use
		"sequences.md": {"client"}, "doorman.md": {"client", "client/capacity", "client/limit"},
	}
	var files []string
	for page, imports := range lines {
		for i, lines := range blocks(t, read(t, page)) {
			files = append(files, framed(fmt.Sprintf("%s%d", strings.TrimSuffix(page, ".md"), i), imports, lines))
		}
	}
	require.Len(t, files, 3)
	vet(t, files...)
	programs := blocks(t, read(t, "drummer.md"))
	require.Len(t, programs, 1)
	vet(t, programs[0])
}

func read(t *testing.T, page string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
	require.NoError(t, err)
	return text
}

// blocks are the Go of a page.
func blocks(t *testing.T, page []byte) (all []string) {
	t.Helper()
	for _, b := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(page, -1) {
		all = append(all, string(b[1]))
	}
	require.NotEmpty(t, all)
	return all
}

// framed is lines as a function of a file, with what a page takes for granted: ctx and c.
func framed(name string, imports []string, lines string) string {
	var file strings.Builder
	file.WriteString("package docs\n\nimport (\n\t\"context\"\n")
	for _, path := range imports {
		fmt.Fprintf(&file, "\t\"github.com/drumline/drumline/%s\"\n", path)
	}
	fmt.Fprintf(&file, ")\n\nfunc %s(ctx context.Context, c *client.Client) {\n%s", name, lines)
	for _, names := range regexp.MustCompile(`(?m)^([\w, ]+) :=`).FindAllStringSubmatch(lines, -1) {
		for name := range strings.SplitSeq(names[1], ", ") {
			fmt.Fprintf(&file, "\t_ = %s\n", name)
		}
	}
	file.WriteString("}\n")
	return file.String()
}

// vet compiles files of one package.
func vet(t *testing.T, files ...string) {
	t.Helper()
	dir, args := t.TempDir(), []string{"vet"}
	for i, text := range files {
		file := filepath.Join(dir, fmt.Sprintf("file%d.go", i))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		args = append(args, file)
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	require.NoError(t, err, "%s\n%s", out, strings.Join(files, "\n"))
}
