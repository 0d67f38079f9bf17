// Package api is what the status address says of a node, as JSON under /api/v1: the documents, and nothing that makes them. The page shows the
// same documents, statemesh's own commands read them, and docs/status-page.md has an example of each.
//
//	GET  /api/v1/status         Status
//	GET  /api/v1/members        Members
//	GET  /api/v1/applications   Applications
//	GET  /api/v1/history        History
//	GET  /api/v1/events         server-sent events: what happens, as it happens
//	POST /api/v1/drain          hand all sessions to other nodes and go on serving; answers as soon as that is under way, with Status
//	POST /api/v1/keys/reload    read the key file again: what SIGHUP does, where there are no signals
//
// Of something refused, the answer is Problem. Fields are only ever added. No document holds a session's id, or a key.
package api

import (
	"time"

	"statemesh/cluster"
)

// Status is a node at one moment.
type Status struct {
	Node      string    `json:"node"`
	Version   string    `json:"version"`
	Phase     string    `json:"phase"` // starting, joining (it has not found its cluster), up, draining, stopping
	Clustered bool      `json:"clustered"`
	Started   time.Time `json:"started"`
	Uptime    float64   `json:"uptime_seconds"`
	Addresses Addrs     `json:"addresses"`
	Snapshot  bool      `json:"snapshot"` // sessions that nobody takes when it stops are kept on disk for its next start

	Findings []Finding `json:"findings"` // what is wrong, worst first; empty if nothing is

	Sessions struct {
		Held      int64 `json:"held"`
		Locked    int64 `json:"locked"`
		Created   int64 `json:"created"` // since the start, as are those below
		TimedOut  int64 `json:"timed_out"`
		Abandoned int64 `json:"abandoned"`
		Refused   int64 `json:"refused"`
	} `json:"sessions"`
	Memory struct {
		Bodies int64 `json:"body_bytes"`
		Used   int64 `json:"used_bytes"`
		Limit  int64 `json:"limit_bytes"` // 0: none
	} `json:"memory"`
	Applications int64       `json:"applications"`
	Waiting      int64       `json:"requests_waiting"`
	Connections  int64       `json:"connections"` // open, of web servers
	Operations   []Operation `json:"operations"`  // over the last RateWindow

	Cluster *ClusterStatus `json:"cluster,omitempty"`
	Drain   *Drain         `json:"drain,omitempty"` // once there has been one
}

// RateWindow is what rates and percentiles are taken over.
const RateWindow = 10 * time.Second

// Addrs are where a node listens, host:port; empty where it does not.
type Addrs struct {
	Node     string `json:"node"`
	State    string `json:"state"`
	Gossip   string `json:"gossip,omitempty"`
	Transfer string `json:"transfer,omitempty"`
	Status   string `json:"status,omitempty"`
}

// Operation is one kind of web servers' requests.
type Operation struct {
	Op        string  `json:"op"` // as the metrics' label: get, get-exclusive, set, release-exclusive, remove, reset-timeout
	PerSecond float64 `json:"per_second"`
	// Percentiles of the time from a request's complete head to its written answer, in seconds, interpolated in the metric's buckets; 0 without
	// requests.
	P50 float64 `json:"p50_seconds"`
	P95 float64 `json:"p95_seconds"`
	P99 float64 `json:"p99_seconds"`
	// Total since the start, and how many of those were answered 400, 404 and 423.
	Total      uint64 `json:"total"`
	BadRequest uint64 `json:"bad_requests"`
	NotFound   uint64 `json:"not_found"`
	Locked     uint64 `json:"locked"`
}

// ClusterStatus is a node's part in its cluster: figures now, and counts since its start.
type ClusterStatus struct {
	Joined    bool              `json:"joined"`
	Members   int               `json:"members"`            // live ones, itself included
	Expected  int               `json:"expected,omitempty"` // that there are to be: expect_members
	Queries   map[string]uint64 `json:"queries"`            // by outcome: here, nowhere, held, unknown, shed
	MovedIn   uint64            `json:"moved_in"`
	MovedOut  uint64            `json:"moved_out"`
	BytesIn   uint64            `json:"moved_in_bytes"`
	BytesOut  uint64            `json:"moved_out_bytes"`
	Conflicts uint64            `json:"conflicts"`
	Fences    uint64            `json:"fences"`
	Waiting   int               `json:"waiting"`
	Arriving  int               `json:"arriving"`
	Leaving   int               `json:"leaving"`
	Copies    int               `json:"copies"`
	Encrypted bool              `json:"encrypted"` // it has a key
	Events    []cluster.Event   `json:"events"`    // the latest, oldest first
}

