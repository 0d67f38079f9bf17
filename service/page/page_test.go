package page_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/html"

	"statemesh/service/api"
	"statemesh/service/page"
	"statemesh/service/page/pagetest"
)

// get asks a page that is shown of a node.
func get(t *testing.T, node page.Source, path string) (*http.Response, string) {
	t.Helper()
	p := page.New(node)
	defer p.Close()
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body)
}

// document is the page of a node, parsed.
func document(t *testing.T, node page.Source) *html.Node {
	t.Helper()
	r, body := get(t, node, "/")
	if r.StatusCode != 200 {
		t.Fatalf("the page: %d %s", r.StatusCode, body)
	}
	root, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// elements are all of a document, in order.
func elements(root *html.Node) (all []*html.Node) {
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			all = append(all, n)
		}
	}
	return all
}

func attribute(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

// text is what a document says, its spaces made one.
func text(root *html.Node) string {
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func byID(root *html.Node, id string) *html.Node {
	for _, n := range elements(root) {
		if have, _ := attribute(n, "id"); have == id {
			return n
		}
	}
	return nil
}

func TestPage_IsCompleteWithoutScripts(t *testing.T) {
	t.Parallel()
	for name, node := range pagetest.All(time.Now()) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			says := text(document(t, node))
			want := []string{node.S.Node, "statemesh " + node.S.Version, node.S.Addresses.State}
			for _, f := range node.S.Findings {
				for _, line := range slices.Concat([]string{f.Title}, f.Evidence, f.Remedy) {
					want = append(want, strings.ReplaceAll(line, "`", ""))
				}
			}
			if node.S.Clustered {
				for _, m := range node.M.Members {
					want = append(want, m.Name, m.Gossip)
				}
				for _, e := range node.S.Cluster.Events {
					want = append(want, e.Text)
				}
			} else {
				want = append(want, "This node runs alone", "statemesh keygen")
			}
			for _, a := range node.A.Applications {
				want = append(want, a.Path)
			}
			for _, o := range node.S.Operations {
				want = append(want, o.Op)
			}
			for _, text := range want {
				if !strings.Contains(says, text) {
					t.Errorf("the page does not say %q", text)
				}
			}
		})
	}
}

func TestPage_HasNothingThatThePolicyForbids(t *testing.T) {
	t.Parallel()
	for name, node := range pagetest.All(time.Now()) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, n := range elements(document(t, node)) {
				if n.Data == "style" || n.Data == "iframe" || n.Data == "base" || n.Data == "script" && n.FirstChild != nil {
					t.Errorf("the page has <%s> with something in it", n.Data)
				}
				for _, a := range n.Attr {
					if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
						t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
					}
					own := strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "//") || strings.HasPrefix(a.Val, "#")
					if (a.Key == "src" || a.Key == "action" || a.Key == "href" && n.Data != "a") && !own {
						t.Errorf("<%s %s=%q> is not the node's own", n.Data, a.Key, a.Val)
					}
				}
			}
		})
	}
}

func TestPage_IsWellFormed(t *testing.T) {
	t.Parallel()
	for name, node := range pagetest.All(time.Now()) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := document(t, node)
			ids := map[string]int{}
			level := 0
			count := map[string]int{}
			for _, n := range elements(root) {
				count[n.Data]++
				if id, has := attribute(n, "id"); has {
					ids[id]++
				}
				if len(n.Data) == 2 && n.Data[0] == 'h' && n.Data[1] >= '1' && n.Data[1] <= '6' {
					now := int(n.Data[1] - '0')
					if now > level+1 {
						t.Errorf("heading %q of level %d follows one of level %d", text(n), now, level)
					}
					level = now
				}
			}
			for id, n := range ids {
				if n > 1 {
					t.Errorf("%d elements have the id %q", n, id)
				}
			}
			for _, tag := range []string{"h1", "main", "header", "footer", "title"} {
				want := 1
				if tag == "title" {
					want += len(node.M.Members) // of the picture
				}
				if count[tag] != want {
					t.Errorf("%d <%s>, want %d", count[tag], tag, want)
				}
			}
			for _, n := range elements(root) {
				for _, key := range []string{"aria-labelledby", "href"} {
					ref, has := attribute(n, key)
					if !has || key == "href" && !strings.HasPrefix(ref, "#") {
						continue
					}
					if ref = strings.TrimPrefix(ref, "#"); ids[ref] == 0 {
						t.Errorf("<%s %s=%q> refers to nothing", n.Data, key, ref)
					}
				}
			}
		})
	}
}

