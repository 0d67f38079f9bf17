//go:build linux

package browser

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"statemesh/service/api"
	"statemesh/service/page"
	"statemesh/service/page/pagetest"
)

// What must hold of the page whatever a node is like, tried on made-up nodes (pagetest): cluster_test.go has real ones.

var (
	shots  = flag.String("shots", "", "`folder` for pictures of the page in every state")
	linger = flag.Duration("linger", 20*time.Second, "how long a cluster runs before it is photographed")
)

// serve shows a made-up node.
func serve(t *testing.T, node page.Source) (url string) {
	p := page.New(node)
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	t.Cleanup(p.Close) // before that
	return server.URL + "/"
}

// names of all states, in order.
func names(all map[string]*pagetest.Node) (sorted []string) {
	for name := range all {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	return sorted
}

// settled waits until a page has become live, with its charts.
func settled(tab *tab, node *pagetest.Node) {
	tab.t.Helper()
	tab.until("live figures", `document.documentElement.dataset.live === "on"`)
	if node.H.Times != nil {
		tab.until("its charts", `document.querySelectorAll(".uplot canvas").length > 3`)
	}
}

// unfold shows what is folded.
const unfold = `document.querySelectorAll("details").forEach((d) => d.open = true), 0`

func TestPage_EveryoneCanUseIt(t *testing.T) {
	t.Parallel()
	browser := browserOf(t)
	script, err := os.ReadFile(axe.get(t))
	if err != nil {
		t.Fatal(err)
	}
	all := pagetest.All(time.Now())
	for _, name := range names(all) {
		looks := []look{desktop}
		switch name {
		case "trouble": // has everything
			looks = []look{desktop, desktopDark, phone, phoneDark, plainDesktop}
		case "healthy", "fresh":
			looks = []look{phoneDark}
		case "draining":
			looks = []look{desktopDark}
		}
		for _, l := range looks {
			t.Run(name+"/"+l.name, func(t *testing.T) {
				tab := open(t, browser, serve(t, all[name]), l)
				if l.scriptsOff { // the page's; axe is a script
					tab.look(look{width: l.width})
				} else {
					settled(tab, all[name])
				}
				if name != "large" { // takes too long
					eval[int](tab, unfold)
				}
				eval[int](tab, string(script)+";0")
				var found struct {
					Violations []struct {
						ID, Help string
						Nodes    []struct{ HTML, FailureSummary string }
					}
					Passes, Incomplete int
				}
				text := eval[string](tab, `axe.run(document, { resultTypes: ["violations"] })
					.then((r) => JSON.stringify({ violations: r.violations, passes: r.passes.length, incomplete: r.incomplete.length }))`)
				if err := json.Unmarshal([]byte(text), &found); err != nil {
					t.Fatal(err)
				}
				for _, v := range found.Violations {
					t.Errorf("%s: %s", v.ID, v.Help)
					for _, n := range v.Nodes[:min(3, len(v.Nodes))] {
						t.Errorf("    %.200s\n    %s", n.HTML, n.FailureSummary)
					}
				}
				t.Logf("%d rules held", found.Passes)
				if found.Passes < 20 {
					t.Errorf("axe has looked at %d rules only", found.Passes)
				}
			})
		}
	}
}

func TestPage_IsValidHTML(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs Java, and seconds")
	}
	if _, err := exec.LookPath("java"); err != nil {
		missing(t, "no Java: apt-get install default-jre-headless")
	}
	dir := t.TempDir()
	args := []string{"-jar", vnu.get(t), "--format", "json", "--stdout", "--exit-zero-always"}
	for name, node := range pagetest.All(time.Now()) {
		w := httptest.NewRecorder()
		page.New(node).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		file := filepath.Join(dir, name+".html")
		if err := os.WriteFile(file, w.Body.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
	}
	w := httptest.NewRecorder()
	page.Refuse(w, 409, "nobody is there")
	for name, text := range map[string]string{"refused.html": w.Body.String(), "wrong.html": "<!DOCTYPE html><title>x</title><p><div></p>"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, filepath.Join(dir, name))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "java", args...).Output()
	if err != nil {
		t.Fatalf("run the checker: %v", err)
	}
	var found struct {
		Messages []struct {
			Type, SubType, URL, Message, Extract string
			LastLine                             int
		}
	}
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	awake := false
	for _, m := range found.Messages {
		if filepath.Base(m.URL) == "wrong.html" {
			awake = true
			continue
		}
		t.Errorf("%s:%d: %s %s: %s\n\t%s", filepath.Base(m.URL), m.LastLine, m.Type, m.SubType, m.Message, m.Extract)
	}
	if !awake {
		t.Errorf("the checker finds nothing wrong with what is wrong: %s", out)
	}
}

