// Package config turns an operator's file and flags into a [Config].
//
// There is one list of everything that may be set: [Config.Settings]. The file's attributes, the flags of
// `statemesh serve`, their defaults and help, what `statemesh check` prints, and what a mistake is answered with
// all come from it. To add a setting: a field here, its default in [Default], a line in Settings.
//
// [Load] goes: defaults, then the file, then the flags; then it looks for settings that contradict one another. It stops at nothing: every mistake in the file and in the
// flags is collected into one [Mistakes], with the file, the line and what is allowed there.
//
// The package reads one file and asks the system for its name and its memory. It opens no socket, logs nothing
// and knows nothing of what the settings are for.
package config

import (
	"os"
	"strings"
	"time"
)

// Config is what a node is told by its operator. Every field holds a value; none of them means "default".
type Config struct {
	// NodeName names this node in logs and on the status address: letters, digits, dots, dashes and underscores,
	// at most 253 bytes. Default: the host's name.
	NodeName string

	State    State
	Cluster  Cluster
	Sessions Sessions
	Status   Status
	Log      Log
}

// State is the side towards web servers.
type State struct {
	// Listen is where web servers connect, host:port; port 0 picks a free one. Default "127.0.0.1:42424": like
	// Microsoft's service, reachable from this machine only.
	Listen string
	// ASPNetVersion is sent as X-AspNet-Version in every response. Web servers refuse one below 2.
	// Default "4.0.30319".
	ASPNetVersion string
	// StatusLine is the form of a response's first line: "bare" (200 OK), which is what Microsoft's service sends,
	// or "http/1.1" (HTTP/1.1 200 OK). Default "bare".
	StatusLine string
	// MaxHead bounds a request's head, in bytes, 1 KiB to 1 MiB. Default 16 KiB.
	MaxHead int64
	// MaxBody bounds a stored session, in bytes, 1 KiB to 2047 MiB. Default 64 MiB.
	MaxBody int64
	// MaxConnections bounds the open connections of web servers, 1 to 1,000,000. 0, written "none", is as many as
	// the system allows. Default 0.
	MaxConnections int
	// IdleTimeout closes a connection on which no request is under way, 1 s to 720 h. 0, written "none", is never:
	// web servers pool connections for long. Default 0.
	IdleTimeout time.Duration
	// RequestTimeout is for the rest of a request that has begun to arrive, and for an answer to be taken, 1 s to
	// 1 h. Default 30 s.
	RequestTimeout time.Duration
	// LockWait is how long a page that wants a session which another page has locked is held back, in the hope of the lock, before
	// it is told to ask again, 10 ms to 5 s. 0, written "none", is not at all. Default 500 ms, after which web servers ask again.
	LockWait time.Duration
}

// Cluster is the side towards other nodes. Without KeyFile, Join and InsecurePlaintext the node runs alone: see Clustered.
type Cluster struct {
	// Listen is where other nodes tell who is there, ip:port, TCP and UDP; port 0 picks a free one. Default "127.0.0.1:42425".
	Listen string
	// Advertise is where they reach that, ip:port. Default "": at Listen, or, if that is every address, at this machine's only one.
	Advertise string
	// Transfer is where other nodes ask for sessions and hand them over, ip:port; port 0 picks a free one.
	// Default "127.0.0.1:42426".
	Transfer string
	// Join are some of the other nodes, host or host:port. Default none: wait to be found.
	Join Hosts
	// KeyFile holds the cluster's keys. Default "".
	KeyFile string
	// CAFile, CertFile and CertKeyFile, PEM, let nodes prove who they are by certificates of the operator's own instead of ones derived from the
	// keys. All three or none. Default "".
	CAFile, CertFile, CertKeyFile string
	// InsecurePlaintext lets nodes talk without a key: anybody who reaches their ports is one of them. Default false.
	InsecurePlaintext bool
	// Name keeps clusters apart that reach each other, 1 to 63 letters, digits, dots, dashes and underscores. Default "default".
	Name string
	// QueryTimeout is how long a page may wait for other nodes' answers, 100 ms to 3.3 s: less than a third of the 10 s after which
	// web servers give up. Default 2 s.
	QueryTimeout time.Duration
	// DrainTimeout is how long handing all sessions over may take when the node stops, 1 s to 1 h. Default 60 s.
	DrainTimeout time.Duration
	// Backups is how many other nodes have a copy of each session. Only 0 so far.
	Backups int
	// ExpectMembers is how many nodes the cluster is to have, this one included, up to 1,000: when there are fewer, operators are told. Default 0: not
	// known.
	ExpectMembers int
}