func TestPage_EscapesWhatComesFromTheNetwork(t *testing.T) {
	t.Parallel()
	node := pagetest.Trouble(time.Now())
	const evil = `</title><script>alert(1)</script><b title="`
	node.M.Members[1].Name, node.M.Members[1].LastError, node.M.Members[1].Version = evil, evil, evil
	node.M.Members[1].State, node.M.Members[1].Connected = "up", false
	node.A.Applications[0].Path, node.A.Applications[0].Hash = evil, evil
	node.A.Applications[0].WebServers = []string{evil}
	node.S.Cluster.Events[0].Text = evil
	node.S.Findings[0].Title, node.S.Findings[0].Evidence = evil, []string{"`" + evil + "`"}
	for _, n := range elements(document(t, node)) {
		if _, src := attribute(n, "src"); n.Data == "b" || n.Data == "script" && !src {
			t.Errorf("the page has an element of a name's: <%s>", n.Data)
		}
	}
}

func TestPage_TellsBrowsersWhatTheyMayDo(t *testing.T) {
	t.Parallel()
	r, _ := get(t, pagetest.Alone(time.Now()), "/")
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
		"X-Content-Type-Options":  "nosniff",
		"Cache-Control":           "no-store",
		"Referrer-Policy":         "same-origin",
		"Content-Type":            "text/html; charset=utf-8",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestPage_AssetsAreKeptForEver(t *testing.T) {
	t.Parallel()
	node := pagetest.Alone(time.Now())
	types := map[string]int{}
	for _, n := range elements(document(t, node)) {
		for _, a := range n.Attr {
			if !strings.HasPrefix(a.Val, "/assets/") {
				continue
			}
			r, body := get(t, node, a.Val)
			if r.StatusCode != 200 || body == "" || r.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" {
				t.Errorf("%s: %d, %d bytes, %q", a.Val, r.StatusCode, len(body), r.Header.Get("Cache-Control"))
			}
			types[r.Header.Get("Content-Type")]++
		}
	}
	if types["text/css; charset=utf-8"] != 2 || types["text/javascript; charset=utf-8"] != 2 || types["image/svg+xml"] != 5 {
		t.Errorf("the page's assets: %v", types)
	}
	if r, _ := get(t, node, "/assets/page.css"); r.StatusCode != 404 {
		t.Errorf("an asset without its hash: %d, want 404", r.StatusCode)
	}
}

// What a page says must be true of the whole farm: an application's sessions on other members are shown, and a node alone that keeps its sessions says so.
func TestPage_SaysWhereSessionsAre(t *testing.T) {
	t.Parallel()
	node := pagetest.Healthy(time.Now())
	node.A.Applications = []api.Application{{Path: "/LM/W3SVC/1/ROOT", Nodes: []api.ApplicationAt{{Node: node.A.Node}, {Node: "elsewhere", Sessions: 1234}}}}
	if _, body := get(t, node, "/"); !strings.Contains(body, "1,234 elsewhere") {
		t.Error("an application's sessions on other members are not shown")
	}
	for _, kept := range []bool{true, false} {
		node := pagetest.Alone(time.Now())
		node.S.Snapshot = kept
		if _, body := get(t, node, "/"); strings.Contains(body, "keeps its sessions on disk") != kept || strings.Contains(body, "nobody to take its sessions") == kept {
			t.Errorf("with a snapshot %v, it says otherwise", kept)
		}
	}
}

func TestPage_VerdictIsOfTheWorst(t *testing.T) {
	t.Parallel()
	now := time.Now()
	warned := pagetest.Trouble(now)
	warned.S.Findings = warned.S.Findings[2:4]
	one := pagetest.Trouble(now)
	one.S.Findings = one.S.Findings[2:3]
	drained, stuck := pagetest.Draining(now), pagetest.Draining(now)
	drained.S.Drain.Done, drained.S.Drain.Remaining = true, 0
	stuck.S.Drain.Problem = "no other member takes sessions"
	for _, test := range []struct {
		node        *pagetest.Node
		word, title string
	}{
		{pagetest.Healthy(now), "Sessions are safe", "web01 – statemesh"},
		{pagetest.Alone(now), "Sessions are safe", "web01 – statemesh"},
		{pagetest.Draining(now), "Handing its sessions over", "web01 – statemesh"},
		{drained, "Drained: it may be stopped", "web01 – statemesh"},
		{stuck, "The drain has ended early", "web01 – statemesh"},
		{one, "1 thing needs attention", "(1) web01 – statemesh"},
		{warned, "2 things need attention", "(2) web01 – statemesh"},
		{pagetest.Trouble(now), "Users are losing sessions, or are about to", "(6) web01 – statemesh"},
	} {
		root := document(t, test.node)
		if got := text(byID(root, "verdict-word")); got != test.word {
			t.Errorf("the verdict is %q, want %q", got, test.word)
		}
		for _, n := range elements(root) {
			if n.Data == "title" && n.Parent.Data == "head" && text(n) != test.title {
				t.Errorf("the title is %q, want %q", text(n), test.title)
			}
		}
	}
}

