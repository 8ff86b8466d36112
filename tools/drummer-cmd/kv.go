package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/client"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/shape"
)

// kvPage is how many entries one call asks for.
const kvPage = 1000

// kv opens a group of app kv under the command's time limit.
func (t *tool) kv(ctx context.Context, c *cli.Context, f func(context.Context, *client.KV) error) error {
	ctx, cancel := t.bounded(ctx)
	defer cancel()
	conn, err := t.client(ctx)
	if err != nil {
		return err
	}
	return f(ctx, conn.KV(c.Args().First()))
}

func (t *tool) kvGet() verb {
	return verb{
		name: "get", usage: "show the value of a key", args: "GROUP KEY", min: 2, max: 2, watchable: true,
		about: "Shows the value alone; -o json and yaml show the revision too. A key that is not there is exit code 4.",
		flags: []cli.Flag{rawFlag()},
		run: func(ctx context.Context, c *cli.Context) error {
			return t.kv(ctx, c, func(ctx context.Context, kv *client.KV) error {
				key := c.Args().Get(1)
				e, found, err := kv.Get(ctx, []byte(key))
				switch {
				case err != nil:
					return doing("get "+key, err)
				case !found:
					return fail(exitNotFound, "", "group %s has no key %s", c.Args().First(), key)
				case c.Bool("raw"):
					return t.write(e.Value)
				case t.opts.output == "table":
					return t.write([]byte(readableText(e.Value)))
				}
				return t.print(entryOf(e, false), nil)
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
func (t *tool) changed(key string, revision uint64) error {
	return t.print(shape.Change{Key: shape.OfBytes([]byte(key)), Revision: revision}, func() *grid {
		g := newGrid("KEY", "REVISION")
		g.add(readable([]byte(key)), fmt.Sprint(revision))
		return g
	})
}

func (t *tool) kvPut() verb {
	return verb{
		name: "put", usage: "store a value under a key", args: "GROUP KEY [VALUE]", min: 2, max: 3,
		about: "Shows the key's new revision.", flags: dataFlags("VALUE"),
		run: func(ctx context.Context, c *cli.Context) error {
			value, err := t.dataOf(c, 2, true)
			if err != nil {
				return err
			}
			return t.kv(ctx, c, func(ctx context.Context, kv *client.KV) error {
				revision, err := kv.Put(ctx, []byte(c.Args().Get(1)), value)
				if err != nil {
					return doing("put "+c.Args().Get(1), err)
				}
				return t.changed(c.Args().Get(1), revision)
			})
		},
	}
}

func (t *tool) kvDelete() verb {
	return verb{
		name: "delete", usage: "remove a key", args: "GROUP KEY", min: 2, max: 2,
		about: "A key that is not there is exit code 4.",
		run: func(ctx context.Context, c *cli.Context) error {
			return t.kv(ctx, c, func(ctx context.Context, kv *client.KV) error {
				key := c.Args().Get(1)
				found, err := kv.Delete(ctx, []byte(key))
				switch {
				case err != nil:
					return doing("delete "+key, err)
				case !found:
					return fail(exitNotFound, "", "group %s has no key %s", c.Args().First(), key)
				}
				return t.print(shape.Deleted{Key: shape.OfBytes([]byte(key)), Deleted: true}, func() *grid {
					g := newGrid("KEY", "RESULT")
					g.add(readable([]byte(key)), "deleted")
					return g
				})
			})
		},
	}
}

func (t *tool) kvCAS() verb {
	return verb{
		name: "cas", usage: "store a value if the key's revision is the expected one", args: "GROUP KEY REVISION [VALUE]", min: 3, max: 4,
		about: "REVISION 0 means that the key must not exist. Another revision than the expected one is exit code 5.",
		flags: dataFlags("VALUE"),
		run: func(ctx context.Context, c *cli.Context) error {
			expected, err := strconv.ParseUint(c.Args().Get(2), 10, 64)
			if err != nil {
				return usage("%q is no revision: write a number, 0 for a key that must not exist", c.Args().Get(2))
			}
			value, err := t.dataOf(c, 3, true)
			if err != nil {
				return err
			}
			return t.kv(ctx, c, func(ctx context.Context, kv *client.KV) error {
				key := c.Args().Get(1)
				revision, stored, err := kv.CompareAndSet(ctx, []byte(key), expected, value)
				switch {
				case err != nil:
					return doing("compare and set "+key, err)
				case !stored && revision == 0:
					return fail(exitConflict, "", "key %s does not exist, revision %d was expected; nothing was changed", key, expected)
				case !stored:
					return fail(exitConflict, "", "key %s has revision %d, %d was expected; nothing was changed", key, revision, expected)
				}
				return t.changed(key, revision)
			})
		},
	}
}

func (t *tool) kvList() verb {
	return verb{
		name: "list", usage: "list keys in order", args: "GROUP [PREFIX]", min: 1, max: 2, watchable: true,
		about: "Lists every key, or those that begin with PREFIX, page by page: each page is linearizable, the whole list is not.",
		flags: []cli.Flag{toggle("keys-only", "leave the values out")},
		run: func(ctx context.Context, c *cli.Context) error {
			return t.kv(ctx, c, func(ctx context.Context, kv *client.KV) error {
				keysOnly, list := c.Bool("keys-only"), kv.List
				if keysOnly {
					list = kv.ListKeys
				}
				var all []shape.Entry
				var after []byte
				for more := true; more; {
					page, goesOn, err := list(ctx, []byte(c.Args().Get(1)), after, kvPage)
					if err != nil {
						return doing("list "+c.Args().First(), err)
					}
					for _, e := range page {
						all, after = append(all, entryOf(e, keysOnly)), e.Key
					}
					more = goesOn && len(page) > 0
				}
				return t.listEntries(all, keysOnly)
			})
		},
	}
}

func (t *tool) listEntries(all []shape.Entry, keysOnly bool) error {
	header := []string{"KEY", "REVISION", "VALUE"}
	if keysOnly {
		header = header[:2]
	}
	return list(t, all, header, func(e shape.Entry) []string {
		row := []string{readable(e.Key.Base64), fmt.Sprint(e.Revision)}
		if !keysOnly {
			row = append(row, readable(e.Value.Base64))
		}
		return row
	})
}
