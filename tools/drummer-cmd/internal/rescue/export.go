package rescue

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/drummer/export"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
)

// Exported is what `record export` prints with -o json.
type Exported struct {
	File   string `json:"file"`
	Bytes  int    `json:"bytes"`
	Hosts  int    `json:"hosts"`
	Groups int    `json:"groups"`
	UnixMs int64  `json:"taken_unix_ms"`
}

func (n *Noun) recordExport() noun.Verb {
	return noun.Verb{
		Name: "export", Usage: "save the fleet as it is now, for simulate --from",
		About: "Writes JSON: the record, and what hosts report, both as the leading drummer saw them at one moment. Addresses, configurations of apps, " +
			"authors and history are left out; names and labels of hosts and names of groups are not. It is no backup: see `record backup`. " +
			"A fleet of 100,000 groups is 10 MB on the way and 190 MB in the file; give it --timeout=1m.",
		Flags: []cli.Flag{&cli.StringFlag{Name: "to", Usage: "`FILE` to write (required)"}}, Needs: []string{"to"},
		Run: func(ctx context.Context, c *cli.Context) error {
			ctx, cancel := n.Bounded(ctx)
			defer cancel()
			out, err := n.exportTo(ctx, c.String("to"))
			if err != nil {
				return noun.Doing("export the fleet", err)
			}
			return n.Print(out, [][]string{
				{"FILE", "BYTES", "HOSTS", "GROUPS"},
				{out.File, strconv.Itoa(out.Bytes), strconv.Itoa(out.Hosts), strconv.Itoa(out.Groups)},
			})
		},
	}
}

// exportTo checks what it is told before it writes it: a file that nothing reads helps nobody.
func (n *Noun) exportTo(ctx context.Context, to string) (Exported, error) {
	d, err := n.drummers(ctx)
	if err != nil {
		return Exported{}, err
	}
	packed, err := fetch(ctx, d)
	if err != nil {
		return Exported{}, err
	}
	e, err := export.Unpack(packed)
	if err != nil {
		return Exported{}, fmt.Errorf("unpack the answer: %w", err)
	}
	f, err := export.Check(e)
	if err != nil {
		return Exported{}, fmt.Errorf("the answer holds no fleet that can be: %w", err)
	}
	data, err := export.Write(e)
	if err != nil {
		return Exported{}, err
	}
	v := f.Record().Freeze()
	return Exported{File: to, Bytes: len(data), Hosts: v.HostCount(), Groups: v.GroupCount(), UnixMs: e.GetTakenUnixMs()}, os.WriteFile(to, data, 0o644)
}

// fetch asks for an export part by part, all of one moment.
func fetch(ctx context.Context, d drummerpb.DrummerClient) ([]byte, error) {
	resp, err := d.Export(ctx, &drummerpb.ExportRequest{})
	if err != nil {
		return nil, err
	}
	id, size, packed := resp.GetId(), resp.GetSize(), resp.GetPacked()
	for uint64(len(packed)) < size {
		if resp, err = d.Export(ctx, &drummerpb.ExportRequest{Id: id, Offset: uint64(len(packed))}); err != nil {
			return nil, err
		}
		if len(resp.GetPacked()) == 0 {
			return nil, fmt.Errorf("the drummer's answer ends at %d of %d bytes: begin again", len(packed), size)
		}
		packed = append(packed, resp.GetPacked()...)
	}
	return packed, nil
}
