package rescue

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/internal/statefile"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

func (n *Noun) restore() noun.Verb {
	return noun.Verb{
		Name: "restore", Usage: "make groups of saved files", Args: "FILE|DIR...", Min: 1, Max: -1, Waits: true,
		About: "Every group gets the name that it had, or with --as another one, and must not exist. --replace bans the groups that have the names now, " +
			"as `groups recover` does. Sequences skip --margin numbers: those that were handed out since the file was made.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "as", Usage: "`NAME` of the group, for one file"},
			&cli.StringFlag{Name: "region", Usage: "with --as: make it the group of this `REGION`"},
			noun.Toggle("replace", "ban the groups that have the names, and keep their data until groups purge"),
			&cli.Uint64Flag{Name: "margin", Value: 1_000_000, Usage: marginUsage},
			noun.Toggle("dry-run", "only read the files"),
			noun.Toggle("wait", "wait until the groups serve"),
		},
		Run: n.runRestore,
	}
}

// source is a file to restore, read through once.
type source struct {
	file   string
	header *statepb.Header
	spec   *drummerpb.RestoreGroupRequest
}

func (n *Noun) runRestore(ctx context.Context, c *cli.Context) error {
	sources, err := sourcesOf(c)
	if err != nil {
		return err
	}
	made := make([]Made, len(sources))
	for i, s := range sources {
		made[i] = Made{Name: s.spec.GetSpec().GetName(), Region: s.spec.GetSpec().GetRegion(), From: s.file}
	}
	if c.Bool("dry-run") {
		return n.made(ctx, made, false)
	}
	if c.Bool("replace") {
		if err := n.Confirm(word(len(made), made[0].Name), "ban the groups that have these names, and put the saved states in their places"); err != nil {
			return err
		}
	}
	ctx, cancel := n.Bounded(ctx)
	defer cancel()
	hosts, err := n.hosts(ctx)
	if err != nil {
		return err
	}
	all, calls := errgroup.WithContext(ctx)
	all.SetLimit(filesAtOnce)
	for i, s := range sources {
		all.Go(func() error {
			id, err := n.restoreOne(calls, s, hosts)
			made[i].ID = id
			return noun.Doing("restore "+s.file, err)
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	return n.made(ctx, made, c.Bool("wait"))
}

// sourcesOf reads every file through, so that a damaged one changes nothing.
func sourcesOf(c *cli.Context) ([]source, error) {
	var files []string
	for _, arg := range c.Args().Slice() {
		if !isDir(arg) {
			files = append(files, arg)
			continue
		}
		found, err := filepath.Glob(filepath.Join(arg, "*"+extension))
		if err != nil || len(found) == 0 {
			return nil, noun.Fault(noun.NotFound, "%s has no saved groups", arg)
		}
		files = append(files, found...)
	}
	if c.IsSet("as") && len(files) != 1 {
		return nil, noun.Fault(noun.Usage, "--as is for one file")
	}
	if c.IsSet("region") && !c.IsSet("as") {
		return nil, noun.Fault(noun.Usage, "--region goes with --as; without it groups are of the regions that they had")
	}
	slices.Sort(files)
	var sources []source
	for _, file := range files {
		h, err := prove(file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, noun.Fault(noun.Usage, "there is no file %s", file)
		}
		if err != nil {
			return nil, noun.Doing("read "+file, err)
		}
		if h.GetSpec() == nil {
			return nil, noun.Fault(noun.Usage, "%s is no backup of a group", file)
		}
		req := &drummerpb.RestoreGroupRequest{Spec: proto.CloneOf(h.GetSpec()), Replace: c.Bool("replace"), Margin: c.Uint64("margin")}
		if c.IsSet("as") {
			req.Spec.Name = c.String("as")
			if c.IsSet("region") {
				req.Spec.Region, req.Spec.Regions = c.String("region"), nil
			}
		}
		sources = append(sources, source{file, h, req})
	}
	return sources, nil
}

// prove reads a file to its end and returns its header.
func prove(file string) (*statepb.Header, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	next, err := statefile.From(f)
	if err != nil {
		return nil, err
	}
	return statefile.Copy(next, func(*statepb.Piece) error { return nil })
}

// restoreOne stages the state on a host that is up and knows the app, and has a group
// loaded from there.
func (n *Noun) restoreOne(ctx context.Context, s source, hosts []*drummerpb.HostInfo) (uint64, error) {
	err := noun.Fault(noun.Conflict, "no host that is up knows the app %s", s.header.GetApp())
	for _, h := range hosts {
		if h.GetState() != "up" || !knows(h, s.header.GetApp()) {
			continue
		}
		if s.spec.Staged, err = n.stage(ctx, s.file, h.GetHost().GetApi()); err == nil {
			s.spec.HostId = h.GetHost().GetId()
			break
		}
	}
	if err != nil {
		return 0, err
	}
	d, err := n.drummers(ctx)
	if err != nil {
		return 0, err
	}
	resp, err := d.RestoreGroup(ctx, s.spec)
	return resp.GetId(), err
}

func knows(h *drummerpb.HostInfo, app string) bool {
	for _, a := range h.GetHost().GetApps() {
		if a.GetName() == app {
			return true
		}
	}
	return false
}

func (n *Noun) stage(ctx context.Context, file, api string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it is only read
	next, err := statefile.From(f)
	if err != nil {
		return "", err
	}
	states, err := n.states(ctx, api)
	if err != nil {
		return "", err
	}
	stream, err := states.Stage(ctx)
	if err != nil {
		return "", err
	}
	_, copyErr := statefile.Copy(next, stream.Send)
	resp, err := stream.CloseAndRecv()
	if err != nil {
		return "", err // it says more than what Send failed with
	}
	return resp.GetStaged(), copyErr
}
