package config

import (
	"strings"
	"time"
)

// Setting is one thing that an operator may set, bound to the Config whose Settings it came from.
type Setting struct {
	Block string // the file's block it stands in, "state"; empty outside all blocks
	Name  string // the attribute's name in the file, "max_head"
	Flag  string // the flag's name without dashes, "max-head"
	Help  string // what it is, in one line

	value value
}

// Settings lists everything that can be set, in the order of the file.
func (c *Config) Settings() []Setting {
	return []Setting{
		{"", "node_name", "node-name", "name of this node in logs and on the status address", name{&c.NodeName, maxName, "web01"}},

		{"state", "listen", "state-addr", "where web servers connect", address{&c.State.Listen, "127.0.0.1:42424", false}},
		{"state", "aspnet_version", "aspnet-version", "X-AspNet-Version in every response", version{&c.State.ASPNetVersion}},
		{"state", "status_line", "status-line", "first line of a response: \"200 OK\" (bare) or \"HTTP/1.1 200 OK\"", choice{&c.State.StatusLine, []string{"bare", "http/1.1"}, "bare|http/1.1"}},
		{"state", "max_head", "max-head", "largest head of a request", size{&c.State.MaxHead, 1 * kib, 1 * mib, "16KiB"}},
		{"state", "max_body", "max-body", "largest session", size{&c.State.MaxBody, 1 * kib, 2047 * mib, "64MiB"}},
		{"state", "max_connections", "max-connections", "most open connections of web servers", count{&c.State.MaxConnections, 1, 1_000_000, true}},
		{"state", "idle_timeout", "idle-timeout", "close a connection that asks nothing for so long", duration{&c.State.IdleTimeout, time.Second, 720 * time.Hour, true}},
		{"state", "request_timeout", "request-timeout", "longest pause inside a request or an answer", duration{&c.State.RequestTimeout, time.Second, time.Hour, false}},
		{"state", "lock_wait", "lock-wait", "how long a page may wait here for a locked session to be free", duration{&c.State.LockWait, 10 * time.Millisecond, 5 * time.Second, true}},

		{"cluster", "listen", "gossip-addr", "where other nodes tell who is there, TCP and UDP", address{&c.Cluster.Listen, "127.0.0.1:42425", true}},
		{"cluster", "advertise", "advertise-addr", "where other nodes reach that, if not there", peerAddress{&c.Cluster.Advertise}},
		{"cluster", "transfer", "transfer-addr", "where other nodes ask for sessions", address{&c.Cluster.Transfer, "127.0.0.1:42426", true}},
		{"cluster", "join", "join", "some of the other nodes; may be repeated", hosts{&c.Cluster.Join, false}},
		{"cluster", "key_file", "key-file", "the cluster's keys; to make one: statemesh keygen", path{&c.Cluster.KeyFile, "cluster.key"}},
		{"cluster", "ca_file", "ca-file", "your own CA certificates, which vouch for the nodes in place of the key", path{&c.Cluster.CAFile, "ca.pem"}},
		{"cluster", "cert_file", "cert-file", "this node's certificate of that CA", path{&c.Cluster.CertFile, "web01.pem"}},
		{"cluster", "cert_key_file", "cert-key-file", "the private key of that certificate", path{&c.Cluster.CertKeyFile, "web01.key"}},
		{"cluster", "insecure_plaintext", "insecure-plaintext", "do without keys: anybody who reaches this node's ports is one of the cluster", truth{&c.Cluster.InsecurePlaintext}},
		{"cluster", "name", "cluster-name", "the same on all nodes of a cluster", name{&c.Cluster.Name, 63, "farm1"}},
		{"cluster", "query_timeout", "query-timeout", "how long a page waits for other nodes' answers", duration{&c.Cluster.QueryTimeout, 100 * time.Millisecond, 3300 * time.Millisecond, false}},
		{"cluster", "drain_timeout", "drain-timeout", "how long handing over all sessions may take when the node stops", duration{&c.Cluster.DrainTimeout, time.Second, time.Hour, false}},
		{"cluster", "backups", "backups", "nodes that have a copy of each session: only 0 so far", backups{&c.Cluster.Backups}},
		{"cluster", "expect_members", "expect-members", "how many nodes there are to be, with this one: fewer is reported; 0: not known", count{&c.Cluster.ExpectMembers, 0, 1000, false}},

		{"sessions", "max_memory", "max-memory", "memory for all sessions; over it new sessions are refused", memory{&c.Sessions.MaxMemory, 1 * mib, 64 * tib}},
		{"sessions", "max_waiting", "max-waiting", "most requests that may wait for one session", count{&c.Sessions.MaxWaiting, 1, 65_536, false}},
		{"sessions", "snapshot_dir", "snapshot-dir", "where sessions that no other node takes are left for the next start", path{&c.Sessions.SnapshotDir, "snapshots"}},

		{"status", "listen", "status-addr", "where the status page, /healthz, /readyz, /metrics and /api/v1 are", address{&c.Status.Listen, "127.0.0.1:42480", false}},
		{"status", "allowed_hosts", "status-allowed-hosts", "other names by which that may be asked; may be repeated", hosts{&c.Status.AllowedHosts, true}},
		{"status", "username", "status-username", "who may read there, with the password of password_file", userName{&c.Status.Username}},
		{"status", "password_file", "status-password-file", "the password of username", path{&c.Status.PasswordFile, "status.password"}},
		{"status", "token_file", "status-token-file", "a token that lets programs read there", path{&c.Status.TokenFile, "status.token"}},
		{"status", "admin_token_file", "status-admin-token-file", "the token without which nobody drains the node, or has it read its keys again", path{&c.Status.AdminTokenFile, "admin.token"}},
		{"status", "cert_file", "status-cert-file", "certificate by which it speaks HTTPS", path{&c.Status.CertFile, "status.pem"}},
		{"status", "key_file", "status-cert-key-file", "the private key of that certificate", path{&c.Status.KeyFile, "status.key"}},
		{"status", "long_lock", "long-lock", "a session that a page keeps locked for longer is pointed out there", duration{&c.Status.LongLock, time.Second, 24 * time.Hour, false}},

		{"log", "level", "log-level", "least severe level to log: trace, debug, info, warn, error", choice{&c.Log.Level, []string{"trace", "debug", "info", "warn", "error"}, "level"}},
		{"log", "format", "log-format", "how log lines are written", choice{&c.Log.Format, []string{"text", "json"}, "text|json"}},
	}
}

