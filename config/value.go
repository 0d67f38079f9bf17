package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// value is a field of a Config as text, which is what files and flags hold.
type value interface {
	// set parses text into the field. What is wrong with it is returned as a sentence; "" means that it was set.
	set(text string) (problem string)
	text() string    // what set would read back to the same value
	kind() string    // see Setting.Kind
	allowed() string // see Setting.Allowed
}

// none is how "no limit" and "never" are written. 0 is refused: it may as well mean "nobody" and "at once".
const none = "none"

// name is a node's or a cluster's name.
type name struct {
	to      *string
	max     int // bytes
	example string
}

const maxName = 253 // bytes of a node's, as of a host's

func nameRune(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(".-_", r))
}

func (v name) set(text string) string {
	switch {
	case text == "":
		return "The name is empty."
	case len(text) > v.max:
		return fmt.Sprintf("The name is %d bytes long.", len(text))
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return !nameRune(r) }); i >= 0 {
		r, _ := utf8.DecodeRuneInString(text[i:])
		if r == ' ' {
			return fmt.Sprintf("%q has a space in it.", text)
		}
		return fmt.Sprintf("%q has a %q in it.", text, r)
	}
	*v.to = text
	return ""
}
func (v name) text() string { return *v.to }
func (v name) kind() string { return "name" }
func (v name) allowed() string {
	return fmt.Sprintf("letters, digits, dots, dashes and underscores, at most %d, such as %q", v.max, v.example)
}

// userName is somebody's, or nothing.
type userName struct{ to *string }

func (v userName) set(text string) string {
	if text != "" {
		var checked string
		if problem := (name{&checked, 63, "operator"}).set(text); problem != "" {
			return problem
		}
	}
	*v.to = text
	return ""
}
func (v userName) text() string { return *v.to }
func (v userName) kind() string { return "name" }
func (v userName) allowed() string {
	return `letters, digits, dots, dashes and underscores, at most 63, such as "operator", or "" for none`
}

// path is the name of a file or folder, or nothing. In the file it is meant from where the file is: see loader.decodeSetting.
type path struct {
	to      *string
	example string
}

func (v path) set(text string) string {
	if i := strings.IndexFunc(text, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }); i >= 0 {
		return fmt.Sprintf("%s has a character in it that no name has. For \\ in the file, write \\\\ or /.", quote(text))
	}
	*v.to = text
	return ""
}

// fromFolderOf makes the name one that is seen from the folder that file is in.
func (v path) fromFolderOf(file string) {
	if *v.to == "" || filepath.IsAbs(*v.to) {
		return
	}
	if abs, err := filepath.Abs(filepath.Join(filepath.Dir(file), *v.to)); err == nil {
		*v.to = abs
	}
}

func (v path) text() string { return *v.to }
func (v path) kind() string { return "path" }
func (v path) allowed() string {
	return fmt.Sprintf("a name, such as %q or \"C:/statemesh/%[1]s\"", v.example)
}

// truth is yes or no.
type truth struct{ to *bool }

func (v truth) set(text string) string {
	switch {
	case strings.EqualFold(text, "true"):
		*v.to = true
	case strings.EqualFold(text, "false"):
		*v.to = false
	default:
		return fmt.Sprintf("%q is not one of the choices.", text)
	}
	return ""
}
func (v truth) text() string    { return strconv.FormatBool(*v.to) }
func (v truth) kind() string    { return "true|false" }
func (v truth) allowed() string { return "true or false" }

// backups is there for files that say what is true anyway.
type backups struct{ to *int }

func (v backups) set(text string) string {
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return fmt.Sprintf("%q is not a whole number.", text)
	case n != 0:
		return "This version keeps no copies: a session is on one node only, and lost if that crashes."
	}
	*v.to = n
	return ""
}
func (v backups) text() string    { return strconv.Itoa(*v.to) }
func (v backups) kind() string    { return "number" }
func (v backups) allowed() string { return "0" }

// version is a .NET version as web servers are told it: major.minor.build.
type version struct{ to *string }

var versionPattern = regexp.MustCompile(`^(0|[1-9][0-9]{0,8})\.[0-9]{1,9}\.[0-9]{1,9}$`)

func (v version) set(text string) string {
	m := versionPattern.FindStringSubmatch(text)
	if m == nil {
		return fmt.Sprintf("%q is not three numbers with dots.", text)
	}
	if major, _ := strconv.Atoi(m[1]); major < 2 {
		return fmt.Sprintf("%q is below 2: web servers would refuse to talk to this node.", text)
	}
	*v.to = text
	return ""
}
func (v version) text() string { return *v.to }
func (v version) kind() string { return "version" }
func (v version) allowed() string {
	return `major.minor.build of a .NET version from 2.0 up, such as "4.0.30319" or "2.0.50727"`
}

// choice is one of a few words.
type choice struct {
	to     *string
	known  []string
	asKind string
}

func (v choice) set(text string) string {
	for _, k := range v.known {
		if strings.EqualFold(text, k) {
			*v.to = k
			return ""
		}
	}
	return fmt.Sprintf("%q is not one of the choices.", text) + didYouMean(text, v.known)
}
func (v choice) text() string    { return *v.to }
func (v choice) kind() string    { return v.asKind }
func (v choice) allowed() string { return list(v.known, "or", strconv.Quote) }
