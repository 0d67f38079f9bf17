package config

import (
	"os"
	"strings"
	"testing"
)

func TestDocs_ShowTheExampleFile(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile("testdata/example.hcl")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if cluster, ok := between(string(doc), "## A cluster", "```hcl\n", "```"); !ok {
		t.Error("docs/configuration.md has no example of a cluster")
	} else if c, err := Load(write(t, cluster), nil); err != nil || !c.Clustered() {
		t.Errorf("the example of a cluster in docs/configuration.md: %v", err)
	}
	if !strings.Contains(string(doc), "```hcl\n"+string(example)+"```\n") {
		t.Error("docs/configuration.md does not hold testdata/example.hcl word for word: copy it in")
	}
}

// between is what stands between begin and end, behind after.
func between(text, after, begin, end string) (string, bool) {
	_, text, _ = strings.Cut(text, after)
	_, text, ok := strings.Cut(text, begin)
	text, _, _ = strings.Cut(text, end)
	return text, ok
}
