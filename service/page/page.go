package page

import (
	"html/template"
	"net/http"
	"sync"

	"statemesh/service/api"
)

// Source is where the documents come from. They are not changed once given, and giving one must be cheap: each is asked for once a second.
type Source interface {
	Status() api.Status
	Members() api.Members
	Applications() api.Applications
	History() api.History
}

// Page serves the page, its live changes and its assets.
type Page struct {
	source    Source
	assets    *assets
	templates *template.Template
	mux       *http.ServeMux

	mu     sync.Mutex // held while rendering: who comes meanwhile wants the result
	latest *frame

	readers chan struct{} // a place for each reader of /live
	closed  chan struct{}
	close   func()
}

// load reads what is embedded, once for all pages.
var load = sync.OnceValue(func() (l struct {
	assets    *assets
	templates *template.Template
}) {
	l.assets = newAssets()
	l.templates = parse(l.assets)
	return l
})

// Paths are what Page answers, as patterns of http.ServeMux.
var Paths = []string{"GET /{$}", "GET /live", "GET /assets/{file}"}

// New makes a page. Close ends its live readers.
func New(source Source) *Page {
	p := &Page{
		source: source, assets: load().assets, templates: load().templates, mux: http.NewServeMux(),
		readers: make(chan struct{}, maxReaders), closed: make(chan struct{}),
	}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	p.mux.HandleFunc(Paths[0], p.servePage)
	p.mux.HandleFunc(Paths[1], p.serveLive)
	p.mux.HandleFunc(Paths[2], p.assets.serve)
	return p
}

func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.mux.ServeHTTP(w, r) }

// Close ends the answers that would never end. It returns at once; whoever serves the page waits for them, as for others.
func (p *Page) Close() { p.close() }

func (p *Page) servePage(w http.ResponseWriter, _ *http.Request) {
	f, err := p.frame()
	var text []byte
	if err == nil {
		text, err = f.page()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	header(w, "text/html; charset=utf-8")
	w.Write(text)
}

// policy is what the page may load and do. Charts set their sizes by script, which is no style within the page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

func header(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	// Not no-referrer: browsers then say "Origin: null" when the form is sent, which over plain HTTP is all there is to tell it from a form of
	// another origin.
	h.Set("Referrer-Policy", "same-origin")
}
