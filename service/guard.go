package service

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"statemesh/service/page"
)

// Access is who may ask the status address for what. Its zero value: whoever can connect may read, and this machine may change things.
type Access struct {
	AllowedHosts   []string // names by which it may be asked besides this machine's own; "*.example.com" stands for all below. Default none
	Username       string   // lets in who shows it with the password; needs PasswordFile. Default "": nobody is asked
	PasswordFile   string   // one line. Default ""
	TokenFile      string   // one line: lets in who shows it. Default ""
	AdminTokenFile string   // one line: asked of whoever changes something, and lets in to read as well. Default "": only this machine may
	CertFile       string   // PEM: it then speaks HTTPS. Default ""
	KeyFile        string   // PEM, of that certificate. Default ""
}

// guard decides on every request to the status address but the probes' and those for the page's style, before anything else looks at it:
//
//	              nothing set          a password or a token    an administrator's token
//	to read       whoever connects     who shows one            who shows one of the three, if any of the former two is set
//	to change     this machine         this machine, with one   who shows it
//
// To read is GET and HEAD. A token is shown as "Authorization: Bearer", or, for web browsers, as a password with any name.
//
// Two things hold in any case, since a web browser on a machine that may ask sends what any page in it wants sent:
//
//   - The Host header must name this machine. A page from elsewhere whose name was made to point here (DNS rebinding) names itself. Who shows
//     a token by Bearer is no such page.
//   - What changes something must not be sent by a page of another origin.
type guard struct {
	hosts       []string // in small letters
	username    string
	credentials *credentials
	guesses     guesses
	origins     *http.CrossOriginProtection
	cert        *certificate // nil: plain HTTP
	notice      *notice
	count       func(reason string)
}

// newGuard reads the files that it needs.
func newGuard(a Access, log hclog.Logger, count func(string)) (*guard, error) {
	g := &guard{
		username: a.Username, origins: http.NewCrossOriginProtection(), notice: &notice{log: log, interval: time.Minute}, count: count,
	}
	for _, h := range a.AllowedHosts {
		g.hosts = append(g.hosts, strings.ToLower(h))
	}
	var errs []error
	if (a.Username == "") != (a.PasswordFile == "") {
		errs = append(errs, errors.New("username and password_file belong together"))
	}
	var err error
	if g.credentials, err = newCredentials(a, log); err != nil {
		errs = append(errs, err)
	}
	if a.CertFile != "" || a.KeyFile != "" {
		cert, err := newCertificate(a.CertFile, a.KeyFile, log)
		if err != nil {
			errs = append(errs, err)
		}
		g.cert = cert
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("status address: %w", err)
	}
	return g, nil
}

// refusal is why somebody may not, for the answer and the figures.
type refusal struct {
	status int
	reason string // one of refusals
	text   string
}

// refusals are the reasons, as the metric has them.
var refusals = []string{"host", "origin", "credentials", "machine"}

