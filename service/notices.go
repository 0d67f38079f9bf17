package service

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// notices are the log lines that somebody outside can cause at will. Each comes at most once in its interval, so that a flood of
// garbage is no flood in the log; the next one says how many were held back. The metrics count them all.
type notices struct {
	accept   *notice
	tooMany  *notice
	badBytes *notice
	refused  *notice
	stalled  *notice
	idle     *notice
	unread   *notice
	full     *notice
	busy     *notice
	panicked *notice
}

func newNotices(log hclog.Logger) *notices {
	every := func(d time.Duration) *notice { return &notice{log: log, interval: d} }
	return &notices{
		accept:   every(time.Minute),
		tooMany:  every(time.Minute),
		badBytes: every(10 * time.Second),
		refused:  every(10 * time.Second),
		stalled:  every(10 * time.Second),
		idle:     every(time.Minute),
		unread:   every(10 * time.Second),
		full:     every(10 * time.Second),
		busy:     every(10 * time.Second),
		panicked: every(time.Second),
	}
}

// notice is one of them.
type notice struct {
	log      hclog.Logger
	interval time.Duration

	mu   sync.Mutex // guards the rest
	next time.Time
	held int
}

func (n *notice) error(msg string, args ...any) { n.write(hclog.Error, msg, args) }
func (n *notice) warn(msg string, args ...any)  { n.write(hclog.Warn, msg, args) }
func (n *notice) info(msg string, args ...any)  { n.write(hclog.Info, msg, args) }

func (n *notice) write(level hclog.Level, msg string, args []any) {
	if held, ok := n.due(time.Now()); ok {
		n.put(level, msg, args, held)
	}
}

func (n *notice) put(level hclog.Level, msg string, args []any, held int) {
	if held > 0 {
		args = append(args, "held-back", held)
	}
	n.log.Log(level, msg, args...)
}

// noteFull tells the operator that new users are being turned away. The store is asked only for a line that is written.
func (h *handler) noteFull() {
	n := h.notices.full
	if held, ok := n.due(time.Now()); ok {
		stats := h.store.Stats()
		n.put(hclog.Warn, "refused a session: no memory for it (max_memory is what all may take)", []any{"used", stats.UsedBytes, "max", stats.MaxMemory}, held)
	}
}

// noteRefused counts a request that makes no sense, and tells the operator why.
func (c *conn) noteRefused(why string) {
	c.metrics.badRequest(why)
	c.notices.refused.warn("refused a request", "web-server", c.webServer(), "reason", why)
}

// noteBusy counts a request that was not started, and tells the operator whose session that was for.
func (c *conn) noteBusy() {
	c.metrics.shed(c.req.Op)
	n := c.notices.busy
	held, ok := n.due(time.Now())
	if !ok {
		return
	}
	why := "too many requests wait for its session, or it has waited too long"
	if c.mesh != nil {
		why += ", or not every node said whether it has that"
	}
	n.put(hclog.Warn, "did not start a request: "+why, []any{"web-server", c.webServer(), "op", c.req.Op.String(), "session", c.key.Redacted()}, held)
}

// due tells whether a line may be written now, and how many were not since the last one.
func (n *notice) due(now time.Time) (held int, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Before(n.next) {
		n.held++
		return 0, false
	}
	held, n.held = n.held, 0
	n.next = now.Add(n.interval)
	return held, true
}
