package farm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

// Line is a line of a node's log. Of one that is not JSON, as a panic's, only Text is set.
type Line struct {
	Level   string
	Message string
	Pairs   map[string]any
	Text    string // the whole of it
}

// Log collects a node's log while it is written.
type Log struct {
	mu    sync.Mutex // guards what follows
	lines []Line
	part  []byte        // of a line
	more  chan struct{} // closed when there are more lines, or the log has ended
	ended bool
}

func newLog() *Log { return &Log{more: make(chan struct{})} }

func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, b...)
	found := false
	for {
		line, rest, whole := bytes.Cut(l.part, []byte("\n"))
		if !whole {
			break
		}
		l.lines = append(l.lines, parseLine(line))
		l.part = append([]byte(nil), rest...)
		found = true
	}
	if found {
		close(l.more)
		l.more = make(chan struct{})
	}
	return len(b), nil
}

func (l *Log) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.part) > 0 {
		l.lines = append(l.lines, Line{Text: string(l.part)})
		l.part = nil
	}
	l.ended = true
	close(l.more)
	l.more = make(chan struct{})
}

func parseLine(text []byte) Line {
	line := Line{Text: string(text)}
	if json.Unmarshal(text, &line.Pairs) == nil {
		line.Level, _ = line.Pairs["@level"].(string)
		line.Message, _ = line.Pairs["@message"].(string)
	}
	return line
}

// Lines are those written so far.
func (l *Log) Lines() []Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Line(nil), l.lines...)
}

// Await waits for a line that contains text, whether it has been written already or not.
func (l *Log) Await(ctx context.Context, text string) (Line, error) {
	for seen := 0; ; {
		l.mu.Lock()
		lines, more, ended := l.lines, l.more, l.ended
		l.mu.Unlock()
		for ; seen < len(lines); seen++ {
			if strings.Contains(lines[seen].Text, text) {
				return lines[seen], nil
			}
		}
		if ended {
			return Line{}, fmt.Errorf("the log ended without %q", text)
		}
		select {
		case <-more:
		case <-ctx.Done():
			return Line{}, fmt.Errorf("no %q in the log: %w", text, ctx.Err())
		}
	}
}

// Find returns the lines that contain text.
func (l *Log) Find(text string) (found []Line) {
	for _, line := range l.Lines() {
		if strings.Contains(line.Text, text) {
			found = append(found, line)
		}
	}
	return found
}

// String is the log's end.
func (l *Log) String() string {
	lines := l.Lines()
	const shown = 60
	var b strings.Builder
	if len(lines) > shown {
		fmt.Fprintf(&b, "(%d lines before)\n", len(lines)-shown)
		lines = lines[len(lines)-shown:]
	}
	for _, line := range lines {
		b.WriteString(line.Text + "\n")
	}
	return b.String()
}