// Drain is how far handing all sessions over has come.
type Drain struct {
	Sessions  int64   `json:"sessions"` // handed over
	Bytes     int64   `json:"bytes"`    // of their bodies
	Remaining int64   `json:"remaining"`
	Members   int     `json:"members"` // that took any
	Elapsed   float64 `json:"elapsed_seconds"`
	Left      float64 `json:"left_seconds"` // at the pace so far; 0: not known
	Done      bool    `json:"done"`
	Problem   string  `json:"problem,omitempty"` // why it has ended early
}

// Members is the cluster as one node sees it.
type Members struct {
	Node    string   `json:"node"` // that was asked
	Members []Member `json:"members"`
}

// Member is one of them: what this node sees of it, and what it says of itself, every few seconds.
type Member struct {
	cluster.Member
	Said *Said `json:"says,omitempty"` // nil: it has not said anything (yet)
}

// Said is what a member says of itself.
type Said struct {
	At        time.Time `json:"at"` // when it arrived here
	Sessions  int64     `json:"sessions"`
	Memory    int64     `json:"memory_used_bytes"`
	Limit     int64     `json:"memory_limit_bytes"` // 0: none
	PerSecond float64   `json:"requests_per_second"`
	Remaining int64     `json:"drain_remaining"` // while it drains
	// Ahead is how far its clock is ahead of this node's, in seconds; negative: behind. Accurate to half a round trip.
	Ahead float64 `json:"clock_ahead_seconds"`
	// Unreachable are the names of live members that it cannot reach on their transfer port.
	Unreachable []string `json:"unreachable,omitempty"`
	// Findings are the kinds of what is wrong with it, as it sees it.
	Findings []string `json:"findings,omitempty"`
}

// Finding is something that is wrong, in plain words.
type Finding struct {
	Kind     string    `json:"kind"`     // one of a few words: the metric's label, and the headings of docs/status-page.md
	Severity string    `json:"severity"` // "trouble": users are losing sessions, or are about to; "warning": it should be mended
	Title    string    `json:"title"`    // one sentence, what is wrong
	Evidence []string  `json:"evidence"` // what was seen, a line each
	Remedy   []string  `json:"remedy"`   // what to do, a step each; what is to be typed stands between backticks
	Since    time.Time `json:"since"`
}

// Severities of a Finding.
const (
	Trouble = "trouble"
	Warning = "warning"
)

// Applications are the web applications that have sessions, or have asked for some lately, the busiest first.
type Applications struct {
	Node string `json:"node"`
	// Counted is when the node last began to count its sessions by application, and their sizes. It takes its time for millions.
	Counted      time.Time     `json:"counted,omitzero"`
	Applications []Application `json:"applications"`
	Omitted      int           `json:"omitted,omitempty"` // the least busy of very many
}

// Application is one application id: what ASP.NET puts before a session's id.
type Application struct {
	ID   string `json:"id"`   // Path and a few characters of the hash: "/LM/W3SVC/2/ROOT/shop (Bh3…)"
	Path string `json:"path"` // AppDomainAppId: "/LM/W3SVC/2/ROOT/shop"
	Hash string `json:"hash"` // the first characters of the hash that follows it
	// HashLength is 28 (CLR 2) or 44 (CLR 4); 0 for one that is not of ASP.NET's form.
	HashLength int `json:"hash_length"`

	Sessions int64 `json:"sessions"` // held by this node
	Bytes    int64 `json:"body_bytes"`
	// Sizes of their bodies, within a few percent; 0 without sessions.
	SizeMedian  int64   `json:"size_median_bytes"`
	SizeP99     int64   `json:"size_p99_bytes"`
	SizeLargest int64   `json:"size_largest_bytes"`
	Requests    uint64  `json:"requests"` // since this node's start
	PerSecond   float64 `json:"per_second"`
	// WebServers are the addresses that asked this node within the last ten minutes, at most 32, without ports.
	WebServers []string `json:"web_servers"`
	// Nodes are the members where it was seen, this one included, by name.
	Nodes []ApplicationAt `json:"nodes,omitempty"`
}

// ApplicationAt is an application at one member.
type ApplicationAt struct {
	Node      string  `json:"node"`
	Sessions  int64   `json:"sessions"`
	PerSecond float64 `json:"per_second"`
}

// History is the last minutes, for charts: for each moment one figure in each series.
type History struct {
	Times  []int64     `json:"times"` // seconds since 1970
	Series []TimeSerie `json:"series"`
}

// TimeSerie is one figure over time; nil where there is none.
type TimeSerie struct {
	Name   string     `json:"name"` // "requests", "p99", "sessions", "memory", "moved_in", "moved_out"
	Values []*float64 `json:"values"`
}

// Problem is why a request was refused.
type Problem struct {
	Problem string `json:"problem"`
}
