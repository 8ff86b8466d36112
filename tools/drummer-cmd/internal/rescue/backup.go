package rescue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/internal/statefile"

	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

const (
	// extension of the files of a directory.
	extension = ".state"
	// filesAtOnce bounds the groups that are saved or restored beside each other.
	filesAtOnce = 8
	dirMode     = 0o755
)

// Saved is one file of `groups backup`, as -o json shows it.
type Saved struct {
	Name    string `json:"name"`
	Region  string `json:"region"`
	ID      uint64 `json:"id"`
	File    string `json:"file"`
	Bytes   int64  `json:"bytes"`
	Applied uint64 `json:"applied"`
}

func (n *Noun) backup() noun.Verb {
	return noun.Verb{
		Name: "backup", Usage: "save groups to files", Args: "[NAME...]", Max: -1,
		About: "Each file is one group's state as a linearizable read shows it, with a checksum and what is wanted of the group. One name may go to a " +
			"file; several go into a directory. Nothing is stopped for it.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "to", Usage: "`PATH` of the directory, or of the file for one group (required)"},
			noun.Region(),
			noun.Toggle("all", "all groups"),
		},
		Needs: []string{"to"}, Run: n.runBackup,
	}
}

func (n *Noun) runBackup(ctx context.Context, c *cli.Context) error {
	if c.Bool("all") != (c.NArg() == 0) {
		return noun.Fault(noun.Usage, "name the groups, or give --all")
	}
	ctx, cancel := n.Bounded(ctx)
	defer cancel()
	groups, apis, err := n.toSave(ctx, c.Args().Slice(), c.String("region"))
	if err != nil {
		return err
	}
	to := c.String("to")
	single := c.NArg() == 1 && !isDir(to) && !strings.HasSuffix(to, "/")
	if !single {
		if err := os.MkdirAll(to, dirMode); err != nil {
			return noun.Doing("make the directory", err)
		}
	}
	saved := make([]Saved, len(groups))
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(filesAtOnce)
	for i, g := range groups {
		all.Go(func() (err error) {
			file := to
			if !single {
				file = filepath.Join(to, url.PathEscape(fileName(g))+extension)
			}
			saved[i], err = n.save(ctx, g, apis, file)
			return noun.Doing("save group "+statemachines.NameOf(g), err)
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	table := [][]string{{"NAME", "ID", "FILE", "BYTES", "APPLIED"}}
	for _, s := range saved {
		table = append(table, []string{statemachines.NameIn(s.Name, s.Region), fmt.Sprint(s.ID), s.File, fmt.Sprint(s.Bytes), fmt.Sprint(s.Applied)})
	}
	return n.Print(saved, table)
}

// fileName is the name of a group's file in a directory: of groups with a region it ends with
// that, so that each has its own.
func fileName(g *drummerpb.GroupInfo) string {
	if g.GetRegion() == "" {
		return g.GetName()
	}
	return g.GetName() + "#" + g.GetRegion() // which no name has
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// toSave finds the groups, and where hosts answer.
func (n *Noun) toSave(ctx context.Context, names []string, region string) ([]*drummerpb.GroupInfo, map[string]string, error) {
	listed, err := n.Groups(ctx, "")
	if err != nil {
		return nil, nil, noun.Doing("list groups", err)
	}
	groups := slices.DeleteFunc(listed, func(g *drummerpb.GroupInfo) bool {
		return g.GetState() == "retired" || g.GetState() == "deleting" || region != "" && g.GetRegion() != region
	})
	if len(names) > 0 {
		if groups, err = named(groups, names, region); err != nil {
			return nil, nil, err
		}
	}
	hosts, err := n.hosts(ctx)
	apis := map[string]string{}
	for _, h := range hosts {
		apis[h.GetHost().GetId()] = h.GetHost().GetApi()
	}
	return groups, apis, err
}

// named are the groups of these names.
func named(all []*drummerpb.GroupInfo, names []string, region string) ([]*drummerpb.GroupInfo, error) {
	groups := make([]*drummerpb.GroupInfo, len(names))
	for i, name := range names {
		var err error
		if groups[i], err = noun.One(all, name, region); err != nil {
			return nil, err
		}
	}
	return groups, nil
}

func (n *Noun) hosts(ctx context.Context) ([]*drummerpb.HostInfo, error) {
	d, err := n.drummers(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := d.ListHosts(ctx, &drummerpb.ListHostsRequest{})
	if err != nil {
		return nil, noun.Doing("list hosts", err)
	}
	return resp.GetHosts(), nil
}

// save asks the hosts of a group one after the other, the leader's first, until one has
// given the whole state.
func (n *Noun) save(ctx context.Context, g *drummerpb.GroupInfo, apis map[string]string, file string) (Saved, error) {
	replicas := slices.Clone(g.GetReplicas())
	slices.SortStableFunc(replicas, func(a, b *drummerpb.ReplicaInfo) int {
		switch {
		case a.GetLeader() == b.GetLeader():
			return 0
		case a.GetLeader():
			return -1
		}
		return 1
	})
	err := noun.Fault(noun.Conflict, "no host has a replica of it")
	for _, r := range replicas {
		if apis[r.GetHostId()] == "" || r.GetObserver() {
			continue
		}
		var s Saved
		if s, err = n.saveFrom(ctx, g, apis[r.GetHostId()], file); err == nil {
			return s, nil
		}
	}
	return Saved{}, err
}

func (n *Noun) saveFrom(ctx context.Context, g *drummerpb.GroupInfo, api, file string) (Saved, error) {
	states, err := n.states(ctx, api)
	if err != nil {
		return Saved{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := states.Read(ctx, &statepb.ReadRequest{Group: g.GetId()})
	if err != nil {
		return Saved{}, err
	}
	h, size, err := write(file, stream.Recv, func(h *statepb.Header) { h.Spec = g.GetSpec() })
	if err != nil {
		return Saved{}, err
	}
	return Saved{Name: g.GetName(), Region: g.GetRegion(), ID: g.GetId(), File: file, Bytes: size, Applied: h.GetApplied()}, nil
}

// states is the service of the host at that address.
func (n *Noun) states(ctx context.Context, api string) (statepb.StatesClient, error) {
	c, err := n.Client(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := c.Server(api)
	if err != nil {
		return nil, err
	}
	return statepb.NewStatesClient(conn), nil
}

// write makes a file of a state, whole or not at all. change may add to the header.
func write(file string, next func() (*statepb.Piece, error), change func(*statepb.Header)) (h *statepb.Header, size int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(file), ".backup-")
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	h, err = transcribe(f, next, change)
	size, seekErr := f.Seek(0, 1)
	if err = errors.Join(err, seekErr, f.Sync(), f.Close()); err != nil {
		return nil, 0, err
	}
	return h, size, os.Rename(f.Name(), file)
}

// transcribe proves a state and writes it under a header of our own.
func transcribe(f *os.File, next func() (*statepb.Piece, error), change func(*statepb.Header)) (*statepb.Header, error) {
	r, err := statefile.NewReader(next)
	if err != nil {
		return nil, err
	}
	change(r.Header())
	send, err := statefile.Into(f)
	if err != nil {
		return nil, err
	}
	w, err := statefile.NewWriter(r.Header(), send)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(w, r); err != nil {
		return nil, err
	}
	return r.Header(), w.Close()
}
