package gossip

import (
	"log"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// strangers logs what would otherwise be logged over and over: at most once a minute for each source and kind of trouble.
type strangers struct {
	log hclog.Logger

	mu    sync.Mutex // guards what follows
	said  map[string]time.Time
	swept time.Time
}

const (
	sayPause = time.Minute
	maxSaid  = 10_000 // sources remembered; beyond that, new ones are not logged until a minute has passed
)

func newStrangers(log hclog.Logger) *strangers {
	return &strangers{log: log, said: map[string]time.Time{}}
}

// first tells whether something has not been said within the last minute, and notes that it is now.
func (s *strangers) first(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if at, ok := s.said[what]; ok && now.Sub(at) < sayPause {
		return false
	}
	if now.Sub(s.swept) > sayPause {
		s.swept = now
		for k, at := range s.said {
			if now.Sub(at) >= sayPause {
				delete(s.said, k)
			}
		}
	}
	if len(s.said) >= maxSaid {
		return false
	}
	s.said[what] = now
	return true
}

// refused says that a packet or stream was not from a member.
func (s *strangers) refused(from, why string) {
	if s.first("stranger " + from) {
		s.log.Warn("refused a stranger's gossip", "from", from, "reason", why)
	}
}

// inadmissible says that a node holds the key, and is not let in all the same.
func (s *strangers) inadmissible(id, addr string, err error) {
	if s.first("node " + addr) {
		s.log.Warn("refused a node", "id", id, "address", addr, "error", err)
	}
}

// seed says that a seed could not be joined.
func (s *strangers) seed(seed string, err error) {
	if s.first("seed " + seed) {
		s.log.Info("a seed cannot be joined, trying on", "seed", seed, "error", err)
	}
}

// translator is where memberlist's log goes. Most of it repeats what Events say, or is for those who mend memberlist: it becomes trace. What
// an operator must know is said in our own words.
type translator struct{ m *Membership }

func (m *Membership) logger() *log.Logger { return log.New(&translator{m}, "", 0) }

// Write takes one line.
func (t *translator) Write(line []byte) (int, error) {
	t.m.translate(strings.TrimSpace(string(line)))
	return len(line), nil
}

// Who it was: a stranger that came, one that this node took for a seed, or a member whose keys are others by now.
var (
	addrPattern   = regexp.MustCompile(`(?:from=|failed to join )(\S+:\d+)(?:$|:)`)
	memberPattern = regexp.MustCompile(`^Push/Pull with (\S+) failed`)
)

// source is whom a line of memberlist's is about.
func (m *Membership) source(text string) string {
	if match := addrPattern.FindStringSubmatch(text); match != nil {
		return strings.Trim(match[1][:strings.LastIndexByte(match[1], ':')], "[]")
	}
	if match := memberPattern.FindStringSubmatch(text); match != nil {
		if addr, ok := m.table.addr(match[1]); ok {
			return addr.Addr().String()
		}
		return match[1]
	}
	return "unknown"
}

// translate knows memberlist's messages by parts of their text. If those change some day, the lines come out as they are, once a minute each.
func (m *Membership) translate(line string) {
	level, text, _ := strings.Cut(strings.TrimPrefix(line, "["), "] ")
	text = strings.TrimPrefix(text, "memberlist: ")
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("statemesh refused it", "unacceptable label", "stream label header"):
		// said by the guard
	case has("ignoring alive message for", "Failed push/pull merge"):
		// said by the delegate that refused it
	case has("Decrypt packet failed", "could decrypt the message", "remote state is not encrypted", "encryption is not configured"):
		m.counts.sealed.Add(1)
		m.say.refused(m.source(text), "encrypted with a key that this node does not have")
	case has("Refuting a"):
		m.counts.refuted.Add(1)
		if m.say.first("refuting") {
			m.log.Warn("others suspected this node: it, or the network, is slow")
		}
	case has("over TCP but UDP probes failed"):
		m.counts.tcpOnly.Add(1)
		if m.say.first("tcp only") {
			m.log.Warn("a member answers by TCP and not by UDP: is UDP blocked?", "memberlist", text)
		}
	case strings.HasPrefix(text, "Suspect "):
		m.counts.suspicions.Add(1)
		id, _, _ := strings.Cut(strings.TrimPrefix(text, "Suspect "), " ")
		m.table.suspect(id)
		m.log.Debug("a member does not answer", "member", id)
	case has("Binding to public address"):
		m.log.Warn("gossip is neither encrypted nor authenticated, on a public address")
	case level == "DEBUG", level == "INFO", has("Failed UDP ping", "Failed fallback TCP ping", "Push/Pull with", "Got ping for unexpected node",
		"failed to receive: ", "Failed to send", "Failed to read remote state", "Failed to push local state", "Failed to forward ack",
		"forcibly closed"): // what Windows says when a packet was sent to nobody
		m.log.Trace("memberlist", "text", text)
	default:
		kind, _, _ := strings.Cut(text, ":")
		if m.say.first("memberlist " + kind) {
			m.log.Warn("memberlist", "text", text)
		}
	}
}
