// Package process runs each of bench's subjects as a process of its own: dragonboat's
// settings are global to a process, and the CPU of one subject is then its own. It is this
// program again, with the hidden command subject, which answers on its standard output.
package process

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

// Process is a subject's process, seen from the command that asked for it.
type Process struct {
	// Setup is what the subject was started with.
	Setup measure.Setup
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *json.Decoder
}

// Start starts a subject and waits until it is ready. The caller stops it.
func Start(ctx context.Context, s measure.Setup) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Label(), err)
	}
	p := &Process{Setup: s, cmd: exec.CommandContext(ctx, self, "subject", string(text))}
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
		p.Stop()
		return nil, fmt.Errorf("start %s with %d groups: it ended: %w", s.Label(), s.Groups, err)
	}
	return p, nil
}

// Ask asks for one thing and waits for the answer.
func (p *Process) Ask(r measure.Request) (s measure.Sample, err error) {
	if err = json.NewEncoder(p.in).Encode(r); err != nil {
		return s, fmt.Errorf("ask %s to %s: %w", p.Setup.Label(), r.Op, err)
	}
	if err = p.out.Decode(&s); err != nil {
		return s, fmt.Errorf("ask %s to %s: it ended: %w", p.Setup.Label(), r.Op, err)
	}
	return s, nil
}

// Sleep stops the subject while another is measured: what it does when idle,
// hundreds of groups' heartbeats, would slow that one down.
func (p *Process) Sleep() error {
	if _, err := p.Ask(measure.Request{Op: measure.OpPause}); err != nil {
		return err
	}
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("pause %s: %w", p.Setup.Label(), err)
	}
	return nil
}

// Wake continues it.
func (p *Process) Wake() error {
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("continue %s: %w", p.Setup.Label(), err)
	}
	_, err := p.Ask(measure.Request{Op: measure.OpResume})
	return err
}

// Run wakes the subject for one thing.
func (p *Process) Run(r measure.Request) (s measure.Sample, err error) {
	if err = p.Wake(); err != nil {
		return s, err
	}
	if s, err = p.Ask(r); err != nil {
		return s, err
	}
	return s, p.Sleep()
}

// Stop ends the subject; it cleans up when its input ends.
func (p *Process) Stop() {
	_ = p.Wake()     // or it could not end
	_ = p.in.Close() // it may have ended by itself
	_ = p.cmd.Wait() // what it had to say went to standard error
}
