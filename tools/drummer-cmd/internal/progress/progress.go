// Package progress shows a person how far something is that takes a while: a bar on a
// terminal, now and then a line elsewhere.
package progress

import (
	"fmt"
	"io"

	"github.com/schollz/progressbar/v3"
)

// Progress is one way to an end.
type Progress struct {
	out   io.Writer
	what  string
	total int
	bar   *progressbar.ProgressBar // nil without a terminal
	last  int
	told  bool // a first line was written
}

// New begins; what is a word for the things that are counted, like "groups ok". End it.
func New(out io.Writer, terminal bool, what string, total int) *Progress {
	p := &Progress{out: out, what: what, total: total}
	if terminal {
		p.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(what),
			progressbar.OptionShowCount(), progressbar.OptionSetWidth(40), progressbar.OptionClearOnFinish())
	}
	return p
}

// Show tells a change; without a terminal only each tenth of the way.
func (p *Progress) Show(done int) {
	if p.bar != nil {
		_ = p.bar.Set(done) // a bar that can't be drawn is no reason to fail
		p.last = done
		return
	}
	if step := max(p.total/10, 1); !p.told || done/step > p.last/step || done == p.total && done != p.last {
		p.last, p.told = done, true
		p.say()
	}
}

// End leaves the last word on the terminal, in the bar's place.
func (p *Progress) End() {
	if p.bar != nil {
		_ = p.bar.Clear()
		p.say()
	}
}

func (p *Progress) say() {
	_, _ = fmt.Fprintf(p.out, "%d of %d %s\n", p.last, p.total, p.what) // there is nowhere else to say it
}
