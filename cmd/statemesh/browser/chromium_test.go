//go:build linux

package browser

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// This file is all that knows chromedp, whose API has changed before.

// chromium is the browser's program; empty if there is none.
var chromium = func() string {
	for _, name := range []string{os.Getenv("STATEMESH_CHROMIUM"), "chromium-headless-shell", "chromium", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}()

// browserOf is a test's own browser: nothing of another test's is in it.
func browserOf(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a browser, and seconds")
	}
	if chromium == "" {
		missing(t, "no Chromium: apt-get install chromium-headless-shell")
	}
	allocator, stop := chromedp.NewExecAllocator(t.Context(),
		chromedp.ExecPath(chromium), chromedp.Headless, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.NoSandbox, // which root cannot have, and needs none: every page is the node's
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("font-render-hinting", "none"))
	t.Cleanup(stop)
	ctx, leave := chromedp.NewContext(allocator)
	t.Cleanup(leave)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", chromium, err)
	}
	return ctx
}

// look is how somebody looks at a page.
type look struct {
	name       string
	width      int64
	phone      bool
	dark       bool
	scriptsOff bool
}

var (
	desktop      = look{name: "desktop", width: 1280}
	desktopDark  = look{name: "desktop-dark", width: 1280, dark: true}
	phone        = look{name: "phone", width: 390, phone: true}
	phoneDark    = look{name: "phone-dark", width: 390, phone: true, dark: true}
	plainDesktop = look{name: "no scripts", width: 1280, scriptsOff: true}
)

func (l look) height() int64 {
	if l.phone {
		return 844
	}
	return 900
}

// tab is a page that is open.
type tab struct {
	t     *testing.T
	ctx   context.Context
	close func() // a browser has six connections to a node, and a live page keeps one

	mu       sync.Mutex // guards the rest, which the browser's events add to
	messages []string   // of the console: errors, warnings, violations of the policy
	asked    []string   // addresses that the page has asked for
}

// open shows a page, in a tab of its own.
func open(t *testing.T, browser context.Context, url string, l look) *tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(browser)
	ctx, stop := context.WithTimeout(ctx, 4*time.Minute) // of a whole test
	tab := &tab{t: t, ctx: ctx}
	console := chromedp.Console(ctx)
	requests := chromedp.Events(ctx, network.RequestWillBeSent)
	var wg sync.WaitGroup
	wg.Go(func() {
		for m, err := range console {
			if err != nil {
				return
			}
			tab.mu.Lock()
			tab.messages = append(tab.messages, m.String())
			tab.mu.Unlock()
		}
	})
	wg.Go(func() {
		for r, err := range requests {
			if err != nil {
				return
			}
			tab.mu.Lock()
			tab.asked = append(tab.asked, r.Request.URL)
			tab.mu.Unlock()
		}
	})
	tab.close = sync.OnceFunc(func() {
		stop()
		closeTab()
		wg.Wait()
	})
	t.Cleanup(tab.close)
	tab.look(l)
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatalf("open %s: %v", url, err)
	}
	return tab
}

func (tab *tab) look(l look) {
	tab.t.Helper()
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	err := chromedp.Do(tab.ctx,
		chromedp.EmulateViewport(l.width, l.height(), func(m *emulation.SetDeviceMetricsOverrideParams, _ *emulation.SetTouchEmulationEnabledParams) {
			m.Mobile = l.phone
		}),
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}),
		command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: l.scriptsOff}),
	)
	if err != nil {
		tab.t.Fatalf("look at the page on %s: %v", l.name, err)
	}
}

func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

// eval is what an expression comes to, in the page.
func eval[T any](tab *tab, expression string) T {
	tab.t.Helper()
	value, err := chromedp.Run(tab.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		tab.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// text is what people read there, in the part of the page that a selector names.
func (tab *tab) text(selector string) string {
	tab.t.Helper()
	return eval[string](tab, `(document.querySelector(`+quote(selector)+`)?.innerText ?? "").replace(/\s+/g, " ").trim()`)
}

func quote(s string) string { return "`" + strings.ReplaceAll(s, "`", "\\`") + "`" }

// until waits for an expression to become true.
func (tab *tab) until(what, expression string) {
	tab.t.Helper()
	if _, err := chromedp.Run(tab.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingInterval(100*time.Millisecond), chromedp.WithPollingTimeout(patience))); err != nil {
		tab.t.Fatalf("the page never showed %s: %v\n%s", what, err, tab.text("main"))
	}
}

// untilText waits for a text in the part of the page that a selector names.
func (tab *tab) untilText(selector, text string) {
	tab.t.Helper()
	tab.until(selector+": "+text, `(document.querySelector(`+quote(selector)+`)?.innerText ?? "").replace(/\s+/g, " ").includes(`+quote(text)+`)`)
}

// complaints are what the browser had to say about the page.
func (tab *tab) complaints() []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	return append([]string(nil), tab.messages...)
}

// requests are the addresses that the page has asked for.
func (tab *tab) requests() []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	return append([]string(nil), tab.asked...)
}

// press has a key pressed.
func (tab *tab) press(keys string) {
	tab.t.Helper()
	if err := chromedp.Do(tab.ctx, chromedp.KeyEvent(keys)); err != nil {
		tab.t.Fatalf("press %q: %v", keys, err)
	}
}

// picture is the whole page as PNG, as it looks in a window as high as that.
func (tab *tab) picture(l look) []byte {
	tab.t.Helper()
	height := eval[int64](tab, "Math.ceil(document.documentElement.getBoundingClientRect().height)")
	err := chromedp.Do(tab.ctx, chromedp.EmulateViewport(l.width, height, func(m *emulation.SetDeviceMetricsOverrideParams, _ *emulation.SetTouchEmulationEnabledParams) {
		m.Mobile = l.phone
	}))
	if err != nil {
		tab.t.Fatalf("make the window as high as the page: %v", err)
	}
	eval[int](tab, "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")
	r, err := chromedp.Run(tab.ctx, func(ctx context.Context, t *chromedp.Target) ([]byte, error) {
		r, err := cdp.Call(ctx, t, page.CaptureScreenshot, page.CaptureScreenshotParams{})
		return r.Data, err
	})
	if err != nil {
		tab.t.Fatalf("take a picture: %v", err)
	}
	return r
}

// send has a form's button clicked, and waits for the page that answers.
func (tab *tab) send(button string) {
	tab.t.Helper()
	if _, err := chromedp.RunResponse(tab.ctx, chromedp.Click(chromedp.CSS(button))); err != nil {
		tab.t.Fatalf("click %s: %v", button, err)
	}
}

// loads does something that has the page loaded again, and waits until it is.
func (tab *tab) loads(do func()) {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	_, err := chromedp.Run(ctx, chromedp.WaitEvent(page.LoadEventFired, nil, chromedp.Func(func(context.Context, *chromedp.Target) error {
		do()
		return nil
	})))
	if err != nil {
		tab.t.Fatalf("the page was not loaded again: %v", err)
	}
}
