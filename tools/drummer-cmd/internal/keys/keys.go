// Package keys is the commands about groups of app kv.
package keys

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/client"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/shape"
)

// Noun makes the commands.
type Noun struct {
	noun.Console
	// Data reads the bytes of a command: the argument at index i, or what DataFlags say.
	Data      func(c *cli.Context, i int, needed bool) ([]byte, error)
	DataFlags []cli.Flag
	// RawFlag asks for bytes as they are.
	RawFlag cli.Flag
	// Readable shows bytes to a person in a line, ReadableText as a whole text.
	Readable, ReadableText func(data []byte) string
}

// Verbs are all commands.
func (n *Noun) Verbs() []noun.Verb {
	return []noun.Verb{n.get(), n.put(), n.remove(), n.cas(), n.list()}
}

// changeFlags are those of a command that stores a value.
func (n *Noun) changeFlags() []cli.Flag { return append(slices.Clone(n.DataFlags), noun.Region()) }

// kvPage is how many entries one call asks for.
const kvPage = 1000

// kv opens a group of app kv under the command's time limit.
func (n *Noun) kv(ctx context.Context, c *cli.Context, f func(context.Context, *client.KV) error) error {
	ctx, cancel := n.Bounded(ctx)
	defer cancel()
	conn, err := n.Client(ctx)
	if err != nil {
		return err
	}
	return f(ctx, conn.In(c.String("region")).KV(c.Args().First()))
}

// fullName is the group, for people.
func fullName(c *cli.Context) string {
	return statemachines.NameIn(c.Args().First(), c.String("region"))
}

func (n *Noun) get() noun.Verb {
	return noun.Verb{
		Name: "get", Usage: "show the value of a key", Args: "GROUP KEY", Min: 2, Max: 2, Watchable: true,
		About: "Shows the value alone; -o json and yaml show the revision too. A key that is not there is exit code 4.",
		Flags: []cli.Flag{n.RawFlag, noun.Region()},
		Run: func(ctx context.Context, c *cli.Context) error {
			return n.kv(ctx, c, func(ctx context.Context, kv *client.KV) error {
				key := c.Args().Get(1)
				e, found, err := kv.Get(ctx, []byte(key))
				switch {
				case err != nil:
					return noun.Doing("get "+key, err)
				case !found:
					return noun.Fault(noun.NotFound, "group %s has no key %s", fullName(c), key)
				case c.Bool("raw"):
					return n.Write(e.Value)
				case n.Plain():
					return n.Write([]byte(n.ReadableText(e.Value)))
				}
				return n.Print(entryOf(e, false), nil)
			})
		},
	}
}

func entryOf(e client.Entry, keyOnly bool) shape.Entry {
	s := shape.Entry{Key: shape.OfBytes(e.Key), Revision: e.Revision}
	if !keyOnly {
		value := shape.OfBytes(e.Value)
		s.Value = &value
	}
	return s
}

// changed shows the revision that a change came to.
func (n *Noun) changed(key string, revision uint64) error {
	return n.Print(shape.Change{Key: shape.OfBytes([]byte(key)), Revision: revision}, [][]string{{"KEY", "REVISION"}, {n.Readable([]byte(key)), fmt.Sprint(revision)}})
}

func (n *Noun) put() noun.Verb {
	return noun.Verb{
		Name: "put", Usage: "store a value under a key", Args: "GROUP KEY [VALUE]", Min: 2, Max: 3,
		About: "Shows the key's new revision.", Flags: n.changeFlags(),
		Run: func(ctx context.Context, c *cli.Context) error {
			value, err := n.Data(c, 2, true)
			if err != nil {
				return err
			}
			return n.kv(ctx, c, func(ctx context.Context, kv *client.KV) error {
				revision, err := kv.Put(ctx, []byte(c.Args().Get(1)), value)
				if err != nil {
					return noun.Doing("put "+c.Args().Get(1), err)
				}
				return n.changed(c.Args().Get(1), revision)
			})
		},
	}
}

