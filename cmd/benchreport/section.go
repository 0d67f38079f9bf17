package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// section is a measurement's part of the document.
type section struct {
	title    string
	measured string // when and where
	how      string // what was done, in a sentence or two
	command  string
	rows     []row
	details  string // markdown, shown below the rows
}

// row is one promise.
type row struct {
	what, asked, measured string
	met                   bool
}

func (s *section) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n%s\n\n    %s\n\n%s.\n\n", s.title, s.how, s.command, s.measured)
	b.WriteString("| what | asked for | measured | |\n|---|---|---|---|\n")
	for _, r := range s.rows {
		verdict := "met"
		if !r.met {
			verdict = "**not met**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.what, r.asked, r.measured, verdict)
	}
	if s.details != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(s.details))
	}
	return b.String()
}

const (
	beginMark = "<!-- bench:begin -->"
	endMark   = "<!-- bench:end -->"
	newFile   = "# Benchmarks\n\nWhat `make bench` measured; the text between the markers is its own.\n\n" + beginMark + "\n" + endMark + "\n"
)

// write puts the section into the file, in place of the one with its title if there is one.
func (s *section) write(file string) error {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = []byte(newFile), os.MkdirAll(filepath.Dir(file), 0o755)
	}
	if err != nil {
		return err
	}
	changed, err := s.replaceIn(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(changed), 0o644)
}

// replaceIn returns text with the section between the markers. Sections stand in the order of measurements.
func (s *section) replaceIn(text string) (string, error) {
	before, rest, found := strings.Cut(text, beginMark)
	if !found {
		before, rest = strings.TrimRight(text, "\n")+"\n\n", "\n"+endMark+"\n"
	}
	block, after, found := strings.Cut(rest, endMark)
	if !found {
		return "", fmt.Errorf("there is %s but no %s after it", beginMark, endMark)
	}
	sections := make(map[string]string) // by title
	for _, part := range strings.Split("\n"+block, "\n### ")[1:] {
		title, _, _ := strings.Cut(part, "\n")
		sections[title] = "### " + strings.TrimSpace(part) + "\n"
	}
	sections[s.title] = s.markdown()
	var b strings.Builder
	b.WriteString(before + beginMark + "\n\n")
	for _, m := range measurements {
		if part, ok := sections[m.title]; ok {
			b.WriteString(part + "\n")
		}
	}
	b.WriteString(endMark + after)
	return b.String(), nil
}
