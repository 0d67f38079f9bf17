// Package config turns an operator's file and flags into a [Config].
//
// There is one list of everything that may be set: [Config.Settings]. The file's attributes, the flags of
// `statemesh serve`, their defaults and help, what `statemesh check` prints, and what a mistake is answered with
// all come from it. To add a setting: a field here, its default in [Default], a line in Settings.
//
// [Load] goes: defaults, then the file, then the flags. It stops at nothing: every mistake in the file and in the
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
}

// Sessions is the store.
type Sessions struct {
	// MaxMemory bounds what all sessions together may take: a share of the machine's memory, 1 % to 100 %, or
	// 1 MiB to 64 TiB. Over it new sessions are refused. Default 75 %.
	MaxMemory Memory
	// MaxWaiting bounds the requests that wait for one session, 1 to 65,536. Default 64.
	MaxWaiting int
}

// Status is the HTTP address for operators.
type Status struct {
	// Listen is where /healthz, /readyz and /metrics are, host:port; port 0 picks a free one.
	// Default "127.0.0.1:42480".
	Listen string
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
		},
		Sessions: Sessions{
			MaxMemory:  Memory{Percent: 75},
			MaxWaiting: 64,
		},
		Status: Status{Listen: "127.0.0.1:42480"},
		Log:    Log{Level: "info", Format: "text"},
	}
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
