package localfleet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
)

// command is what to run for a process.
type command struct {
	name, bin string
	args      []string
	dir       string
	around    func(name string, start func() error) error // may be nil
}

// start starts its process.
func (c command) start(cmd *exec.Cmd) error {
	if c.around == nil {
		return cmd.Start()
	}
	return c.around(c.name, cmd.Start)
}

// child is one started process.
type child struct {
	cmd   *exec.Cmd
	log   *os.File
	lines *prefixWriter
	done  chan struct{} // closed after the end was recorded
	asked bool          // the fleet ended it; guarded by Fleet.mu
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// wait waits for its end. What a process says last is why it ended, as far as it knows.
func (c *child) wait() error {
	err := c.cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() && len(c.lines.last) > 0 {
		err = fmt.Errorf("%w; its last words, of %s: %s", err, c.log.Name(), c.lines.last)
	}
	return errors.Join(err, c.log.Close())
}

func (c *child) signal(sig syscall.Signal) error {
	if err := c.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", sig, err)
	}
	return nil
}

// spawner starts children from one thread that lives as long as the fleet: the
// kernel ties a child's death signal to the thread that started it, not to the process.
type spawner struct {
	jobs chan func()
	wg   sync.WaitGroup
	once sync.Once
}

func newSpawner() *spawner {
	s := &spawner{jobs: make(chan func())}
	s.wg.Go(func() {
		runtime.LockOSThread()
		for job := range s.jobs {
			job()
		}
	})
	return s
}

func (s *spawner) close() {
	s.once.Do(func() { close(s.jobs) })
	s.wg.Wait()
}

func (s *spawner) spawn(c command, out io.Writer) (*child, error) {
	log, err := os.OpenFile(filepath.Join(c.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open its log: %w", err)
	}
	cmd := exec.Command(c.bin, c.args...)
	cmd.Dir = c.dir
	cmd.SysProcAttr = childAttributes()
	lines := &prefixWriter{prefix: fmt.Sprintf("%-10s| ", c.name), out: out}
	w := io.MultiWriter(log, lines)
	cmd.Stdout, cmd.Stderr = w, w
	started := make(chan error)
	s.jobs <- func() { started <- c.start(cmd) }
	if err := <-started; err != nil {
		return nil, errors.Join(fmt.Errorf("run %s: %w", c.bin, err), log.Close())
	}
	return &child{cmd: cmd, log: log, lines: lines, done: make(chan struct{})}, nil
}

// prefixWriter writes whole lines with a prefix. One child's output comes from one
// goroutine; lines of several children meet in out, which writes each call whole.
type prefixWriter struct {
	prefix string
	out    io.Writer
	rest   []byte
	last   []byte // the last whole line, for who waits for the process
}

// Write keeps an unfinished line until its end comes.
func (w *prefixWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	end := bytes.LastIndexByte(w.rest, '\n')
	if end < 0 {
		return len(p), nil
	}
	var text bytes.Buffer
	for line := range bytes.Lines(w.rest[:end+1]) {
		text.WriteString(w.prefix)
		text.Write(line)
		w.last = append(w.last[:0], bytes.TrimSuffix(line, []byte("\n"))...)
	}
	w.rest = append(w.rest[:0], w.rest[end+1:]...)
	if _, err := w.out.Write(text.Bytes()); err != nil {
		return 0, fmt.Errorf("write log: %w", err)
	}
	return len(p), nil
}

// lockedWriter lets the children's lines meet without mixing.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// Write passes p on, one caller at a time.
func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