// wrap puts the guard before h.
func (g *guard) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if why := g.judge(r); why != nil {
			g.refuse(w, r, why)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// judge is nil if the request may pass.
func (g *guard) judge(r *http.Request) *refusal {
	changes := r.Method != http.MethodGet && r.Method != http.MethodHead
	switch path := r.URL.Path; {
	case path == "/healthz" || path == "/readyz":
		return nil // probes of load balancers, which tell nothing
	case page.IsAsset(path) && !changes:
		return nil // the same in every copy of the program; the page that refuses somebody looks like one by them
	}
	set := g.credentials.current()
	who, byToken := stranger, false
	if shown := r.Header.Get("Authorization"); shown != "" && set != (secrets{}) {
		if !g.guesses.allow(r.RemoteAddr, time.Now()) {
			return &refusal{http.StatusTooManyRequests, "credentials", "too many wrong passwords or tokens have come from this address: wait a minute"}
		}
		if who, byToken = g.identify(r, set); who == stranger {
			g.guesses.wrong(r.RemoteAddr, shown, time.Now())
		}
	}
	if !byToken && !g.mayBeCalled(r.Host) {
		return &refusal{http.StatusForbidden, "host", "ask for this machine by its address, by its host name or as localhost; " +
			"for another name, put it into allowed_hosts of the status block"}
	}
	if changes && g.origins.Check(r) != nil {
		return &refusal{http.StatusForbidden, "origin", "a web page of another origin may not ask for that"}
	}
	switch {
	case changes && set.admin.set:
		if who != administrator {
			return &refusal{http.StatusUnauthorized, "credentials", "that takes the administrator's token"}
		}
	case (set.password.set || set.token.set) && who == stranger:
		return &refusal{http.StatusUnauthorized, "credentials", "that takes a name and password, or a token"}
	case changes && !isFromThisMachine(r):
		return &refusal{http.StatusForbidden, "machine", "only this machine may ask for that: run the command there"}
	}
	return nil
}

type identity int

const (
	stranger identity = iota
	reader
	administrator
)

// identify tells who shows what, and whether in a way that no web browser does by itself. It takes as long whatever is shown.
func (g *guard) identify(r *http.Request, set secrets) (who identity, byToken bool) {
	scheme, shown, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	byToken = strings.EqualFold(scheme, "Bearer")
	name, password, basic := r.BasicAuth()
	if basic {
		shown = password
	}
	if !basic && !byToken {
		return stranger, false
	}
	token, admin := set.token.is(shown), set.admin.is(shown)
	named := newSecret(g.username).is(name)
	switch mayRead := set.password.is(shown); {
	case admin:
		return administrator, byToken
	case token, mayRead && named && basic:
		return reader, byToken
	}
	return stranger, false
}

// mayBeCalled tells whether a Host header names this machine in a way that nobody else's name server has a say in.
func (g *guard) mayBeCalled(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || host == "localhost" {
		return true
	}
	if slices.ContainsFunc(ownNames(), func(own string) bool { return strings.EqualFold(host, own) }) {
		return true
	}
	return slices.ContainsFunc(g.hosts, func(allowed string) bool {
		if below, many := strings.CutPrefix(allowed, "*"); many {
			return strings.HasSuffix(host, below) && len(host) > len(below)
		}
		return host == allowed
	})
}

// isFromThisMachine: what comes over loopback, and what comes from the very address that it goes to. What a proxy on this machine passes on
// comes from anywhere.
func isFromThisMachine(r *http.Request) bool {
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	return from.Addr().Unmap().IsLoopback() || from.Addr().Unmap() == localAddr(r)
}

// localAddr is the address that a request came to; not valid if that is not known.
func localAddr(r *http.Request) netip.Addr {
	a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return netip.Addr{}
	}
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

// refuse says why: to a web browser, which asks for a password then, by a page, to programs as JSON.
func (g *guard) refuse(w http.ResponseWriter, r *http.Request, why *refusal) {
	g.count(why.reason)
	text := why.text
	switch why.status {
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "60")
	case http.StatusUnauthorized:
		w.Header().Add("WWW-Authenticate", `Basic realm="statemesh", charset="UTF-8"`)
		w.Header().Add("WWW-Authenticate", `Bearer realm="statemesh"`)
		if r.Header.Get("Authorization") != "" { // a browser's first request has none
			text += ": what was shown is something else"
			g.notice.warn("refused somebody at the status address: wrong credentials", "addr", r.RemoteAddr)
		}
	}
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		page.Refuse(w, why.status, text)
		return
	}
	refuse(w, why.status, why.text) // a program knows what it has shown
}

// warnOf tells the operator what others can do to a status address that listens elsewhere than on loopback.
func (g *guard) warnOf(at net.Addr, log hclog.Logger) {
	addr, err := netip.ParseAddrPort(at.String())
	if err != nil || addr.Addr().Unmap().IsLoopback() {
		return
	}
	switch set := g.credentials.current(); {
	case !set.password.set && !set.token.set:
		log.Warn("whoever can connect to the status address sees what this node does: set a password or a token for it, "+
			"or let the firewall admit only those who may", "status", addr.String())
	case g.cert == nil:
		log.Warn("passwords and tokens for the status address travel in plain text: set cert_file and key_file of the status block", "status", addr.String())
	}
}
