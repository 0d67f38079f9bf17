package service_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"statemesh/service/api"
)

var jsonBlock = regexp.MustCompile("(?s)`GET (/api/v1/[a-z]+)`.*?```json\n(.*?)```")

// The documentation's answers of the API have every field that there is, and no other.
func TestDocs_ShowTheAPI(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{}
	for _, m := range jsonBlock.FindAllSubmatch(doc, -1) {
		shown[string(m[1])] = string(m[2])
	}
	for path, to := range map[string]any{"/api/v1/status": &api.Status{}, "/api/v1/members": &api.Members{}} {
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
					t.Errorf("%s: docs/operations.md does not show %s", path, name)
				}
			}
		}
	}
}

var jsonName = regexp.MustCompile(`^[a-z_]+`)

// fields are the names of all fields in a type's JSON.
func fields(t reflect.Type) (names []string) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return fields(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if name := jsonName.FindString(t.Field(i).Tag.Get("json")); name != "" && !slices.Contains(names, name) {
				names = append(names, name)
				names = append(names, fields(t.Field(i).Type)...)
			}
		}
	}
	return names
}
