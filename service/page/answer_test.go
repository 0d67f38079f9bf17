package page_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"statemesh/service/page"
)

func TestForPeople_ShowsPagesToBrowsersOnly(t *testing.T) {
	t.Parallel()
	says := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			w.Write([]byte(body))
		})
	}
	const browser, script = "text/html,application/xhtml+xml,*/*;q=0.8", "*/*"
	for _, test := range []struct {
		name, accept string
		h            http.Handler
		status       int
		contentType  string
		location     string
		contains     string
	}{
		{"a script is told as ever", script, says(202, `{"node":"a"}`), 202, "application/json", "", `{"node":"a"}`},
		{"a person is sent back to the page", browser, says(202, `{"node":"a"}`), 303, "", "/#drain", ""},
		{"a script is refused as ever", script, says(409, `{"problem":"nobody is there"}`), 409, "application/json", "", `{"problem":"nobody is there"}`},
		{"a person reads why", browser, says(409, `{"problem":"nobody <b>is</b> there"}`), 409, "text/html; charset=utf-8", "", "Nobody &lt;b&gt;is&lt;/b&gt; there."},
		{"what is no document stays as it is", browser, says(500, `oh`), 500, "application/json", "", "oh"},
	} {
		r := httptest.NewRequest("POST", "/api/v1/drain", nil)
		r.Header.Set("Accept", test.accept)
		w := httptest.NewRecorder()
		page.ForPeople(test.h).ServeHTTP(w, r)
		if w.Code != test.status || w.Header().Get("Content-Type") != test.contentType || w.Header().Get("Location") != test.location || !strings.Contains(w.Body.String(), test.contains) {
			t.Errorf("%s: %d %v %q", test.name, w.Code, w.Header(), w.Body)
		}
	}
}