// memberRows are the members that a page shows, a text each.
func memberRows(t *testing.T, node page.Source) (rows []string) {
	t.Helper()
	for _, n := range elements(byID(document(t, node), "members")) {
		if class, _ := attribute(n, "class"); n.Data == "tr" && class != "" && class != "problems" {
			rows = append(rows, text(n))
		}
	}
	return rows
}

func TestPage_SaysSinceWhen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // for its clock, which does not go on meanwhile
		now := time.Now()
		node := pagetest.Healthy(now)
		for i, m := range []struct {
			state string
			since time.Duration
			says  string // with no space where there is a line break
		}{
			{"up", 26*time.Hour + time.Minute, "upfor 1 d 2 h"}, {"suspect", 4 * time.Second, "suspectfor 4 s"}, {"draining", 3 * time.Minute, "drainingfor 3 min"},
			{"leaving", time.Second, "leavingjust now"}, {"left", 3 * time.Minute, "left3 min ago"}, {"failed", 70 * time.Minute, "failed1 h ago"},
		} {
			node.M.Members[1].Name = fmt.Sprintf("web%d", i)
			node.M.Members[1].State, node.M.Members[1].Since = m.state, now.Add(-m.since)
			if rows := memberRows(t, node); !slices.ContainsFunc(rows, func(row string) bool {
				return strings.Contains(row, node.M.Members[1].Name) && strings.Contains(row, m.says)
			}) {
				t.Errorf("of one %s for %v: %q", m.state, m.since, rows)
			}
		}
	})
}

// A node that has been started again is one member: what it was before stands among the events.
func TestPage_ShowsANodeOnce(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, states := range [][2]string{{"left", "up"}, {"failed", "draining"}, {"left", "failed"}, {"failed", "left"}} {
		node := pagetest.Healthy(now)
		was := node.M.Members[2]
		was.ID, was.State, was.Said, was.Started = "former", states[0], nil, now.Add(-48*time.Hour)
		node.M.Members[2].State = states[1]
		node.M.Members = slices.Insert(node.M.Members, 2, was)
		rows := memberRows(t, node)
		if len(rows) != 3 || strings.Count(strings.Join(rows, "\n"), "web03") != 1 || !strings.Contains(strings.Join(rows, "\n"), states[1]) {
			t.Errorf("of a node that %s and is %s: %q", states[0], states[1], rows)
		}
		drawn := 0
		for _, n := range elements(byID(document(t, node), "mesh")) {
			if n.Data == "g" {
				drawn++
			}
		}
		if drawn != 3 {
			t.Errorf("of a node that %s and is %s, the picture has %d members", states[0], states[1], drawn)
		}
	}
}

// Who has a page open while the node is started again reads that it was.
func TestPage_SaysThatTheNodeHasJustBeenStarted(t *testing.T) {
	t.Parallel()
	node := pagetest.Healthy(time.Now())
	for uptime, want := range map[float64]bool{41.2: true, 600: false} {
		node.S.Uptime = uptime
		if says := text(byID(document(t, node), "verdict")); strings.Contains(says, "Started 41 s ago.") != want {
			t.Errorf("%v s after its start it says %q", uptime, says)
		}
	}
}

// Large stores are counted slowly, and the page says how old the count is.
func TestPage_SaysWhenSessionsWereCounted(t *testing.T) {
	t.Parallel()
	node := pagetest.Healthy(time.Now())
	if says := text(byID(document(t, node), "applications-counted")); says != "" {
		t.Errorf("without a count it says %q", says)
	}
	node.A.Counted = time.Now().Add(-23500 * time.Millisecond)
	if says := text(byID(document(t, node), "applications-counted")); !strings.Contains(says, "counted 23 s ago") && !strings.Contains(says, "counted 24 s ago") {
		t.Errorf("of a count of 23 s ago it says %q", says)
	}
}

func TestPage_FoldsWhatIsLong(t *testing.T) {
	t.Parallel()
	root := document(t, pagetest.Large(time.Now()))
	for id, want := range map[string]struct {
		shown, folded int
		first         string
	}{
		"members":      {16, 84, "frontend-web-042"},
		"applications": {12, 188, "/LM/W3SVC/1/ROOT/shop"},
	} {
		shown, folded := 0, 0
		for _, n := range append(elements(byID(root, id)), elements(byID(root, id+"-more"))...) {
			if n.Data != "tbody" {
				continue
			}
			rows := 0
			for _, r := range elements(n) {
				if class, _ := attribute(r, "class"); r.Data == "tr" && class != "problems" {
					rows++
				}
			}
			if n.Parent.Parent.Data == "details" {
				folded += rows
				continue
			}
			if shown += rows; !strings.HasPrefix(text(n), want.first) {
				t.Errorf("%s begin with %.40q, want %q", id, text(n), want.first)
			}
		}
		if shown != want.shown || folded != want.folded {
			t.Errorf("%s: %d shown, %d folded; want %d and %d", id, shown, folded, want.shown, want.folded)
		}
	}
}