func (n *Noun) remove() noun.Verb {
	return noun.Verb{
		Name: "delete", Usage: "remove a key", Args: "GROUP KEY", Min: 2, Max: 2,
		About: "A key that is not there is exit code 4.",
		Flags: []cli.Flag{noun.Region()},
		Run: func(ctx context.Context, c *cli.Context) error {
			return n.kv(ctx, c, func(ctx context.Context, kv *client.KV) error {
				key := c.Args().Get(1)
				found, err := kv.Delete(ctx, []byte(key))
				switch {
				case err != nil:
					return noun.Doing("delete "+key, err)
				case !found:
					return noun.Fault(noun.NotFound, "group %s has no key %s", fullName(c), key)
				}
				return n.Print(shape.Deleted{Key: shape.OfBytes([]byte(key)), Deleted: true}, [][]string{{"KEY", "RESULT"}, {n.Readable([]byte(key)), "deleted"}})
			})
		},
	}
}

func (n *Noun) cas() noun.Verb {
	return noun.Verb{
		Name: "cas", Usage: "store a value if the key's revision is the expected one", Args: "GROUP KEY REVISION [VALUE]", Min: 3, Max: 4,
		About: "REVISION 0 means that the key must not exist. Another revision than the expected one is exit code 5.",
		Flags: n.changeFlags(),
		Run: func(ctx context.Context, c *cli.Context) error {
			expected, err := strconv.ParseUint(c.Args().Get(2), 10, 64)
			if err != nil {
				return noun.Fault(noun.Usage, "%q is no revision: write a number, 0 for a key that must not exist", c.Args().Get(2))
			}
			value, err := n.Data(c, 3, true)
			if err != nil {
				return err
			}
			return n.kv(ctx, c, func(ctx context.Context, kv *client.KV) error {
				key := c.Args().Get(1)
				revision, stored, err := kv.CompareAndSet(ctx, []byte(key), expected, value)
				switch {
				case err != nil:
					return noun.Doing("compare and set "+key, err)
				case !stored && revision == 0:
					return noun.Fault(noun.Conflict, "key %s does not exist, revision %d was expected; nothing was changed", key, expected)
				case !stored:
					return noun.Fault(noun.Conflict, "key %s has revision %d, %d was expected; nothing was changed", key, revision, expected)
				}
				return n.changed(key, revision)
			})
		},
	}
}

func (n *Noun) list() noun.Verb {
	return noun.Verb{
		Name: "list", Usage: "list keys in order", Args: "GROUP [PREFIX]", Min: 1, Max: 2, Watchable: true,
		About: "Lists every key, or those that begin with PREFIX, page by page: each page is linearizable, the whole list is not.",
		Flags: []cli.Flag{noun.Toggle("keys-only", "leave the values out"), noun.Region()},
		Run: func(ctx context.Context, c *cli.Context) error {
			return n.kv(ctx, c, func(ctx context.Context, kv *client.KV) error {
				keysOnly, list := c.Bool("keys-only"), kv.List
				if keysOnly {
					list = kv.ListKeys
				}
				var all []shape.Entry
				var after []byte
				for more := true; more; {
					page, goesOn, err := list(ctx, []byte(c.Args().Get(1)), after, kvPage)
					if err != nil {
						return noun.Doing("list "+fullName(c), err)
					}
					for _, e := range page {
						all, after = append(all, entryOf(e, keysOnly)), e.Key
					}
					more = goesOn && len(page) > 0
				}
				return n.listEntries(all, keysOnly)
			})
		},
	}
}

func (n *Noun) listEntries(all []shape.Entry, keysOnly bool) error {
	header := []string{"KEY", "REVISION", "VALUE"}
	if keysOnly {
		header = header[:2]
	}
	table := [][]string{header}
	for _, e := range all {
		row := []string{n.Readable(e.Key.Base64), fmt.Sprint(e.Revision)}
		if !keysOnly {
			row = append(row, n.Readable(e.Value.Base64))
		}
		table = append(table, row)
	}
	if all == nil {
		all = []shape.Entry{}
	}
	return n.Print(all, table)
}
