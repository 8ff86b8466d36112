package devtools

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Budgets of a package, without its tests. One that outgrows them is two ideas.
const (
	maxLines    = 2500
	maxExported = 40
)

// larger names the packages that may have more lines, and why.
var larger = map[string]int{
	// The translation of dragonboat is one room on purpose: replicas, sessions,
	// membership and events share one lock order, and nobody else may know it.
	"internal/raft": 3400,
	// One protocol: frames, handshakes, sessions and peers know each other's states.
	"internal/raft/transport": 2600,
}

// size is what a package has of each.
type size struct{ lines, exported int }

func TestPackagesKeepTheirBudget(t *testing.T) {
	sizes, err := measure(filepath.Join("..", ".."))
	require.NoError(t, err)
	require.Contains(t, sizes, "internal/fault", "looked in the wrong place")
	for dir, s := range sizes {
		if limit := max(maxLines, larger[dir]); s.lines > limit {
			t.Errorf("%s has %d lines, at most %d are allowed: split it", dir, s.lines, limit)
		}
		if s.exported > maxExported {
			t.Errorf("%s exports %d names, at most %d are allowed: split it, or keep some to yourself", dir, s.exported, maxExported)
		}
	}
}

// measure reads all packages below root but generated code.
func measure(root string) (map[string]size, error) {
	sizes := map[string]size{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || name == "run") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".pb.go") {
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		s, err := sizeOf(path)
		sizes[dir] = size{sizes[dir].lines + s.lines, sizes[dir].exported + s.exported}
		return err
	})
	return sizes, err
}

func sizeOf(path string) (size, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return size{}, err
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.SkipObjectResolution)
	if err != nil {
		return size{}, err
	}
	s := size{lines: bytes.Count(src, []byte("\n"))}
	for _, d := range file.Decls {
		s.exported += exportedOf(d)
	}
	return s, nil
}

// exportedOf counts the exported names of a declaration; methods belong to their type.
func exportedOf(d ast.Decl) int {
	n := 0
	count := func(ids ...*ast.Ident) {
		for _, id := range ids {
			if id.IsExported() {
				n++
			}
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			count(d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				count(s.Name)
			case *ast.ValueSpec:
				count(s.Names...)
			}
		}
	}
	return n
}

func TestMeasureCounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.go")
	src := "package x\n\ntype A struct{}\n\nfunc (A) M() {}\n\nfunc F() {}\nfunc g() {}\n\nconst (\n\tB, c = 1, 2\n)\n\nvar D int\n"
	require.NoError(t, os.WriteFile(path, []byte(src), 0o600))
	s, err := sizeOf(path)
	require.NoError(t, err)
	require.Equal(t, size{lines: 14, exported: 4}, s)
}
