package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"github.com/drumline/drumline/tools/bench/measure"
)

// process is a subject's process, seen from the command that asked for it.
type process struct {
	setup measure.Setup
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *json.Decoder
}

func startSubject(ctx context.Context, s measure.Setup) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Label(), err)
	}
	p := &process{setup: s, cmd: exec.CommandContext(ctx, self, "subject", string(text))}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Label(), err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Label(), err)
	}
	p.out = json.NewDecoder(bufio.NewReader(out))
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Label(), err)
	}
	var ready measure.Sample
	if err := p.out.Decode(&ready); err != nil {
		p.stop()
		return nil, fmt.Errorf("start %s with %d groups: it ended: %w", s.Label(), s.Groups, err)
	}
	return p, nil
}

func (p *process) ask(r measure.Request) (s measure.Sample, err error) {
	if err = json.NewEncoder(p.in).Encode(r); err != nil {
		return s, fmt.Errorf("ask %s to %s: %w", p.setup.Label(), r.Op, err)
	}
	if err = p.out.Decode(&s); err != nil {
		return s, fmt.Errorf("ask %s to %s: it ended: %w", p.setup.Label(), r.Op, err)
	}
	return s, nil
}

// sleep stops the subject while another is measured: what it does when idle,
// hundreds of groups' heartbeats, would slow that one down.
func (p *process) sleep() error {
	if _, err := p.ask(measure.Request{Op: measure.OpPause}); err != nil {
		return err
	}
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("pause %s: %w", p.setup.Label(), err)
	}
	return nil
}

// wake continues it.
func (p *process) wake() error {
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("continue %s: %w", p.setup.Label(), err)
	}
	_, err := p.ask(measure.Request{Op: measure.OpResume})
	return err
}

// run wakes the subject for one thing.
func (p *process) run(r measure.Request) (s measure.Sample, err error) {
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
