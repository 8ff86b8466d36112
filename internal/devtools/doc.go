// Package devtools holds the module files of the development tools (each tool has
// one of its own, so that nothing of it gets into the project's go.mod), and the
// test of the budgets that no linter knows: the size of a package and the number
// of names that it exports.
package devtools
