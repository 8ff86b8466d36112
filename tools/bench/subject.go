package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
)

// subject is something that is measured.
type subject interface {
	// operate returns the operation of that name.
	operate(ctx context.Context, op string) (operation, error)
	// usage is what the subject has used up to now.
	usage() usage
	// close ends it.
	close() error
}

// pausable is a subject with processes of its own, which can be stopped and continued.
type pausable interface {
	pause(stop bool) error
}

// Operations that are no calls.
const (
	opIdle   = "idle"
	opPause  = "pause"
	opResume = "resume"
)

// subjects makes each subject with a number of groups, in a directory of its own.
func subjects() map[string]func(ctx context.Context, dir string, groups int) (subject, error) {
	return map[string]func(context.Context, string, int) (subject, error){
		"drumline":      newInProcess,
		"dragonboat":    newRaw,
		"drumline-grpc": newFleet,
		"echo-grpc":     newEcho,
	}
}

// subjectCommand is the process of one subject: requests come on standard input, a
// JSON text a line, samples go to standard output.
func subjectCommand() *cli.Command {
	return &cli.Command{
		Name: "subject", Hidden: true, ArgsUsage: "NAME GROUPS",
		Action: func(c *cli.Context) error {
			begin := subjects()[c.Args().Get(0)]
			groups, err := strconv.Atoi(c.Args().Get(1))
			if begin == nil || err != nil {
				return fmt.Errorf("%w: bench subject NAME GROUPS", errUsage)
			}
			return serveSubject(c, begin, groups)
		},
	}
}

func serveSubject(c *cli.Context, begin func(context.Context, string, int) (subject, error), groups int) (err error) {
	dir, err := os.MkdirTemp("", "drumline-bench-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a leftover in the temporary directory hurts nobody
	s, err := begin(c.Context, dir, groups)
	if err != nil {
		return err
	}
	defer func() {
		if e := s.close(); err == nil {
			err = e
		}
	}()
	out := json.NewEncoder(c.App.Writer)
	if err := out.Encode(sample{}); err != nil { // ready
		return err
	}
	in := json.NewDecoder(os.Stdin)
	for {
		var r request
		if err := in.Decode(&r); err != nil {
			if err == io.EOF { //nolint:errorlint // Decode returns it bare
				return nil
			}
			return fmt.Errorf("read a request: %w", err)
		}
		result, err := runOne(c.Context, s, r)
		if err != nil {
			return err
		}
		result.Subject, result.Groups = c.Args().Get(0), groups
		if err := out.Encode(result); err != nil {
			return err
		}
	}
}

func runOne(ctx context.Context, s subject, r request) (sample, error) {
	switch r.Op {
	case opIdle:
		return rest(ctx, s, r)
	case opPause, opResume:
		if p, ok := s.(pausable); ok {
			return sample{}, p.pause(r.Op == opPause)
		}
		return sample{}, nil
	}
	op, err := s.operate(ctx, r.Op)
	if err != nil {
		return sample{}, err
	}
	return measure(ctx, r, s.usage, op), nil
}

// rest measures the processor time of doing nothing.
func rest(ctx context.Context, s subject, r request) (sample, error) {
	began, before := time.Now(), s.usage()
	pause(ctx, r.Time)
	used := s.usage().since(before)
	return sample{Op: r.Op, CPU: 100 * float64(used.cpu) / float64(time.Since(began))}, ctx.Err()
}

// process is a subject's process, seen from the command that asked for it.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

func startSubject(ctx context.Context, name string, groups int) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	p := &process{cmd: exec.CommandContext(ctx, self, "subject", name, strconv.Itoa(groups))}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.out = json.NewDecoder(bufio.NewReader(out))
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	var ready sample
	if err := p.out.Decode(&ready); err != nil {
		p.stop()
		return nil, fmt.Errorf("start %s with %d groups: %w", name, groups, err)
	}
	return p, nil
}

func (p *process) ask(r request) (sample, error) {
	if err := json.NewEncoder(p.in).Encode(r); err != nil {
		return sample{}, fmt.Errorf("ask for a run: %w", err)
	}
	var s sample
	if err := p.out.Decode(&s); err != nil {
		return sample{}, fmt.Errorf("read a sample: %w", err)
	}
	return s, nil
}

// sleep stops the subject while its opposite is measured: what it does when idle,
// hundreds of groups' heartbeats, would slow the other down.
func (p *process) sleep() error {
	if _, err := p.ask(request{Op: opPause}); err != nil {
		return err
	}
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("pause a subject: %w", err)
	}
	return nil
}

// wake continues it.
func (p *process) wake() error {
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("continue a subject: %w", err)
	}
	_, err := p.ask(request{Op: opResume})
	return err
}

// run wakes the subject for one run.
func (p *process) run(r request) (s sample, err error) {
	if err = p.wake(); err != nil {
		return s, err
	}
	if s, err = p.ask(r); err != nil {
		return s, err
	}
	return s, p.sleep()
}

// stop ends the subject; it cleans up when its input ends.
func (p *process) stop() {
	_ = p.wake()     // or it could not end
	_ = p.in.Close() // it may have ended by itself
	_ = p.cmd.Wait() // what it had to say went to standard error
}
