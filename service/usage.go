package service

import (
	"bytes"
	"cmp"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"statemesh/session"
)

// Which web applications ask this node, how much, from which web servers, and for which sessions. It is counted as requests are answered, without
// a lock or a word of memory that all processors write to: a connection is one application's, and remembers for a second which.
//
// Web servers name the applications, and may name any. So an application is kept once a session of it is known to exist, since a request for
// one was answered 200; there are a thousand at most; and what is not of ASP.NET's form, or too much, is counted together.

// appID is what names a web application: an application id of ASP.NET, in its parts. The zero appID stands for all keys that are not of its
// form, and for those that were too many.
type appID struct {
	Path string `json:"path"` // AppDomainAppId: "/LM/W3SVC/2/ROOT/shop"
	Hash string `json:"hash"` // in base64: 28 characters (CLR 2) or 44 (CLR 4)
}

// parseAppID takes an application id apart. A key is path + "(" + hash + ")/" + the session's id, and prefix is what stands before the last.
// Nothing of a prefix that is not of that form may be shown: it may hold a part of an id.
func parseAppID(prefix string) (id appID, ok bool) {
	rest, ok := strings.CutSuffix(prefix, ")/")
	open := strings.LastIndexByte(rest, '(')
	if !ok || open < 1 || len(prefix) > maxAppID {
		return appID{}, false
	}
	id = appID{Path: rest[:open], Hash: rest[open+1:]}
	if !isHash(id.Hash) || !isPrintable(id.Path) {
		return appID{}, false
	}
	return id, true
}

func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// maxAppID is more than any application id of IIS's can have.
const maxAppID = 1 << 10

// isHash: 20 bytes in base64, or 32. .NET 1.x does not escape a "+", which so has become a space.
func isHash(s string) bool {
	digits, ok := strings.CutSuffix(s, "=")
	return ok && (len(s) == 28 || len(s) == 44) && !strings.ContainsFunc(digits, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '+' && r != '/' && r != ' '
	})
}

// usage is what is known of the web applications.
type usage struct {
	next  atomic.Uint32
	other usedApp // of the zero appID

	mu      sync.RWMutex        // guards the rest; a connection looks once a second, or when it turns to another application
	apps    map[string]*usedApp // by prefix
	cleared time.Time           // when room was last looked for
}

// usedApp is one of them.
type usedApp struct {
	id     appID
	counts [stripes]stripe
	ids    atomic.Pointer[sketch] // of those asked for since began

	mu         sync.Mutex // guards the rest
	seen       time.Time
	webServers []webServerUsage
	turnedAway time.Time // a web server for which there was no room
	began      time.Time
	before     *sketch // of those asked for in the ten minutes before began, or nil
}

// stripe is the requests of some of the connections.
type stripe struct {
	requests atomic.Uint64
	_        [56]byte // keep neighbours off this cache line
}

const (
	stripes       = 16
	maxApps       = 1000
	maxWebServers = 32
	// webServersKept is how long a web server is remembered that does not ask any more.
	webServersKept = 10 * time.Minute
	// idsKept is how long session ids are, at least; at most it is twice that.
	idsKept = 10 * time.Minute
	// appsKept is how long an application is known that does not ask any more and has no sessions.
	appsKept = 20 * time.Minute
	// seenEvery is how often a connection says that its application, and its web server, are still asking.
	seenEvery = time.Second
)

func newUsage() *usage {
	u := &usage{apps: map[string]*usedApp{}}
	u.other.ids.Store(&sketch{})
	return u
}

// asker is a connection, as the usage knows it. It belongs to whoever serves the connection.
type asker struct {
	usage  *usage
	addr   netip.Addr // the web server's; the zero one if there is none
	stripe uint32
	prefix []byte        // asked for last
	app    *usedApp      // that this is; nil: none that is known
	until  time.Duration // that goes without looking, and without telling the application that it is being asked; on the connection's clock
}

func (u *usage) asker(remote net.Addr) asker {
	a := asker{usage: u, stripe: u.next.Add(1) % stripes}
	if tcp, ok := remote.(*net.TCPAddr); ok {
		a.addr = tcp.AddrPort().Addr().Unmap()
	}
	return a
}

// count counts a request that was not answered 400. exists says that there is, or was, such a session.
func (a *asker) count(k session.Key, exists bool, now time.Duration) {
	prefix := k.App()
	if len(prefix) > maxAppID {
		prefix = nil // no application's either, and not worth remembering
	}
	if now >= a.until || !bytes.Equal(prefix, a.prefix) || a.app == nil && exists {
		a.turnTo(prefix, exists, now)
	}
	if a.app == nil {
		return
	}
	a.app.counts[a.stripe].requests.Add(1)
	a.app.ids.Load().add(hashID(k.ID()))
}

// turnTo makes the application with this prefix the asker's, if it is known, or a session of it is.
func (a *asker) turnTo(prefix []byte, exists bool, now time.Duration) {
	app := a.usage.app(prefix)
	if app == nil && exists {
		app = a.usage.add(string(prefix))
	}
	if app != a.app || now >= a.until {
		if app != nil {
			app.see(a.addr, time.Now())
		}
		a.until = now + seenEvery
	}
	a.prefix, a.app = append(a.prefix[:0], prefix...), app
}

func (u *usage) app(prefix []byte) *usedApp {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return u.apps[string(prefix)]
}