// Sessions is the store.
type Sessions struct {
	// MaxMemory bounds what all sessions together may take: a share of the machine's memory, 1 % to 100 %, or
	// 1 MiB to 64 TiB. Over it new sessions are refused. Default 75 %.
	MaxMemory Memory
	// MaxWaiting bounds the requests that wait for one session, 1 to 65,536. Default 64.
	MaxWaiting int
	// SnapshotDir is the folder in which a node that is stopped leaves the sessions that no other takes, for its next start: one that runs
	// alone, or the last of a cluster. Default "": nowhere.
	SnapshotDir string
}

// Status is the HTTP address for operators.
type Status struct {
	// Listen is where the page, /healthz, /readyz, /metrics and /api/v1 are, host:port; port 0 picks a free one.
	// Default "127.0.0.1:42480".
	Listen string
	// AllowedHosts are names by which it may be asked, besides this machine's own addresses and name; "*.example.com" stands for all names
	// below. Default none.
	AllowedHosts Hosts
	// Username and PasswordFile let in only who shows them to read. Both or none. Default "".
	Username, PasswordFile string
	// TokenFile holds a token that does so, too, for programs. Default "".
	TokenFile string
	// AdminTokenFile holds the token that is asked of whoever changes something. Default "": this machine may.
	AdminTokenFile string
	// CertFile and KeyFile, PEM, have it speak HTTPS. Both or none. Default "".
	CertFile, KeyFile string
	// LongLock is how long a page may keep a session locked until operators are told, 1 s to 24 h. Default 110 s, ASP.NET's executionTimeout.
	LongLock time.Duration
}

// Log is what goes to the standard error stream.
type Log struct {
	// Level is the least severe level that is logged: trace, debug, info, warn or error. Default "info".
	Level string
	// Format is "text" or "json". Default "text".
	Format string
}

// Default returns the configuration of a node that is told nothing.
func Default() *Config {
	return &Config{
		NodeName: hostName(),
		State: State{
			Listen:         "127.0.0.1:42424",
			ASPNetVersion:  "4.0.30319",
			StatusLine:     "bare",
			MaxHead:        16 * kib,
			MaxBody:        64 * mib,
			MaxConnections: 0,
			IdleTimeout:    0,
			RequestTimeout: 30 * time.Second,
			LockWait:       500 * time.Millisecond,
		},
		Cluster: Cluster{
			Listen:       "127.0.0.1:42425",
			Transfer:     "127.0.0.1:42426",
			Name:         "default",
			QueryTimeout: 2 * time.Second,
			DrainTimeout: 60 * time.Second,
		},
		Sessions: Sessions{
			MaxMemory:  Memory{Percent: 75},
			MaxWaiting: 64,
		},
		Status: Status{Listen: "127.0.0.1:42480", LongLock: 110 * time.Second},
		Log:    Log{Level: "info", Format: "text"},
	}
}

// Clustered tells whether the node is one of a cluster. Any of these settings says so; the others say only how.
func (c *Config) Clustered() bool {
	return c.Cluster.KeyFile != "" || len(c.Cluster.Join) > 0 || c.Cluster.InsecurePlaintext
}

// hostName is the system's name for this machine, made to fit what node_name allows: `statemesh check` prints it as
// a setting, and what it prints must be valid.
func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return "statemesh"
	}
	host = strings.Map(func(r rune) rune {
		if !nameRune(r) {
			return '-'
		}
		return r
	}, host)
	if host == "" || len(host) > maxName {
		return "statemesh"
	}
	return host
}
