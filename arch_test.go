// Package statemesh holds nothing but the tests that keep the project's shape: who may import whom, and that every package
// says what it is for. ARCHITECTURE.md has the picture.
package statemesh

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mayImport is the picture's arrows: the packages of ours that each top-level folder may use, besides those below itself.
var mayImport = map[string][]string{
	"wire":    {},
	"session": {},
	"config":  {},
	"cluster": {"session", "wire"},
	"service": {"cluster", "session", "wire"},
	"cmd":     {"config", "service"},
}

// mayKnow is the arrows within a top-level folder, of packages that are to know only some of it, or of what the folder may use. What is below each goes
// with it.
var mayKnow = map[string][]string{
	"cluster/handoff":           {"wire/peer"},
	"cluster/internal/gossip":   {},
	"cluster/internal/keys":     {},
	"cluster/internal/link":     {"wire/peer"},
	"cluster/internal/snapshot": {},
	"service/api":               {"cluster"}, // whose members are documents as they are
	"service/findings":          {"service/api"},
	"service/page":              {"cluster", "service/api"},
	"cmd/internal/bench":        {}, // so that it cannot be wrong in the same way as what it judges
	"cmd/internal/farm":         {"cmd/internal/bench"},
	"cmd/internal/fakestate":    {},
}

// without says which of Go's own packages some do without: the rules of moving have neither clock nor I/O nor goroutines, and neither wire nor session
// touches a socket or a log.
var without = map[string][]string{
	"cluster/handoff": {"context", "io", "log", "net", "os", "sync"},
	"wire":            {"context", "log", "net", "os", "sync"},
	"session":         {"log", "net"},
}

// onlyIn says which folders may know a library of others: each knows one part of the product's surroundings.
var onlyIn = map[string][]string{
	"github.com/hashicorp/hcl/v2":         {"config"},
	"github.com/hashicorp/go-hclog":       {"cluster", "service", "cmd"},
	"github.com/hashicorp/go-metrics":     {"cluster"},
	"github.com/hashicorp/memberlist":     {"cluster"},
	"github.com/prometheus/client_golang": {"service"},
	"github.com/spf13/cobra":              {"cmd"},
}

// foreign are the libraries that a folder may use, for those in which every one must be argued for.
var foreign = map[string][]string{
	"wire":    {},
	"session": {"golang.org/x/sys"}, // memory outside the Go heap
}

type file struct {
	path    string // slash-separated, from the root
	top     string // its top-level folder
	imports []string
	comment bool // has a package comment
}

// sources are the project's Go files, tests left out.
func sources(t *testing.T) []file {
	t.Helper()
	var all []file
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git") {
			return fs.SkipDir
		}
		path = filepath.ToSlash(path)
		top, _, below := strings.Cut(path, "/")
		if !below || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		f := file{path: path, top: top, comment: parsed.Doc != nil}
		for _, i := range parsed.Imports {
			f.imports = append(f.imports, strings.Trim(i.Path.Value, `"`))
		}
		all = append(all, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found only %d Go files: is the test run from the project's root?", len(all))
	}
	return all
}

func TestPackages_ImportOnlyWhatThePictureShows(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		allowed, known := mayImport[f.top]
		if !known {
			t.Errorf("%s: the folder %s is not in the picture", f.path, f.top)
		}
		for _, i := range f.imports {
			if ours, is := strings.CutPrefix(i, "statemesh/"); is {
				if top, _, _ := strings.Cut(ours, "/"); top != f.top && !slices.Contains(allowed, top) {
					t.Errorf("%s imports %s: %s may use only %v", f.path, i, f.top, allowed)
				}
				continue
			}
			for library, folders := range onlyIn {
				if within(i, library) && !slices.Contains(folders, f.top) {
					t.Errorf("%s imports %s, which only %v may", f.path, i, folders)
				}
			}
			if list, limited := foreign[f.top]; limited && strings.Contains(i, ".") && !slices.ContainsFunc(list, func(l string) bool { return within(i, l) }) {
				t.Errorf("%s imports %s: %s may use only the standard library and %v", f.path, i, f.top, list)
			}
		}
	}
}

func TestPackages_KnowOnlyWhatTheyNeed(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		for folder, allowed := range mayKnow {
			if !within(f.path, folder) {
				continue
			}
			for _, i := range f.imports {
				ours, is := strings.CutPrefix(i, "statemesh/")
				if is && !within(ours, folder) && !slices.Contains(allowed, ours) {
					t.Errorf("%s imports %s: %s may use only %v", f.path, i, folder, allowed)
				}
			}
		}
		for folder, list := range without {
			for _, i := range f.imports {
				if within(f.path, folder) && slices.ContainsFunc(list, func(l string) bool { return within(i, l) }) {
					t.Errorf("%s imports %s, which %s does without", f.path, i, folder)
				}
			}
		}
	}
}

func TestPackages_SayWhatTheyAreFor(t *testing.T) {
	t.Parallel()
	commented := map[string]bool{}
	for _, f := range sources(t) {
		dir := f.path[:strings.LastIndex(f.path, "/")]
		commented[dir] = commented[dir] || f.comment
	}
	for dir, ok := range commented {
		if !ok {
			t.Errorf("package %s has no package comment", dir)
		}
	}
}

func within(path, library string) bool {
	return path == library || strings.HasPrefix(path, library+"/")
}
