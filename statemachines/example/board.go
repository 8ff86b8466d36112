// Package example is an app of a user's own, as small as one can be: a leaderboard.
// docs/your-own-app.md walks through it. A command is "NAME POINTS" and adds
// points; a query is a NAME, or nothing for the whole board.
package example

import (
	"fmt"
	"io"
	"strings"

	"github.com/google/btree"

	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/snapshot"
)

// App is the leaderboard: groups are called board/something.
func App() statemachines.App {
	return statemachines.App{Name: "board", Version: 1, New: func(statemachines.Group) statemachines.Machine {
		return &board{btree.NewG(32, func(a, b player) bool { return a.name < b.name })}
	}}
}

type player struct {
	name   string
	points uint64
}

// board is the state, and its own frozen view: a cloned tree costs nothing.
type board struct{ players *btree.BTreeG[player] }

func (b *board) Apply(batch []statemachines.Command, results []statemachines.Result) {
	for i, c := range batch {
		var p player
		if _, err := fmt.Sscanf(string(c.Data), "%63s %d", &p.name, &p.points); err != nil || p.points > 1e6 {
			results[i] = statemachines.Result{Data: []byte("want: NAME POINTS, at most 1000000 points")}
			continue
		}
		old, _ := b.players.Get(p)
		p.points += old.points
		b.players.ReplaceOrInsert(p)
		results[i] = statemachines.Result{Value: p.points}
	}
}

func (b *board) Query(query []byte) ([]byte, error) {
	if strings.ContainsAny(string(query), " \n") {
		return nil, fmt.Errorf("%w: want one name or nothing", statemachines.ErrInvalidQuery)
	}
	var out []byte
	b.players.Ascend(func(p player) bool {
		if len(query) == 0 || p.name == string(query) {
			out = fmt.Appendf(out, "%s %d\n", p.name, p.points)
		}
		return true
	})
	return out, nil
}

func (b *board) Snapshot() statemachines.View { return &board{b.players.Clone()} }
func (b *board) Close()                       {}
func (b *board) Recovered(uint64)             {}

func (b *board) WriteTo(w io.Writer) (int64, error) {
	s := snapshot.NewWriter(w, "board", 1)
	s.Uvarint(uint64(b.players.Len())) //nolint:gosec // a length
	b.players.Ascend(func(p player) bool {
		s.Bytes([]byte(p.name))
		s.Uvarint(p.points)
		return s.Err() == nil
	})
	return s.Close()
}

func (b *board) Restore(r io.Reader) error {
	s, err := snapshot.NewReader(r, "board", 1)
	if err != nil {
		return err
	}
	b.players.Clear(false)
	for n := s.Uvarint(); n > 0 && s.Err() == nil; n-- {
		b.players.ReplaceOrInsert(player{string(s.Bytes(256)), s.Uvarint()})
	}
	return s.Close()
}
