package page

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"statemesh/service/api"
)

// ForPeople has what h answers shown to browsers as a page: what is refused, with its reason; what is done, by going back to the page, where its
// progress is. Whoever else asks gets h's own answer.
func ForPeople(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept"), "text/html") {
			h.ServeHTTP(w, r)
			return
		}
		a := &answer{header: w.Header(), status: http.StatusOK}
		h.ServeHTTP(a, r)
		a.show(w, r.Method == http.MethodPost)
	})
}

// answer is one that is held back.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

func (a *answer) show(w http.ResponseWriter, posted bool) {
	var problem api.Problem
	switch {
	case a.status < 300 && posted:
		w.Header().Del("Content-Type")
		w.Header().Set("Location", "/#drain")
		w.WriteHeader(http.StatusSeeOther)
	case a.status >= 400 && json.Unmarshal(a.body.Bytes(), &problem) == nil && problem.Problem != "":
		Refuse(w, a.status, problem.Problem)
	default:
		w.WriteHeader(a.status)
		w.Write(a.body.Bytes())
	}
}

// refused is what answer.html shows.
type refused struct {
	Title string
	Why   string // a sentence
	Next  string // where the link back leads to
}

// Refuse answers with a page that says why something cannot be.
func Refuse(w http.ResponseWriter, status int, why string) {
	r := refused{"That cannot be done", sentence(why), "Back to the status page"}
	switch status {
	case http.StatusUnauthorized, http.StatusTooManyRequests: // the browser asks anew
		r.Title, r.Next = "Access refused", "Try again"
	case http.StatusForbidden:
		r.Title = "Access refused"
	}
	var b bytes.Buffer
	if err := load().templates.ExecuteTemplate(&b, "answer.html", r); err != nil {
		http.Error(w, why, status)
		return
	}
	header(w, "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

// sentence makes one of what an error says.
func sentence(text string) string {
	if text == "" {
		return text
	}
	text = strings.ToUpper(text[:1]) + text[1:]
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}
