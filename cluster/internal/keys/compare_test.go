package keys

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What a stranger sends is compared with no secret, but by crypto/subtle: the time that it takes to refuse him has nothing to tell. Keys of any length in the
// file have become 32 bytes by then (HKDF), and a certificate is refused by its signature, gossip by its tag, both in Go's constant-time code. So it is enough
// that none of these packages compares bytes in any other way, except an operator's files with what they held before.
func TestSecrets_AreComparedInConstantTime(t *testing.T) {
	t.Parallel()
	ofFiles := []string{"gossip.drop", "gossip.setRing", "keys.difference"}
	inTurn := map[string]bool{"bytes.Equal": true, "bytes.Compare": true, "bytes.HasPrefix": true, "slices.Equal": true, "slices.Compare": true, "reflect.DeepEqual": true}
	found := map[string]string{}
	for _, dir := range []string{".", "../link", "../gossip", "../snapshot"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(files), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range parsed.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok {
					continue
				}
				ast.Inspect(f, func(n ast.Node) bool {
					if s, ok := n.(*ast.SelectorExpr); ok {
						if x, ok := s.X.(*ast.Ident); ok && inTurn[x.Name+"."+s.Sel.Name] {
							found[parsed.Name.Name+"."+f.Name.Name] = x.Name + "." + s.Sel.Name
						}
					}
					return true
				})
			}
		}
	}
	got := slices.Sorted(maps.Keys(found))
	slices.Sort(ofFiles)
	if !slices.Equal(got, ofFiles) {
		t.Errorf("compared byte by byte: %v, want it in %v alone", found, ofFiles)
	}
}
