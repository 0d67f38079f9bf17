package service

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
)

// Who may ask the API. The status address has no passwords, and by default listens to this machine only; but a browser runs on this machine,
// too, and any page that it shows can have it send requests here.
//
//   - To read, a request that came over loopback must name this machine in its Host header. A page from elsewhere whose name was made to
//     point here (DNS rebinding) names itself.
//   - To change something it must name this machine in any case, come from it, and not be sent by a page of another origin.

func readGuard(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isLoopback(localAddr(r)) && !namesThisMachine(r.Host) {
			refuse(w, http.StatusForbidden, notByThisName)
			return
		}
		h(w, r)
	})
}

func changeGuard(h http.HandlerFunc) http.Handler {
	fromThisMachine := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !namesThisMachine(r.Host):
			refuse(w, http.StatusForbidden, notByThisName)
		case !isFromThisMachine(r):
			refuse(w, http.StatusForbidden, "only this machine may ask for that: run the command there")
		default:
			h(w, r)
		}
	})
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusForbidden, "a web page of another origin may not ask for that")
	}))
	return protection.Handler(fromThisMachine)
}

const notByThisName = "ask for this machine by its address, by its host name or as localhost"

// namesThisMachine tells whether a Host header does so in a way that nobody else's name server has a say in.
func namesThisMachine(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || strings.EqualFold(host, "localhost") {
		return true
	}
	own, err := os.Hostname()
	return err == nil && own != "" && strings.EqualFold(host, own)
}

// isFromThisMachine: what comes over loopback, and what comes from the very address that it goes to.
func isFromThisMachine(r *http.Request) bool {
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

func isLoopback(a netip.Addr) bool { return a.IsValid() && a.IsLoopback() }
