package page

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"strings"
	"sync"
	"time"

	"statemesh/service/api"
)

//go:embed templates
var templates embed.FS

// fragments are the ids of the page's parts that change, each rendered by the template of its name.
var fragments = []string{
	"node", "asof", "verdict", "findings", "drain", "tile-sessions", "tile-requests", "tile-latency", "tile-memory",
	"mesh", "members", "members-more", "operations", "sessions", "moves", "queries", "applications", "applications-more", "applications-counted", "events", "about",
}

// unhurried are those that are long, and folded: they are rendered in every few frames only.
var unhurried = map[string]uint64{"members-more": 5, "applications-more": 5}

func parse(a *assets) *template.Template {
	functions := template.FuncMap{
		"asset": a.path, "count": count, "bytes": bytesText, "rate": rate, "latency": latency, "took": took, "span": span, "percent": percent,
		"clock": clock, "stamp": stamp, "pieces": pieces, "plural": plural, "seconds": seconds,
	}
	return template.Must(template.New("").Funcs(functions).ParseFS(templates, "templates/*.html"))
}

// frame is the page at one moment. It is not changed once made.
type frame struct {
	made    time.Time
	number  uint64
	html    []template.HTML // by fragment
	changed []uint64        // by fragment: the number of the frame that brought it
	title   string
	state   string
	layout  string
	history *history
	step    []byte                 // brings a reader of the frame before up to this one
	page    func() ([]byte, error) // the whole document, which is made when somebody asks for it
}

// frame returns this second's, which it makes if nobody has.
func (p *Page) frame() (*frame, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.latest != nil && !now.Before(p.latest.made) && now.Truncate(period).Equal(p.latest.made.Truncate(period)) {
		return p.latest, nil
	}
	next, err := p.render(now, p.latest)
	if err != nil {
		return nil, fmt.Errorf("render the page: %w", err)
	}
	p.latest = next
	return next, nil
}

// period is how often there is something new to see.
const period = time.Second

func (p *Page) render(now time.Time, before *frame) (*frame, error) {
	h := p.source.History()
	v := newView(p.source.Status(), p.source.Members(), p.source.Applications(), h, now)
	v.Layout = p.assets.sum()
	if v.Alone() {
		v.Layout += "-alone"
	}
	f := &frame{
		made: now, number: 1, title: v.Title, state: v.Verdict.State, layout: v.Layout, history: newHistory(h),
		html: make([]template.HTML, len(fragments)), changed: make([]uint64, len(fragments)),
	}
	if before != nil {
		f.number = before.number + 1
	}
	var b bytes.Buffer
	for i, id := range fragments {
		if every := unhurried[id]; before != nil && every > 0 && f.number%every != 0 {
			f.html[i], f.changed[i] = before.html[i], before.changed[i]
			continue
		}
		b.Reset()
		if err := p.templates.ExecuteTemplate(&b, id+".html", v); err != nil {
			return nil, err
		}
		// #nosec G203: this is what html/template has just written
		f.html[i], f.changed[i] = template.HTML(strings.TrimSpace(b.String())), f.number
		if before != nil && before.html[i] == f.html[i] {
			f.changed[i] = before.changed[i]
		}
	}
	if before != nil {
		f.step = f.since(before)
	}
	f.page = sync.OnceValues(func() ([]byte, error) { return p.document(v, f, h) })
	return f, nil
}

// document puts the fragments together, with the charts as pictures.
func (p *Page) document(v *view, f *frame, h api.History) ([]byte, error) {
	v.chart(h)
	v.Fragments = make(map[string]template.HTML, len(fragments))
	for i, id := range fragments {
		v.Fragments[id] = f.html[i]
	}
	var b bytes.Buffer
	if err := p.templates.ExecuteTemplate(&b, "page.html", v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// since is what brings a reader of an earlier frame up to this one; nil: one who has seen none.
func (f *frame) since(before *frame) []byte {
	var seen uint64
	if before != nil {
		seen = before.number
	}
	page := pageEvent{Title: f.title, State: f.state, Layout: f.layout, HTML: map[string]template.HTML{}}
	for i, id := range fragments {
		if f.changed[i] > seen {
			page.HTML[id] = f.html[i]
		}
	}
	var b bytes.Buffer
	if len(page.HTML) > 0 || before.title != f.title || before.state != f.state {
		writeEvent(&b, "page", page)
	}
	var charted *history
	if before != nil {
		charted = before.history
	}
	if points := f.history.since(charted); points != nil {
		writeEvent(&b, "chart", points)
	}
	return b.Bytes()
}

type pageEvent struct {
	Title string `json:"title"`
	State string `json:"state"`
	// Layout is what fragments belong to. A browser that has another loads the page again: the node has been started again since, as another version or
	// into a cluster.
	Layout string                   `json:"layout"`
	HTML   map[string]template.HTML `json:"html"`
}

// writeEvent writes a server-sent event. JSON has no line breaks, which would end it.
func writeEvent(b *bytes.Buffer, name string, data any) {
	fmt.Fprintf(b, "event: %s\ndata: ", name)
	e := json.NewEncoder(b) // ends with a line break
	e.SetEscapeHTML(false)
	if err := e.Encode(data); err != nil { // these types have nothing that cannot be written
		panic(err)
	}
	b.WriteByte('\n')
}
