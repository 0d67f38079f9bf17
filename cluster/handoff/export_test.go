package handoff

import "fmt"

// Break takes one rule away.
func (m *Machine) Break(rule string) {
	flags := map[string]*bool{
		"serve-on-push":      &m.broken.serveOnPush,
		"forget-before-ack":  &m.broken.forgetBeforeAck,
		"timeout-is-nowhere": &m.broken.timeoutIsNowhere,
		"no-hints":           &m.broken.noHints,
		"no-chase":           &m.broken.noChase,
		"old-round":          &m.broken.oldRound,
		"reset-cookie":       &m.broken.resetCookie,
		"late-duplicates":    &m.broken.lateDuplicates,
		"no-priority":        &m.broken.noPriority,
		"no-restart":         &m.broken.noRestart,
		"no-digest":          &m.broken.noDigest,
		"anyone-pushes":      &m.broken.anyonePushes,
		"no-patience":        &m.broken.noPatience,
		"no-farewell":        &m.broken.noFarewell,
		"any-answer":         &m.broken.anyAnswer,
	}
	f := flags[rule]
	if f == nil {
		panic(fmt.Sprintf("no such rule: %q", rule))
	}
	*f = true
}

// Arriving says whether a session has been pushed here and is not committed.
func (m *Machine) Arriving(k Key) bool { return m.affairs[k] != nil && m.affairs[k].in != nil }