func TestPage_FitsAPhone(t *testing.T) {
	t.Parallel()
	browser := browserOf(t)
	all := pagetest.All(time.Now())
	for _, name := range names(all) {
		t.Run(name, func(t *testing.T) {
			tab := open(t, browser, serve(t, all[name]), look{name: "small phone", width: 360, phone: true})
			settled(tab, all[name])
			eval[int](tab, unfold)
			if width := eval[int](tab, `document.documentElement.scrollWidth`); width > 360 {
				t.Errorf("the page is %d pixels wide: %s", width, eval[string](tab, `[...document.querySelectorAll("main *")]
					.filter((e) => e.getBoundingClientRect().right > 361 && !e.closest(".scroll")).slice(0, 5).map((e) => e.outerHTML.slice(0, 90)).join("\n")`))
			}
			small := eval[string](tab, `[...document.querySelectorAll("a, button, summary")].filter((e) => e.offsetParent && !e.closest("p"))
				.filter((e) => e.getBoundingClientRect().height < 24).map((e) => e.outerHTML.slice(0, 90)).join("\n")`)
			if small != "" {
				t.Errorf("too small for a finger: %s", small)
			}
		})
	}
}

func TestPage_AsksNobodyElseAndNothingIsRefused(t *testing.T) {
	t.Parallel()
	browser := browserOf(t)
	all := pagetest.All(time.Now())
	for _, name := range names(all) {
		t.Run(name, func(t *testing.T) {
			url := serve(t, all[name])
			tab := open(t, browser, url, desktop)
			settled(tab, all[name])
			for _, asked := range tab.requests() {
				if !strings.HasPrefix(asked, url) {
					t.Errorf("the page asked for %s", asked)
				}
			}
			if n := len(tab.requests()); n < 6 {
				t.Errorf("the page asked for %d things only: is that all that it did?", n)
			}
			for _, m := range tab.complaints() {
				t.Errorf("the browser says: %s", m)
			}
		})
	}
}

// The page's policy must be in force: a browser that is asked for what it forbids says so.
func TestPage_ThePolicyIsInForce(t *testing.T) {
	t.Parallel()
	browser := browserOf(t)
	tab := open(t, browser, serve(t, pagetest.Healthy(time.Now())), desktop)
	eval[int](tab, `(() => { const s = document.createElement("script"); s.textContent = "window.smuggled = 1"; document.body.append(s);
		const i = new Image(); i.src = "http://127.0.0.1:9/leak"; document.body.append(i); return 0; })()`)
	for _, what := range []string{"script-src", "img-src"} {
		for end := time.Now().Add(patience); !slices.ContainsFunc(tab.complaints(), func(m string) bool { return strings.Contains(m, what) }); {
			if time.Now().After(end) {
				t.Fatalf("nothing was said of %s: %q", what, tab.complaints())
			}
			eval[int](tab, "new Promise((done) => requestAnimationFrame(() => done(0)))")
		}
	}
	if eval[bool](tab, `"smuggled" in window`) {
		t.Error("a script within the page ran")
	}
}

