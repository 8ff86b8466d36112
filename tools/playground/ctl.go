package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/internal/localfleet"
)

// actions are what ctl can do to a process.
func actions(f *localfleet.Fleet) map[string]func(string) error {
	return map[string]func(string) error{
		"kill": f.Kill, "stop": f.Stop, "pause": f.Pause, "resume": f.Resume, "start": f.Start, "wipe": f.Wipe,
	}
}

// endpoint is where a running playground listens for ctl; the token keeps other
// users of the machine out.
type endpoint struct {
	Addr  string `json:"addr"`
	Token string `json:"token"`
}

func endpointFile(dir string) string { return filepath.Join(dir, "ctl.json") }

// control is the running playground's side of ctl.
type control struct {
	server *http.Server
	file   string
	served chan error
}

func serveControl(dir string, fleet *localfleet.Fleet) (*control, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for ctl: %w", err)
	}
	e := endpoint{Addr: ln.Addr().String(), Token: rand.Text()}
	raw, err := json.Marshal(e)
	if err == nil {
		err = renameio.WriteFile(endpointFile(dir), raw, 0o600)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write the ctl file: %w", err), ln.Close())
	}
	c := &control{
		server: &http.Server{Handler: controlHandler(e.Token, fleet), ReadHeaderTimeout: 5 * time.Second},
		file:   endpointFile(dir),
		served: make(chan error, 1),
	}
	go func() { c.served <- c.server.Serve(ln) }() // Close waits for it
	return c, nil
}

// Close ends the ctl endpoint.
func (c *control) Close() error {
	err := errors.Join(c.server.Close(), os.Remove(c.file))
	if e := <-c.served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

func controlHandler(token string, fleet *localfleet.Fleet) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{action}/{name}", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			http.Error(w, "wrong token", http.StatusForbidden)
			return
		}
		act := actions(fleet)[r.PathValue("action")]
		if act == nil {
			http.Error(w, "no such action", http.StatusNotFound)
			return
		}
		if err := act(r.PathValue("name")); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
	return mux
}

func ctlCommand() *cli.Command {
	verbs := []string{"kill", "stop", "pause", "resume", "start", "wipe"}
	return &cli.Command{
		Name:      "ctl",
		Usage:     "act on one process of a running playground",
		ArgsUsage: strings.Join(verbs, "|") + " NAME",
		Flags:     []cli.Flag{&cli.StringFlag{Name: "dir", Value: filepath.Join("run", "playground"), Usage: "directory of the cluster"}},
		Action: func(c *cli.Context) error {
			if c.NArg() != 2 || !slices.Contains(verbs, c.Args().First()) {
				return usageError{fmt.Errorf("usage: playground ctl --dir DIR %s NAME (flags come first)", strings.Join(verbs, "|"))}
			}
			return ask(c, c.Args().Get(0), c.Args().Get(1))
		},
	}
}

// ask sends one action to the running playground.
func ask(c *cli.Context, action, name string) error {
	raw, err := os.ReadFile(endpointFile(c.String("dir")))
	if err != nil {
		return fmt.Errorf("no playground runs under %s: %w", c.String("dir"), err)
	}
	var e endpoint
	if err := json.Unmarshal(raw, &e); err != nil {
		return fmt.Errorf("read %s: %w", endpointFile(c.String("dir")), err)
	}
	req, err := http.NewRequestWithContext(c.Context, http.MethodPost, "http://"+e.Addr+"/"+action+"/"+name, nil)
	if err != nil {
		return fmt.Errorf("ask the playground: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+e.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask the playground (is it still running?): %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read, or is not needed
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // what there is says why
		return fmt.Errorf("%s %s: %s", action, name, strings.TrimSpace(string(text)))
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s %s: done\n", action, name)
	return err
}