// add makes an application known; or it is one of the others.
func (u *usage) add(prefix string) *usedApp {
	id, ok := parseAppID(prefix)
	if !ok {
		return &u.other
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if app := u.apps[prefix]; app != nil {
		return app
	}
	now := time.Now()
	if len(u.apps) >= maxApps && !u.makeRoomLocked(now) {
		return &u.other
	}
	app := &usedApp{id: id, began: now}
	app.ids.Store(&sketch{})
	u.apps[prefix] = app
	return app
}

// makeRoomLocked forgets the applications that nobody asks for any more; it looks once a second.
func (u *usage) makeRoomLocked(now time.Time) bool {
	if now.Sub(u.cleared) < time.Second {
		return false
	}
	u.cleared = now
	maps.DeleteFunc(u.apps, func(_ string, app *usedApp) bool { return now.Sub(app.lastSeen()) > appsKept })
	return len(u.apps) < maxApps
}

func (app *usedApp) lastSeen() time.Time {
	app.mu.Lock()
	defer app.mu.Unlock()
	return app.seen
}

// see notes that a web server is asking for the application.
func (app *usedApp) see(webServer netip.Addr, now time.Time) {
	app.mu.Lock()
	defer app.mu.Unlock()
	app.seen = now
	app.turnLocked(now)
	if !webServer.IsValid() {
		return
	}
	for i := range app.webServers {
		if w := &app.webServers[i]; w.Addr == webServer {
			w.LastSeen = now
			return
		}
	}
	app.forgetLocked(now)
	if len(app.webServers) == maxWebServers {
		app.turnedAway = now
		return
	}
	app.webServers = append(app.webServers, webServerUsage{webServer, now})
}

// forgetLocked forgets the web servers that do not ask any more.
func (app *usedApp) forgetLocked(now time.Time) {
	app.webServers = slices.DeleteFunc(app.webServers, func(w webServerUsage) bool { return now.Sub(w.LastSeen) > webServersKept })
}

// turnLocked begins a new sketch when it is time to.
func (app *usedApp) turnLocked(now time.Time) {
	age := now.Sub(app.began)
	if age < idsKept {
		return
	}
	app.before = app.ids.Swap(&sketch{})
	if age >= 2*idsKept {
		app.before = nil
	}
	app.began = now
}

// appUsage is what a node knows of one web application.
type appUsage struct {
	appID

	Sessions    int64 `json:"sessions"`
	Locked      int64 `json:"locked,omitempty"`
	Bytes       int64 `json:"body_bytes"`
	SizeMedian  int64 `json:"size_median"`
	SizeP99     int64 `json:"size_p99"`
	SizeLargest int64 `json:"size_largest"`

	Requests uint64    `json:"requests"`           // since the start, but for those answered 400
	LastSeen time.Time `json:"last_seen,omitzero"` // within a second; zero: nobody has asked this node
	// WebServers are those that asked within the last ten minutes; MoreWebServers, that there are others.
	WebServers     []webServerUsage `json:"web_servers,omitempty"`
	MoreWebServers bool             `json:"more_web_servers,omitempty"`
	// Sketch is a sample of the session ids that were asked for within the last ten to twenty minutes: see sketch. Not for pages, metrics or logs.
	Sketch []uint64 `json:"sketch,omitempty"`
}

// webServerUsage is a web server, as an application's.
type webServerUsage struct {
	Addr     netip.Addr `json:"addr"`
	LastSeen time.Time  `json:"last_seen"` // within a second
}

// snapshot is every application that has sessions, which stats says, or was asked for within the last twenty minutes; in the order of their
// paths, and last, if there is any, that of the zero appID.
func (u *usage) snapshot(stats []session.AppStats) []appUsage {
	now := time.Now()
	all := map[appID]*appUsage{}
	of := func(id appID) *appUsage {
		if all[id] == nil {
			all[id] = &appUsage{appID: id}
		}
		return all[id]
	}
	for i := range stats {
		id, _ := parseAppID(stats[i].Prefix)
		of(id).hold(&stats[i])
	}
	u.mu.RLock()
	apps := append(slices.Collect(maps.Values(u.apps)), &u.other)
	u.mu.RUnlock()
	for _, app := range apps {
		if all[app.id] != nil || now.Sub(app.lastSeen()) <= appsKept {
			app.report(of(app.id), now)
		}
	}
	listed := make([]appUsage, 0, len(all))
	for _, a := range all {
		listed = append(listed, *a)
	}
	slices.SortFunc(listed, func(a, b appUsage) int {
		switch none := (appID{}); {
		case a.appID == none:
			return 1
		case b.appID == none:
			return -1
		}
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Hash, b.Hash))
	})
	return listed
}

// hold adds what the store has. Of several prefixes, which only the zero appID has, the median is that of the one with the most sessions.
func (a *appUsage) hold(s *session.AppStats) {
	if s.Sessions > a.Sessions {
		a.SizeMedian = s.SizeMedian
	}
	a.Sessions += s.Sessions
	a.Locked += s.Locked
	a.Bytes += s.BodyBytes
	a.SizeP99 = max(a.SizeP99, s.SizeP99)
	a.SizeLargest = max(a.SizeLargest, s.SizeLargest)
}

func (app *usedApp) report(a *appUsage, now time.Time) {
	for i := range app.counts {
		a.Requests += app.counts[i].requests.Load()
	}
	app.mu.Lock()
	defer app.mu.Unlock()
	app.turnLocked(now)
	app.forgetLocked(now)
	a.LastSeen = app.seen
	a.WebServers = slices.Clone(app.webServers)
	slices.SortFunc(a.WebServers, func(v, w webServerUsage) int { return v.Addr.Compare(w.Addr) })
	a.MoreWebServers = !app.turnedAway.IsZero() && now.Sub(app.turnedAway) <= webServersKept
	if app.id != (appID{}) { // the others' ids are no application's
		a.Sketch = merged(app.ids.Load(), app.before)
	}
}
