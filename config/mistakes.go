package config

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
)

// Mistakes is the error for a configuration that cannot be used: everything that is wrong with it, in the order of
// the file, the flags last.
type Mistakes struct {
	diags hcl.Diagnostics
	files map[string]*hcl.File
}

// Len is the number of mistakes.
func (m *Mistakes) Len() int { return len(m.diags) }

// Error is what Write writes without colours.
func (m *Mistakes) Error() string {
	var b strings.Builder
	_ = m.Write(&b, false)
	return strings.TrimRight(b.String(), "\n")
}

// width is that of the narrowest window an operator is likely to have.
const width = 78

// Write writes the mistakes for an operator, each with the lines of the file that it is about, coloured for a
// terminal if color is set.
func (m *Mistakes) Write(w io.Writer, color bool) error {
	return hcl.NewDiagnosticTextWriter(w, m.files, width, color).WriteDiagnostics(m.diags)
}

// mistake is one diagnostic. A nil range is for what stands in no file.
func mistake(at *hcl.Range, summary, detail string) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Subject: at, Summary: summary, Detail: detail}
}

// Nearest is the one of known that given was most likely meant to be, or "" if none of them looks like it.
func Nearest(given string, known []string) string {
	fold := strings.NewReplacer("-", "_").Replace
	given = fold(strings.ToLower(given))
	// Three letters off is too far (hcl's own limit), and so is a word in which no letter is right.
	best, distance := "", min(3, len(given))
	for _, k := range known {
		if d := levenshtein.Distance(given, fold(k), nil); d < distance {
			best, distance = k, d
		}
	}
	if best == "" && len(given) >= 3 { // "warning" for "warn", "max_conn" for "max_connections"
		for _, k := range known {
			if folded := fold(k); strings.HasPrefix(folded, given) || len(k) >= 3 && strings.HasPrefix(given, folded) {
				return k
			}
		}
	}
	return best
}

// didYouMean is a sentence to append, with a space before it, or nothing.
func didYouMean(given string, known []string) string {
	if n := Nearest(given, known); n != "" {
		return fmt.Sprintf(" Did you mean %q?", n)
	}
	return ""
}

// list writes "a, b or c".
func list(words []string, last string, write func(string) string) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i > 0 && i == len(words)-1:
			b.WriteString(" " + last + " ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(write(w))
	}
	return b.String()
}

func plain(s string) string { return s }

// quote is strconv.Quote for text from a file, shortened so that it cannot fill the screen.
func quote(s string) string {
	if len(s) > 60 {
		s = s[:57] + "..."
	}
	return strconv.Quote(s)
}
