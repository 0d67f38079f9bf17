package service_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"statemesh/service/api"
	"statemesh/service/findings"
)

var jsonBlock = regexp.MustCompile("(?s)`GET (/api/v1/[a-z]+)`.*?```json\n(.*?)```")

// The documentation's answers of the API have every field that there is, and no other.
func TestDocs_ShowTheAPI(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/status-page.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{}
	for _, m := range jsonBlock.FindAllSubmatch(doc, -1) {
		shown[string(m[1])] = string(m[2])
	}
	for path, to := range map[string]any{
		"/api/v1/status": &api.Status{}, "/api/v1/members": &api.Members{}, "/api/v1/applications": &api.Applications{}, "/api/v1/history": &api.History{},
	} {
		decoder := json.NewDecoder(bytes.NewReader([]byte(shown[path])))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(to); err != nil {
			t.Errorf("%s: %v in:\n%s", path, err, shown[path])
			continue
		}
		for _, name := range fields(reflect.TypeOf(to)) {
			if !bytes.Contains([]byte(shown[path]), []byte(`"`+name+`":`)) {
				// Of a drain that failed, and of a member that cannot be reached.
				if name != "problem" && name != "last_error" {
					t.Errorf("%s: docs/status-page.md does not show %s", path, name)
				}
			}
		}
	}
}

// What stands on the page next to a number stands in the documentation.
func TestDocs_ExplainThePage(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/status-page.md")
	if err != nil {
		t.Fatal(err)
	}
	templates, err := filepath.Glob("page/templates/*.html")
	if err != nil || len(templates) < 10 {
		t.Fatalf("found %v, %v", templates, err)
	}
	doc = bytes.ToLower(doc)
	label := regexp.MustCompile(`<(?:dt|th scope="col"(?: class="n")?)>([^<{]+)</`)
	for _, file := range templates {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range label.FindAllSubmatch(text, -1) {
			if !bytes.Contains(doc, bytes.ToLower(m[1])) {
				t.Errorf("docs/status-page.md does not say what %q is, in %s", m[1], file)
			}
		}
	}
}

// Every kind of finding has its heading, where alerts and the page send operators, and says what to do.
func TestDocs_ExplainTheFindings(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/status-page.md")
	if err != nil {
		t.Fatal(err)
	}
	var explained []string
	for _, m := range regexp.MustCompile(`(?m)^### (.+)\n\n\*\*.{100}`).FindAllSubmatch(doc, -1) {
		explained = append(explained, string(m[1]))
	}
	for _, kind := range findings.Kinds {
		if !slices.Contains(explained, kind) {
			t.Errorf("docs/status-page.md does not explain %s", kind)
		}
	}
	if len(explained) != len(findings.Kinds) {
		t.Errorf("docs/status-page.md explains %v, the kinds are %v", explained, findings.Kinds)
	}
}

var jsonName = regexp.MustCompile(`^[a-z][a-z0-9_]*`)

// fields are the names of all fields in a type's JSON.
func fields(t reflect.Type) (names []string) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return fields(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if t.Field(i).Anonymous {
				names = append(names, fields(t.Field(i).Type)...)
			} else if name := jsonName.FindString(t.Field(i).Tag.Get("json")); name != "" && !slices.Contains(names, name) {
				names = append(names, name)
				names = append(names, fields(t.Field(i).Type)...)
			}
		}
	}
	return names
}
