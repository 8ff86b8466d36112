package rescue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/rebuild"
	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/internal/statefile"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// askPatience bounds the question to one host.
const askPatience = 5 * time.Second

// RecordVerbs are those about the fleet record.
func (n *Noun) RecordVerbs() []noun.Verb {
	return []noun.Verb{n.recordBackup(), n.recordRebuild(), n.recordExport()}
}

func (n *Noun) recordBackup() noun.Verb {
	return noun.Verb{
		Name: "backup", Usage: "save the fleet record to a file",
		About: "The record says which groups, hosts and configurations there are, and what is wanted of them; it holds no data of groups. Any drummer answers while more than half of them run.",
		Flags: []cli.Flag{&cli.StringFlag{Name: "to", Usage: "`FILE` to write (required)"}}, Needs: []string{"to"},
		Run: func(ctx context.Context, c *cli.Context) error {
			ctx, cancel := n.Bounded(ctx)
			defer cancel()
			conn, err := n.Client(ctx)
			if err != nil {
				return err
			}
			servers, err := conn.Servers(ctx)
			if err != nil {
				return noun.Doing("list drummers", err)
			}
			file, last := c.String("to"), noun.Fault(noun.NotFound, "no drummer is known")
			for _, s := range servers {
				if s.GetKind() != "drummer" {
					continue
				}
				var saved Saved
				if saved, last = n.saveRecord(ctx, s.GetApi(), file); last == nil {
					return n.Print(saved, [][]string{{"NAME", "FILE", "BYTES"}, {saved.Name, saved.File, fmt.Sprint(saved.Bytes)}})
				}
			}
			return noun.Doing("save the record", last)
		},
	}
}