func TestPage_WithoutScriptsSaysTheSame(t *testing.T) {
	t.Parallel()
	browser := browserOf(t)
	all := pagetest.All(time.Now())
	for _, name := range names(all) {
		t.Run(name, func(t *testing.T) {
			url := serve(t, all[name])
			read := func(l look) (lines []string) {
				tab := open(t, browser, url, l)
				if !l.scriptsOff {
					settled(tab, all[name])
				}
				tab.look(look{width: 1280}) // so that the page can be asked
				eval[int](tab, unfold)
				for _, line := range strings.Split(eval[string](tab, "document.querySelector('main').innerText"), "\n") {
					if line = strings.Join(strings.Fields(line), " "); line != "" && !strings.Contains(line, " ago") && !strings.Contains(line, "now") && !strings.HasPrefix(line, "for ") {
						lines = append(lines, line)
					}
				}
				return lines
			}
			with, without := read(desktop), read(plainDesktop)
			if !slices.ContainsFunc(without, func(s string) bool { return strings.Contains(s, "Scripts are off") && strings.Contains(s, "Refresh") }) {
				t.Error("without scripts there is no word of how to refresh")
			}
			for _, line := range with {
				if !slices.Contains(without, line) {
					t.Errorf("without scripts the page does not say %q", line)
				}
			}
			plain := open(t, browser, url, plainDesktop)
			plain.look(look{width: 1280})
			if n := eval[int](plain, `document.querySelectorAll(".plot svg polyline").length`); all[name].H.Times != nil && n < 4 {
				t.Errorf("without scripts there are %d lines in the charts", n)
			}
		})
	}
}

func TestPage_CanBeUsedByKeyboard(t *testing.T) {
	t.Parallel()
	browser := browserOf(t)
	tab := open(t, browser, serve(t, pagetest.Trouble(time.Now())), desktop)
	settled(tab, pagetest.Trouble(time.Now()))
	const focused = `(() => { const e = document.activeElement; return e.className + " " + e.nodeName + " " + (e.innerText || "").replace(/\s+/g, " ").slice(0, 60); })()`
	tab.press("\t")
	if got := eval[string](tab, focused); got != "skip A Skip to what matters" {
		t.Errorf("the first key leads to %q", got)
	}
	if !eval[bool](tab, `document.activeElement.getBoundingClientRect().top >= 0`) {
		t.Error("the link to skip to what matters cannot be seen")
	}
	tab.press("\r")
	if got := eval[string](tab, `document.activeElement.id`); got != "main" {
		t.Errorf("it leads to %q", got)
	}
	var stops []string
	for range 30 {
		tab.press("\t")
		stops = append(stops, eval[string](tab, focused))
		if strings.HasSuffix(stops[len(stops)-1], "Drain this node…") {
			break
		}
		if !eval[bool](tab, `getComputedStyle(document.activeElement).outlineStyle !== "none" || document.activeElement === document.body`) {
			t.Errorf("nothing shows that %q has the focus", stops[len(stops)-1])
		}
	}
	for _, want := range []string{"4 members of 5 are there", "Operation", "Drain this node…"} {
		if !slices.ContainsFunc(stops, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("the keyboard does not lead to %q, but to %q", want, stops)
		}
	}
	tab.press("\r")
	tab.until("what a drain is", `document.querySelector(".action").open && document.activeElement.closest(".action") !== null`)
	tab.press("\t")
	if got := eval[string](tab, focused); !strings.Contains(got, "BUTTON Hand over 41,212 sessions") {
		t.Errorf("in it, the next key leads to %q", got)
	}
	// News of the node do not take the focus away, or fold what was unfolded.
	seen := eval[string](tab, `document.getElementById("asof").innerText`)
	tab.until("the next second", fmt.Sprintf(`document.getElementById("asof").innerText !== %q`, seen))
	if got := eval[string](tab, focused); !strings.Contains(got, "BUTTON") || !eval[bool](tab, `document.querySelector(".action").open`) {
		t.Errorf("after news the focus is on %q", got)
	}
}

