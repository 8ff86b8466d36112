package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/rawcall"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/shape"
)

// dataFlags say how bytes are given on the command line.
func dataFlags(what string) []cli.Flag {
	return []cli.Flag{
		toggle("hex", what+" is written in hex"),
		toggle("base64", what+" is written in base64"),
		&cli.StringFlag{Name: "file", Usage: "take " + what + " from `FILE`, - for standard input"},
	}
}

// dataOf reads the bytes of a command: the argument at index i, or the file.
func (t *tool) dataOf(c *cli.Context, i int, needed bool) ([]byte, error) {
	file, given := c.String("file"), c.NArg() > i
	encoded := c.Bool("hex") || c.Bool("base64")
	switch {
	case c.Bool("hex") && c.Bool("base64"):
		return nil, usage("--hex and --base64 exclude each other")
	case file != "" && (given || encoded):
		return nil, usage("--file excludes DATA, --hex and --base64")
	case file == "-":
		data, err := io.ReadAll(t.in)
		return data, doing("read standard input", err)
	case file != "":
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, &failure{code: exitUsage, text: "read the data", cause: err}
		}
		return data, nil
	case !given && (needed || encoded):
		return nil, usage("%s needs its data: as an argument or by --file", c.Command.HelpName)
	}
	return decode(c.Args().Get(i), c.Bool("hex"), c.Bool("base64"))
}

func decode(text string, isHex, isBase64 bool) (data []byte, err error) {
	switch {
	case isHex:
		data, err = hex.DecodeString(strings.TrimPrefix(text, "0x"))
	case isBase64:
		data, err = base64.StdEncoding.DecodeString(text)
	default:
		data = []byte(text)
	}
	if err != nil {
		return nil, &failure{code: exitUsage, text: "decode the data", cause: err}
	}
	return data, nil
}

func (t *tool) proposeVerb() verb {
	return verb{
		name: "propose", usage: "propose a command to a group, as raw bytes", args: "GROUP [DATA]", min: 1, max: 2,
		about: "Calls NodehostAPI.Propose: DATA goes to the group's state machine as it is, and its answer is shown. GROUP is a name or " +
			"a number. Without --session a proposal whose answer is lost may or may not be applied, which the error says; " +
			"with it the proposal is repeated until the answer is there, and applied once.",
		flags: append(dataFlags("DATA"), noun.Region(), toggle("session", "propose exactly once, under a session"), rawFlag()),
		run: func(ctx context.Context, c *cli.Context) error {
			data, err := t.dataOf(c, 1, true)
			if err != nil {
				return err
			}
			ctx, cancel := t.bounded(ctx)
			defer cancel()
			r, err := t.openRaw(ctx, c.Args().First(), c.String("region"))
			if err != nil {
				return err
			}
			defer r.Close()
			resp, err := r.Propose(ctx, data, c.Bool("session"))
			if err != nil {
				return doing("propose to group "+c.Args().First(), err)
			}
			if c.Bool("raw") {
				return t.write(resp.GetData())
			}
			if t.opts.output == "table" {
				return t.write(fmt.Appendf(nil, "value  %d\n%s", resp.GetResult(), labelled(resp.GetData())))
			}
			return t.print(shape.Propose{Group: r.Group, Value: resp.GetResult(), Data: shape.OfBytes(resp.GetData())}, nil)
		},
	}
}

func labelled(data []byte) string {
	if len(data) == 0 {
		return ""
	}
	return "data   " + readable(data) + "\n"
}

func rawFlag() cli.Flag {
	return toggle("raw", "write the bytes of the answer as they are, whatever -o says")
}

func (t *tool) readVerb() verb {
	return verb{
		name: "read", usage: "read from a group, as raw bytes", args: "GROUP [DATA]", min: 1, max: 2, watchable: true,
		about: "Calls NodehostAPI.Read: DATA goes to the group's state machine as a query, and its answer is shown: as text if it is " +
			"text, else in hex. The read is linearizable. GROUP is a name or a number.",
		flags: append(dataFlags("DATA"), noun.Region(), rawFlag()),
		run: func(ctx context.Context, c *cli.Context) error {
			data, err := t.dataOf(c, 1, false)
			if err != nil {
				return err
			}
			ctx, cancel := t.bounded(ctx)
			defer cancel()
			r, err := t.openRaw(ctx, c.Args().First(), c.String("region"))
			if err != nil {
				return err
			}
			defer r.Close()
			resp, err := r.Read(ctx, data)
			switch {
			case err != nil:
				return doing("read from group "+c.Args().First(), err)
			case c.Bool("raw"):
				return t.write(resp.GetData())
			case t.opts.output == "table":
				return t.write([]byte(readableText(resp.GetData())))
			}
			return t.print(shape.Read{Group: r.Group, Data: shape.OfBytes(resp.GetData())}, nil)
		},
	}
}

// openRaw finds the group's number and a nodehost that answers.
func (t *tool) openRaw(ctx context.Context, ref, region string) (*rawcall.Conn, error) {
	group, byID := number(ref)
	if !byID {
		conn, err := t.client(ctx)
		if err != nil {
			return nil, err
		}
		where, err := conn.In(region).Group(ref).Locate(ctx)
		if err != nil {
			return nil, doing("locate group "+ref, err)
		}
		group = where.GetId()
	}
	servers, err := t.servers(ctx)
	if err != nil {
		return nil, err
	}
	rand.Shuffle(len(servers), func(i, j int) { servers[i], servers[j] = servers[j], servers[i] })
	for _, s := range servers {
		if s.GetKind() != "nodehost" {
			continue
		}
		if r, err := rawcall.Dial(ctx, s.GetApi(), group, t.opts.tls); err == nil {
			return r, nil
		}
	}
	return nil, fail(exitUnreachable, program+" servers list", "no nodehost answers")
}
