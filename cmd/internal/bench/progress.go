package bench

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
)

// Progress shows one line that changes: in place on a terminal, else a line every few seconds. A nil one shows nothing.
type Progress struct {
	w     io.Writer
	every time.Duration
	tty   bool
	// Prefix says what is under way.
	Prefix string
}

// NewProgress shows progress on f.
func NewProgress(f *os.File) *Progress {
	if isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()) {
		return &Progress{w: f, every: time.Second, tty: true}
	}
	return &Progress{w: f, every: 5 * time.Second}
}

// watch shows line now and then until the returned function is called.
func (p *Progress) watch(line func() string) (stop func()) {
	if p == nil {
		return func() {}
	}
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(p.every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.show(line())
			case <-quit:
				p.clear()
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-gone
	}
}

// Note shows a line that stays.
func (p *Progress) Note(format string, args ...any) {
	if p != nil {
		p.clear()
		fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *Progress) show(line string) {
	if p.tty {
		fmt.Fprintf(p.w, "\r\x1b[K%s%s", p.Prefix, line)
	} else {
		fmt.Fprintf(p.w, "%s%s\n", p.Prefix, line)
	}
}

func (p *Progress) clear() {
	if p.tty {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
