package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/client"
	"github.com/drumline/drumline/config/examples"
	"github.com/drumline/drumline/internal/localfleet"
)

const startPatience = 60 * time.Second

func runFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "dir", Value: filepath.Join("run", "playground"), Usage: "directory of the cluster; kept at the end"},
		&cli.IntFlag{Name: "drummers", Value: 3, Usage: "number of drummers: 1, 3 or 5"},
		&cli.IntFlag{Name: "hosts", Value: 5, Usage: "number of nodehosts"},
		&cli.StringFlag{Name: "regions", Value: "east,west", Usage: "regions, given to the processes in turn; when set, a counter that each of them counts is launched instead of the example (kept as DIR/counters.yaml)"},
		&cli.IntFlag{Name: "base-port", Usage: "first of consecutive ports; 0 takes free ones"},
		&cli.StringFlag{Name: "launch", Usage: "launch `FILE` instead of the built-in example (kept as DIR/cluster.yaml); \"none\" launches nothing"},
		&cli.BoolFlag{Name: "quiet", Usage: "keep the processes' logs off the terminal (they are in DIR/NAME/log)"},
	}
}

// play runs the cluster until the context ends.
func play(c *cli.Context) (err error) {
	if c.NArg() > 0 {
		return usageError{fmt.Errorf("unexpected argument %q; see playground --help", c.Args().First())}
	}
	if n := c.Int("drummers"); n < 1 || n%2 == 0 {
		return usageError{fmt.Errorf("--drummers %d: use 1, 3 or 5", n)}
	}
	if n := c.Int("hosts"); n < 1 {
		return usageError{fmt.Errorf("--hosts %d: use at least 1", n)}
	}
	if err := checkRegions(regionsOf(c), counts(c), c.Int("hosts")); err != nil {
		return usageError{err}
	}
	bin, err := binDir()
	if err != nil {
		return err
	}
	fleet, err := localfleet.Open(fleetOptions(c, bin))
	if err != nil {
		return err
	}
	out := c.App.Writer
	defer func() {
		say(out, "stopping the cluster")
		err = errors.Join(err, fleet.Close())
	}()
	control, err := serveControl(c.String("dir"), fleet)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, control.Close()) }()
	if err := bringUp(c, fleet, bin); err != nil {
		if c.Context.Err() != nil {
			return nil // Ctrl-C during the start is no failure
		}
		return err
	}
	printGuide(out, c.String("dir"), bin, fleet, counts(c))
	<-c.Context.Done()
	return nil
}

func fleetOptions(c *cli.Context, bin string) localfleet.Options {
	o := localfleet.Options{
		Dir: c.String("dir"), Bin: bin, Drummers: c.Int("drummers"), Hosts: c.Int("hosts"),
		Regions: regionsOf(c), BasePort: c.Int("base-port"), Output: c.App.Writer, Gossip: true,
		Exited: func(name string, err error) {
			say(c.App.Writer, fmt.Sprintf("%s ended by itself (%v); bring it back with: playground ctl --dir %s start %s", name, err, c.String("dir"), name))
		},
	}
	if c.Bool("quiet") {
		o.Output = io.Discard
	}
	return o
}

// binDir is where this program is: the others were built beside it.
func binDir() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the programs: %w", err)
	}
	return filepath.Dir(self), nil
}

func bringUp(c *cli.Context, fleet *localfleet.Fleet, bin string) error {
	if err := fleet.StartAll(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, startPatience)
	defer cancel()
	if err := fleet.WaitReady(ctx); err != nil {
		return fmt.Errorf("%w; the logs are in %s", err, filepath.Join(c.String("dir"), "NAME", "log"))
	}
	if err := attended(ctx, fleet); err != nil {
		return err
	}
	find := func() (string, error) { return launchFile(c.String("dir"), c.String("launch")) }
	if counts(c) {
		find = func() (string, error) { return countersFile(c.String("dir"), fleet.Processes()) }
	}
	file, err := find()
	if err != nil || file == "" {
		return err
	}
	return launch(c, fleet, filepath.Join(bin, "drummer-cmd"), file)
}

// counts tells whether regions were asked for, and nothing else to launch.
func counts(c *cli.Context) bool { return c.IsSet("regions") && !c.IsSet("launch") }

// regionsOf are those of the command line.
func regionsOf(c *cli.Context) []string {
	regions := strings.Split(c.String("regions"), ",")
	for i := range regions {
		regions[i] = strings.TrimSpace(regions[i])
	}
	return regions
}

// attended waits until the supervisor knows all hosts.
func attended(ctx context.Context, fleet *localfleet.Fleet) error {
	c, err := client.Open(ctx, fleet.APIs(localfleet.KindDrummer))
	if err != nil {
		return fmt.Errorf("connect to the drummers: %w", err)
	}
	defer c.Close()
	return fleet.WaitAttended(ctx, c)
}

// launchFile returns the file to launch; the built-in example is copied beside the
// cluster first, to be read and changed.
func launchFile(dir, asked string) (string, error) {
	switch asked {
	case "none":
		return "", nil
	case "":
	default:
		return asked, nil
	}
	file := filepath.Join(dir, "cluster.yaml")
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	if err := os.WriteFile(file, examples.Cluster, 0o644); err != nil {
		return "", fmt.Errorf("write the example: %w", err)
	}
	return file, nil
}

// launch does what an operator does: it runs drummer-cmd.
func launch(c *cli.Context, fleet *localfleet.Fleet, program, file string) error {
	servers := strings.Join(fleet.APIs(localfleet.KindDrummer), ",")
	cmd := exec.CommandContext(c.Context, program, "--servers", servers, "launch", "-f", file, "--wait", "--timeout", "60s")
	cmd.Stdout, cmd.Stderr = c.App.Writer, c.App.ErrWriter
	if !c.Bool("quiet") {
		// No terminal for it, so no progress bar: the processes' logs would be written into it.
		cmd.Stdout, cmd.Stderr = lines{c.App.Writer}, lines{c.App.ErrWriter}
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("launch %s: %w", file, err)
	}
	return nil
}

// lines is a writer that does not look like a terminal.
type lines struct{ io.Writer }

func say(w io.Writer, text string) {
	_, _ = fmt.Fprintln(w, "playground:", text) // the terminal is gone or it is not
}

func printGuide(w io.Writer, dir, bin string, fleet *localfleet.Fleet, counters bool) {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "NAME\tREGION\tGRPC\tHTTP\tPID") // a Builder does not fail
	for _, p := range fleet.Processes() {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\n", p.Name, p.Region, p.API, p.HTTP, p.PID)
	}
	_ = t.Flush()
	// A host is among the servers, so that reads and writes go on with no drummer up.
	servers := append(fleet.APIs(localfleet.KindDrummer), fleet.APIs(localfleet.KindNodeHost)[0])
	cmd := filepath.Join(bin, "drummer-cmd")
	try := "\n  " + cmd + " kv put kv/demo-001 hello world"
	if counters {
		try = ""
		defer printCounters(w, fleet.Processes())
	}
	_, _ = fmt.Fprintf(w, `
%s
The cluster is up. Try, in another terminal:
  export DRUMMER_SERVERS=%s
  %s groups list%s
  %s ctl --dir %s kill host-2      (and watch: %s events --follow)
Stop it with Ctrl-C; start it again and it is the same cluster.
`, b.String(), strings.Join(servers, ","), cmd, try, filepath.Join(bin, "playground"), dir, cmd)
}