func (n *Noun) saveRecord(ctx context.Context, api, file string) (Saved, error) {
	states, err := n.states(ctx, api)
	if err != nil {
		return Saved{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := states.Read(ctx, &statepb.ReadRequest{Group: uint64(ids.DrummerGroup)})
	if err != nil {
		return Saved{}, err
	}
	h, size, err := write(file, stream.Recv, func(*statepb.Header) {})
	return Saved{Name: h.GetName(), ID: h.GetGroup(), File: file, Bytes: size, Applied: h.GetApplied()}, err
}

// Rebuilt is what `record rebuild` prints with -o json.
type Rebuilt struct {
	File        string   `json:"file"`
	Fleet       string   `json:"fleet"`
	Incarnation uint64   `json:"incarnation"`
	Groups      int      `json:"groups"`
	Hosts       int      `json:"hosts"`
	Heard       []string `json:"heard"`
	Notes       []string `json:"notes"`
}

func (n *Noun) recordRebuild() noun.Verb {
	return noun.Verb{
		Name: "rebuild", Usage: "make a record for new drummers, when all drummers have lost theirs", Args: "[HOST...]", Max: -1,
		About: "Asks the hosts at these gRPC addresses, and those that they know of, for what they have, and writes a record to --to. With --backup " +
			"it begins with a saved record, and what hosts have is newer; without, what is wanted of groups is guessed from what runs. Put the file as seed.state " +
			"into the empty data directory of every drummer and start them: they go on with the old fleet, as a higher incarnation. Changes nothing by itself.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "to", Usage: "`FILE` to write (required)"},
			&cli.StringFlag{Name: "backup", Usage: "`FILE` of `record backup`"},
		},
		Needs: []string{"to"}, Run: n.runRebuild,
	}
}

func (n *Noun) runRebuild(ctx context.Context, c *cli.Context) error {
	if c.NArg() == 0 && c.String("backup") == "" {
		return noun.Fault(noun.Usage, "name a host, or a --backup")
	}
	base, header, err := readRecord(c.String("backup"))
	if err != nil {
		return noun.Doing("read "+c.String("backup"), err)
	}
	heard, silent, err := n.askHosts(ctx, c.Args().Slice())
	if err != nil {
		return err
	}
	made, err := rebuild.Make(base, heard)
	if err != nil {
		return noun.Doing("make a record", err)
	}
	if made.Fleet == "" {
		made.Fleet = header.GetFleet()
	}
	out := Rebuilt{File: c.String("to"), Fleet: made.Fleet, Incarnation: made.Incarnation, Heard: []string{}, Notes: append(silent, made.Notes...)}
	v := made.Record.Freeze()
	out.Groups, out.Hosts = v.GroupCount(), v.HostCount()
	for _, h := range heard {
		out.Heard = append(out.Heard, h.GetHost().GetName())
	}
	slices.Sort(out.Heard)
	switch {
	case made.Fleet == "":
		return noun.Fault(noun.NotFound, "no host was heard that belongs to a fleet, and there is no backup that says which")
	case header != nil && header.GetFleet() != made.Fleet:
		return noun.Fault(noun.Conflict, "the backup is of fleet %s, and the hosts are of fleet %s", header.GetFleet(), made.Fleet)
	}
	if err := writeRecord(out.File, made); err != nil {
		return noun.Doing("write "+out.File, err)
	}
	for _, note := range out.Notes {
		n.Say("%s", note)
	}
	return n.Print(out, [][]string{
		{"FILE", "FLEET", "INCARNATION", "GROUPS", "HOSTS", "HEARD"},
		{out.File, out.Fleet, fmt.Sprint(out.Incarnation), fmt.Sprint(out.Groups), fmt.Sprint(out.Hosts), fmt.Sprint(len(out.Heard))},
	})
}

// readRecord reads a saved record; an empty one without a file.
func readRecord(file string) (*fleet.View, *statepb.Header, error) {
	if file == "" {
		return fleet.EmptyView(), nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	next, err := statefile.From(f)
	if err != nil {
		return nil, nil, err
	}
	r, err := statefile.NewReader(next)
	if err != nil {
		return nil, nil, err
	}
	m := fleet.New()
	if err := m.Restore(r); err != nil {
		return nil, nil, err
	}
	_, err = io.Copy(io.Discard, r) // proves the rest
	return m.Freeze(), r.Header(), err
}

// askHosts asks hosts, and those that they know, once each.
func (n *Noun) askHosts(ctx context.Context, addrs []string) (heard []*statepb.Inventory, silent []string, err error) {
	if len(addrs) == 0 {
		return nil, nil, nil
	}
	pool, err := serve.NewPool(n.TLS())
	if err != nil {
		return nil, nil, noun.Doing("read the certificates", err)
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	asked := map[string]bool{}
	for len(addrs) > 0 {
		addr := addrs[0]
		addrs = addrs[1:]
		if asked[addr] || addr == "" {
			continue
		}
		asked[addr] = true
		inv, err := takeInventory(ctx, pool, addr)
		if err != nil {
			silent = append(silent, fmt.Sprintf("nothing was heard of a host at %s: %v", addr, err))
			continue
		}
		if !slices.ContainsFunc(heard, func(o *statepb.Inventory) bool { return o.GetHost().GetId() == inv.GetHost().GetId() }) {
			heard = append(heard, inv)
		}
		asked[inv.GetHost().GetApi()] = true
		for _, o := range inv.GetOthers() {
			addrs = append(addrs, o.GetApi())
		}
	}
	return heard, silent, nil
}

func takeInventory(ctx context.Context, pool *serve.Pool, addr string) (*statepb.Inventory, error) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	conn, err := pool.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	stream, err := statepb.NewStatesClient(conn).TakeInventory(ctx, &statepb.InventoryRequest{})
	if err != nil {
		return nil, err
	}
	all, err := stream.Recv()
	for err == nil {
		var more *statepb.Inventory
		if more, err = stream.Recv(); err == nil {
			all.Replicas = append(all.Replicas, more.GetReplicas()...)
		}
	}
	if errors.Is(err, io.EOF) {
		return all, nil
	}
	return nil, err
}

// writeRecord writes a seed.
func writeRecord(file string, made *rebuild.Result) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Sync(), f.Close()) }()
	send, err := statefile.Into(f)
	if err != nil {
		return err
	}
	w, err := statefile.NewWriter(&statepb.Header{
		Name: fleet.AppName + "/record", App: fleet.AppName, Group: uint64(ids.DrummerGroup), Version: fleet.AppVersion,
		Fleet: made.Fleet, Incarnation: made.Incarnation, TakenUnixMs: time.Now().UnixMilli(),
	}, send)
	if err != nil {
		return err
	}
	view := made.Record.Snapshot()
	defer view.Close()
	if _, err := view.WriteTo(w); err != nil {
		return err
	}
	return w.Close()
}
