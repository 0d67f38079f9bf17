package config_test

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
	if !strings.Contains(string(doc), "```hcl\n"+string(example)+"```\n") {
		t.Error("docs/configuration.md does not hold testdata/example.hcl word for word: copy it in")
	}
}
