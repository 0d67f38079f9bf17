package findings

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"statemesh/service/api"
)

// longLocks are those that outlast executionTimeout, after which ASP.NET ends a page: nobody is going to unlock them. Other pages of the same user wait
// until they are as old as that themselves, and then take the lock by force.
func longLocks(l *look) {
	type held struct {
		Lock
		at string
	}
	var all []held
	for i := range l.Members {
		for _, lock := range l.Members[i].Locks {
			if l.Members[i].live() && lock.Age > l.LongLock {
				all = append(all, held{lock, l.Members[i].Name})
			}
		}
	}
	if len(all) == 0 {
		return
	}
	slices.SortFunc(all, func(a, b held) int { return cmp.Compare(b.Age, a.Age) })
	f := api.Finding{
		Kind: LongLock, Severity: api.Warning,
		Title: fmt.Sprintf("A session has been locked for longer than %s: its user's other pages wait for it", length(l.LongLock)),
		Remedy: []string{
			`Look in the web server's event log (Application, System) for a worker process that ended or was recycled at that time: a page that dies with it leaves its session locked. The lock is freed when the user asks for another page, or when the session expires.`,
			`If a page really runs that long, let it not lock the session: ‹<%@ Page EnableSessionState="ReadOnly" %>›, or in MVC ‹[SessionState(SessionStateBehavior.ReadOnly)]›; or do its work in the background.`,
			`See that web.config has ‹<compilation debug="false">›: with debug="true" ASP.NET ends no page, however long it runs. What is allowed otherwise is ‹<httpRuntime executionTimeout="110">›, in seconds.`,
		},
	}
	if len(all) > 1 {
		f.Title = fmt.Sprintf("%s have been locked for longer than %s: their users' other pages wait for them", count(int64(len(all)), "session", "sessions"), length(l.LongLock))
	}
	f.Evidence = examples(all, func(h held) string {
		return fmt.Sprintf("%s: session %s of %s, locked for %s", h.at, h.Session, application(h.App), length(h.Age))
	})
	l.add(seen{Finding: f, keep: 2 * time.Second})
}