// Path names the setting as a whole, "state.max_head".
func (s Setting) Path() string { return strings.TrimPrefix(s.Block+"."+s.Name, ".") }

// Value is the current value as it would be written in the file, without quotes.
func (s Setting) Value() string { return s.value.text() }

// Kind says in a word what the value is: "host:port", "size".
func (s Setting) Kind() string { return s.value.kind() }

// Allowed says what may be set, to stand behind "takes": `a size from 1KiB to 1MiB, such as "16KiB"`.
func (s Setting) Allowed() string { return s.value.allowed() }

// Switch tells whether the flag may stand without a value, which then is true.
func (s Setting) Switch() bool { _, is := s.value.(truth); return is }

// Repeatable tells whether the flag may be given again and again, each time with one value more.
func (s Setting) Repeatable() bool { _, is := s.value.(hosts); return is }

// Choices are the possible values of a setting that has only a few, else nil.
func (s Setting) Choices() []string {
	switch v := s.value.(type) {
	case choice:
		return v.known
	case truth:
		return []string{"true", "false"}
	}
	return nil
}

// blocks are the names of the file's blocks, in order.
func blocks(settings []Setting) []string {
	var names []string
	for _, s := range settings {
		if s.Block != "" && (len(names) == 0 || names[len(names)-1] != s.Block) {
			names = append(names, s.Block)
		}
	}
	return names
}

// namesIn are the names of the settings of one block, in order.
func namesIn(settings []Setting, block string) []string {
	var names []string
	for _, s := range settings {
		if s.Block == block {
			names = append(names, s.Name)
		}
	}
	return names
}
