package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/tools/bench/measure"
)

// subjectCommand is the process of one subject: requests come on standard input, a
// JSON text a line, samples go to standard output.
func subjectCommand() *cli.Command {
	return &cli.Command{
		Name: "subject", Hidden: true, ArgsUsage: "SETUP",
		Action: func(c *cli.Context) error {
			var s measure.Setup
			if err := json.Unmarshal([]byte(c.Args().First()), &s); err != nil || subjects()[s.Subject] == nil {
				return fmt.Errorf("%w: bench subject SETUP: it is started by the other commands", errUsage)
			}
			return serveSubject(c, s)
		},
	}
}

func serveSubject(c *cli.Context, s measure.Setup) (err error) {
	dir, err := os.MkdirTemp("", "drumline-bench-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a leftover in the temporary directory hurts nobody
	it, err := subjects()[s.Subject](c.Context, dir, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.close()) }()
	out, in := json.NewEncoder(c.App.Writer), json.NewDecoder(os.Stdin)
	if err := out.Encode(measure.Sample{}); err != nil { // ready
		return err
	}
	for {
		var r measure.Request
		if err := in.Decode(&r); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read a request: %w", err)
		}
		result, err := it.run(c.Context, r)
		if err != nil {
			return err
		}
		result.Subject, result.Via, result.Op, result.Groups, result.Hosts, result.Callers = s.Label(), r.Via, r.Op, s.Groups, s.Hosts, r.Callers
		if err := out.Encode(result); err != nil {
			return err
		}
	}
}

// subjects makes each subject, in a directory of its own.
func subjects() map[string]func(ctx context.Context, dir string, s measure.Setup) (subject, error) {
	return map[string]func(context.Context, string, measure.Setup) (subject, error){
		measure.Ours: newOurs, measure.Plain: newPlain, measure.OursGRPC: newFleet, measure.EchoGRPC: newEcho,
		measure.Leases: newLeases, measure.Sequences: newSequences, measure.Counters: newCounters, measure.BareHTTP: newWeb,
	}
}

// subject is something that is measured.
type subject interface {
	// run does what is asked and measures it.
	run(ctx context.Context, r measure.Request) (measure.Sample, error)
	// close ends it.
	close() error
}