func TestPage_SaysWhenTheNodeIsGone(t *testing.T) {
	t.Parallel()
	browser := browserOf(t)
	node := pagetest.Healthy(time.Now())
	p := page.New(node)
	server := httptest.NewServer(p)
	defer server.Close()
	defer p.Close()
	tab := open(t, browser, server.URL+"/", desktop)
	settled(tab, node)
	p.Close()
	server.CloseClientConnections()
	server.Listener.Close()
	tab.untilText("header", "Not connected since")
	if opacity := eval[string](tab, `getComputedStyle(document.querySelector("header .when")).fontWeight`); opacity != "600" {
		t.Errorf("it is not made plain: weight %s", opacity)
	}

	// It is started again, and the page that was left open shows it as it is now.
	again := pagetest.Fresh(time.Now())
	again.S.Clustered, again.S.Cluster, again.M = true, pagetest.Healthy(time.Now()).S.Cluster, node.M
	p2 := page.New(again)
	listener, err := net.Listen("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	second := &httptest.Server{Listener: listener, Config: &http.Server{Handler: p2}}
	second.Start()
	defer second.Close()
	defer p2.Close()
	tab.untilText("header", "Live")
	tab.untilText("#verdict", "Started 4 s ago.")
	tab.untilText("#tile-sessions .figure", "0")
}

// changing shows one node, and then another at the same address: it has been started again, into a cluster.
type changing struct {
	page.Source
	then page.Source
	now  atomic.Bool
}

func (c *changing) is() page.Source {
	if c.now.Load() {
		return c.then
	}
	return c.Source
}

func (c *changing) Status() api.Status             { return c.is().Status() }
func (c *changing) Members() api.Members           { return c.is().Members() }
func (c *changing) Applications() api.Applications { return c.is().Applications() }
func (c *changing) History() api.History           { return c.is().History() }

func TestPage_IsLoadedAgainWhenItIsAnother(t *testing.T) {
	t.Parallel()
	browser := browserOf(t)
	node := &changing{Source: pagetest.Alone(time.Now()), then: pagetest.Healthy(time.Now())}
	tab := open(t, browser, serve(t, node), desktop)
	tab.untilText("#node", "runs alone")
	tab.until("live figures", `document.documentElement.dataset.live === "on"`)
	tab.loads(func() { node.now.Store(true) })
	tab.untilText("#node", "in a cluster of 3")
	tab.untilText("#moves", "Came here")
}

// TestPage_IsPhotographed makes the pictures that a person looks at before the page is called good.
func TestPage_IsPhotographed(t *testing.T) {
	if *shots == "" {
		t.Skip("makes pictures: -shots FOLDER")
	}
	browser := browserOf(t)
	all := pagetest.All(time.Now())
	for _, name := range names(all) {
		url := serve(t, all[name])
		for _, l := range []look{desktop, desktopDark, phone, phoneDark} {
			tab := open(t, browser, url, l)
			settled(tab, all[name])
			save(t, "made-up-"+name+"-"+l.name, tab.picture(l))
			tab.close()
		}
	}
}

func save(t *testing.T, name string, picture []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), picture, 0o644); err != nil {
		t.Fatal(err)
	}
}

// patience is how long a test waits for what should come soon.
const patience = 30 * time.Second

// shot makes pictures of a page as it is now, if pictures are asked for.
func shot(t *testing.T, name string, browser context.Context, url string) {
	t.Helper()
	if *shots == "" {
		return
	}
	for _, l := range []look{desktop, desktopDark, phone, phoneDark} {
		tab := open(t, browser, url, l)
		tab.until("its charts", `document.querySelectorAll(".uplot canvas").length > 3`)
		save(t, name+"-"+l.name, tab.picture(l))
		tab.close()
	}
}
