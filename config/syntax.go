package config

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxSyntaxMistakes is how many are shown. More mean that this is no configuration file at all.
const maxSyntaxMistakes = 10

// parsed is a file of which everything was understood that can be.
type parsed struct {
	file  *hcl.File // for showing its lines
	body  *hclsyntax.Body
	upTo  int // the line from which on nothing is understood; beyond the file's end if all is
	diags hcl.Diagnostics
}

// parse reads src. hcl's parser goes into a mode of guessing after a first mistake and falls silent about most of
// the others. So each mistake's line is blanked and the file read again until nothing is wrong with it: every
// mistake is then found as if it were the only one, and what is right in between can be checked as well.
func parse(src []byte, path string) parsed {
	p := parsed{upTo: math.MaxInt}
	rest := bytes.Clone(src)
	for {
		file, diags := hclsyntax.ParseConfig(rest, path, hcl.InitialPos)
		p.file, p.body = &hcl.File{Bytes: src, Nav: file.Nav}, file.Body.(*hclsyntax.Body)
		if !diags.HasErrors() {
			return p
		}
		d := firstOf(diags)
		line := d.Subject.Start.Line
		if language := otherLanguage(src); language != "" {
			d.Summary = "This is " + language
			d.Detail = "A configuration of statemesh looks different: a setting is written name = \"value\", a block name { and }."
			p.diags, p.upTo = append(p.diags, d), 0
			return p
		}
		p.diags = append(p.diags, explain(d, src, path))
		if len(p.diags) == maxSyntaxMistakes {
			d.Detail += "\n\nThe rest of the file was not checked. Is it a configuration of statemesh?"
		}
		if len(p.diags) == maxSyntaxMistakes || !blank(rest, line) {
			p.upTo = line
			return p
		}
	}
}

// otherLanguage names what a file is written in that begins as no configuration does, or returns "".
func otherLanguage(src []byte) string {
	switch text := bytes.TrimSpace(src); {
	case bytes.HasPrefix(text, []byte("<")):
		return "XML"
	case bytes.HasPrefix(text, []byte("{")):
		return "JSON"
	case bytes.HasPrefix(text, []byte("[")):
		return "an INI or TOML file"
	}
	return ""
}

// firstOf is the first mistake in the file, except that a block that is not closed comes last: the reason is likely
// to be another mistake inside of it.
func firstOf(diags hcl.Diagnostics) *hcl.Diagnostic {
	key := func(d *hcl.Diagnostic) int {
		if strings.HasPrefix(d.Summary, "Unclosed") {
			return math.MaxInt
		}
		return d.Subject.Start.Byte
	}
	return slices.MinFunc(diags, func(a, b *hcl.Diagnostic) int {
		return int(min(1, max(-1, int64(key(a))-int64(key(b)))))
	})
}

// blank overwrites a line with spaces, unless the file's structure hangs on it: then it returns false.
func blank(src []byte, line int) bool {
	r := lineAt(src, "", line)
	text := src[r.Start.Byte:r.End.Byte]
	if bytes.Count(text, []byte("{")) != bytes.Count(text, []byte("}")) && string(bytes.TrimSpace(text)) != "}" {
		return false
	}
	if len(bytes.TrimSpace(text)) == 0 || blockAlone(src, line) != "" {
		return false
	}
	for i := range text {
		text[i] = ' '
	}
	return true
}

var (
	assignment = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z0-9_-]*)\s*=\s*(.*?)\s*$`)
	comment    = regexp.MustCompile(`(^|\s+)(#|//).*$`)
	word       = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z0-9_-]*)\s*$`)
)

// explain puts what operators most often get wrong in plainer words than the parser's. It changes d.
func explain(d *hcl.Diagnostic, src []byte, path string) *hcl.Diagnostic {
	line := lineAt(src, path, d.Subject.Start.Line)
	text := string(line.SliceBytes(src))
	if m := assignment.FindStringSubmatch(text); m != nil {
		name, value := m[1], m[2]
		bare := comment.ReplaceAllString(value, "")
		switch {
		case d.Summary == "Invalid escape sequence":
			d.Summary = "Backslash"
			d.Detail = fmt.Sprintf("In quotes a backslash has a meaning of its own. Write / instead, which Windows understands too: %s = %s",
				name, strings.ReplaceAll(bare, `\`, "/"))
		case bare == "":
			d.Subject, d.Summary, d.Detail = &line, "Value missing", fmt.Sprintf("After %s = there must be a value.", name)
		case strings.HasPrefix(value, `"`) && strings.Count(strings.ReplaceAll(value, `\"`, ""), `"`)%2 == 1:
			d.Subject, d.Summary, d.Detail = &line, "Closing quote missing", `A value that begins with " must end with " on the same line.`
		case !strings.ContainsAny(bare, "\"'“”‘’{}[]"):
			d.Subject, d.Summary, d.Detail = &line, "Quotes missing", fmt.Sprintf("The value needs quotes: %s = %s", name, quote(bare))
		}
		return d
	}
	switch {
	case d.Summary == "Invalid single-argument block definition":
		d.Summary, d.Detail = "Two settings on one line", "Write each setting on a line of its own, and the closing } on another."
	case blockAlone(src, line.Start.Line) != "":
		d.Summary = "Opening brace on the wrong line"
		d.Detail = fmt.Sprintf("Write %s { on one line. The rest of the file was not checked.", blockAlone(src, line.Start.Line))
	case strings.HasPrefix(d.Summary, "Unclosed"):
		d.Summary = "Block not closed"
		d.Detail = "There is no } for this { up to the end of the file. Settings after it were not checked."
	case strings.TrimSpace(text) == "}":
		d.Summary, d.Detail = "No block to close", "This } has no { that it belongs to."
	case d.Summary == "Argument or block definition required", d.Summary == "Invalid block definition":
		d.Subject, d.Summary = &line, "Neither a setting nor a block"
		d.Detail = "A setting is written with an equals sign, name = \"value\"; a block begins with its name and a brace, name {, and ends with a } of its own."
	}
	return d
}

// blockAlone is the word that stands alone on a line before a line that begins with a brace, or "".
func blockAlone(src []byte, line int) string {
	m := word.FindSubmatch(lineAt(src, "", line).SliceBytes(src))
	if m == nil {
		return ""
	}
	next := lineAt(src, "", line+1)
	if !bytes.HasPrefix(bytes.TrimSpace(next.SliceBytes(src)), []byte("{")) {
		return ""
	}
	return string(m[1])
}

// lineAt is the range of a line, counted from 1, without its end. Beyond the file's end it is empty.
func lineAt(src []byte, path string, line int) hcl.Range {
	start := 0
	for range line - 1 {
		i := bytes.IndexByte(src[start:], '\n')
		if i < 0 {
			start = len(src)
			break
		}
		start += i + 1
	}
	end := len(src)
	if i := bytes.IndexByte(src[start:], '\n'); i >= 0 {
		end = start + i
	}
	if end > start && src[end-1] == '\r' {
		end--
	}
	return hcl.Range{
		Filename: path,
		Start:    hcl.Pos{Line: line, Column: 1, Byte: start},
		End:      hcl.Pos{Line: line, Column: end - start + 1, Byte: end},
	}
}
