package service

import (
	"encoding/base64"
	"net/netip"
	"strings"
	"time"

	"statemesh/session"
)

// appID is what names a web application: an application id of ASP.NET, in its parts. The zero appID stands for all keys that are not of its
// form.
type appID struct {
	Path string `json:"path"` // AppDomainAppId: "/LM/W3SVC/2/ROOT/shop"
	Hash string `json:"hash"` // in base64: 28 characters (CLR 2) or 44 (CLR 4)
}

// parseAppID takes an application id apart. A key is path + "(" + hash + ")/" + the session's id, and prefix is what stands before the last.
// Nothing of a prefix that is not of that form may be shown: it may hold a part of an id.
func parseAppID(prefix string) (appID, bool) {
	rest, ok := strings.CutSuffix(prefix, ")/")
	open := strings.LastIndexByte(rest, '(')
	if !ok || open < 1 || len(prefix) > maxAppID {
		return appID{}, false
	}
	id := appID{Path: rest[:open], Hash: rest[open+1:]}
	if n, err := base64.StdEncoding.DecodeString(id.Hash); err != nil || len(n) != 20 && len(n) != 32 {
		return appID{}, false
	}
	return id, true
}

// maxAppID is more than any application id of IIS's can have.
const maxAppID = 1 << 10

// appUsage is what a node knows of one web application.
type appUsage struct {
	appID

	Sessions    int64 `json:"sessions"`
	Locked      int64 `json:"locked,omitempty"`
	Bytes       int64 `json:"body_bytes"`
	SizeMedian  int64 `json:"size_median"`
	SizeP99     int64 `json:"size_p99"`
	SizeLargest int64 `json:"size_largest"`

	Requests uint64    `json:"requests"` // since the start
	LastSeen time.Time `json:"last_seen,omitzero"`
	// WebServers are those that asked within the last ten minutes; MoreWebServers, that there are others.
	WebServers     []webServerUsage `json:"web_servers,omitempty"`
	MoreWebServers bool             `json:"more_web_servers,omitempty"`
	// Sketch is a sample of the session ids that were asked for within the last ten to twenty minutes: hashes of them, the lowest, in order. What
	// is in the sketches of two applications was asked for under both. Not for pages, metrics or logs.
	Sketch []uint64 `json:"sketch,omitempty"`
}

// webServerUsage is a web server, as an application's.
type webServerUsage struct {
	Addr     netip.Addr `json:"addr"`
	LastSeen time.Time  `json:"last_seen"`
}

// usage is what is known of the web applications that ask this node.
type usage struct{}

func newUsage() *usage { return &usage{} }

// snapshot is every application that has sessions, which stats says, or was asked for within the last twenty minutes. What is not of ASP.NET's form
// is one, the last: that of the zero appID.
func (u *usage) snapshot(stats []session.AppStats) []appUsage { return nil }
