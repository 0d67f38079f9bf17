package findings

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"statemesh/service/api"
)

// The kinds of findings: the metric's label, and headings of docs/status-page.md.
const (
	ApplicationIDs = "application-ids"
	Memory         = "memory"
	LongLock       = "long-lock"
	Unreachable    = "unreachable"
	Split          = "split"
	MissingMembers = "missing-members"
	MemberFailed   = "member-failed"
	Versions       = "versions"
	Clocks         = "clocks"
	NoKey          = "no-key"
	Bouncing       = "bouncing"
)

// Kinds are all there are, those first that matter more.
var Kinds = []string{ApplicationIDs, Memory, Unreachable, Split, MissingMembers, MemberFailed, LongLock, NoKey, Clocks, Bouncing, Versions}

// Facts are what a node knows of its farm at one moment.
type Facts struct {
	Now          time.Time
	Self         string // this node's name
	Clustered    bool
	Encrypted    bool          // it has a key
	Expected     int           // members that there are to be; 0: not known
	Join         []string      // some of the other members, as this node was told
	LongLock     time.Duration // a lock held longer than that is found
	Members      []Member      // this node included, and those that have left or failed lately; of a node that runs alone, itself
	Applications []Application // of all members, each application id once. The same slice as the last time means: nothing new
}

// Member is a member as this node sees it, and what it has said of itself.
type Member struct {
	ID, Name  string
	Self      bool
	State     string // as in cluster.Member
	Since     time.Time
	Started   time.Time
	Version   string
	Transfer  string // its address
	Connected bool
	LastError string
	Ahead     time.Duration // its clock, of this node's; 0: not known

	Said        bool // what follows is known
	Sessions    int64
	Used, Limit int64 // bytes of memory; no limit: 0
	Refused     int64 // sessions, since its start
	Refusing    bool  // within the last minute
	Sees        []string
	CannotReach []Peer
	Locks       []Lock // the oldest first
	Bouncing    []Bounce
	Expects     int    // members that there are to be, as it is told; 0: not known
	Left        []Gone // as it remembers
}

// Gone is a node that has left in order.
type Gone struct {
	Name string
	At   time.Time
}

// Peer is a member that another cannot reach.
type Peer struct{ ID, Why string }

// Lock is a session locked for long.
type Lock struct {
	Session string // redacted
	App     string // the application's path
	Age     time.Duration
}

// Bounce is a session that keeps coming to a member.
type Bounce struct {
	Session string // redacted
	App     string // the application's path
	Moves   int    // to that member, within a minute
}

// live tells whether the member is there: one that is merely in doubt is.
func (m *Member) live() bool {
	switch m.State {
	case "left", "failed":
		return false
	}
	return true
}

// Finder finds what is wrong, and remembers since when it has been. It is for one goroutine.
type Finder struct {
	known map[string]*known
	away  map[string]away // nodes that are not there, by name
	met   bool            // another member, at any time

	applications *Application // the first of those last looked at, which takes longer than all the rest
	found        []seen       // in them
}

// known is something that was wrong when it was last looked at.
type known struct {
	finding     api.Finding
	first, last time.Time
	keep        time.Duration
	shown       bool
}

// look is one look at the facts.
type look struct {
	*Facts
	finder *Finder
}

// seen is something that is wrong.
type seen struct {
	api.Finding
	about string        // what of several of its kind; need not be for people
	after time.Duration // it must have been so for that long
	keep  time.Duration // it stays for that long when it is not seen any more
}

// Find is what is wrong, worst first.
func (f *Finder) Find(facts Facts) []api.Finding {
	if f.known == nil {
		f.known, f.away = map[string]*known{}, map[string]away{}
	}
	facts.Members = latestRuns(facts.Members)
	l := &look{&facts, f}
	f.remember(l)
	for _, check := range []func(*look){
		applications, memory, longLocks, unreachable, split, missing, lonely, failed, versions, clocks, noKey, bouncing,
	} {
		check(l)
	}
	all := []api.Finding{}
	for id, k := range f.known {
		if gone := facts.Now.Sub(k.last); gone > 0 && (!k.shown || gone >= k.keep) {
			delete(f.known, id)
			continue
		}
		if k.shown {
			all = append(all, k.finding)
		}
	}
	slices.SortFunc(all, func(a, b api.Finding) int {
		return cmp.Or(
			cmp.Compare(rank(a.Severity), rank(b.Severity)),
			cmp.Compare(slices.Index(Kinds, a.Kind), slices.Index(Kinds, b.Kind)),
			a.Since.Compare(b.Since), cmp.Compare(a.Title, b.Title),
		)
	})
	return all
}

// latestRuns leaves out the runs of nodes that have been started again since: a new run is a new member with the same name.
func latestRuns(all []Member) []Member {
	return slices.DeleteFunc(slices.Clone(all), func(m Member) bool {
		return !m.live() && slices.ContainsFunc(all, func(o Member) bool {
			return o.Name == m.Name && (o.live() || o.Started.After(m.Started))
		})
	})
}

func rank(severity string) int {
	if severity == api.Trouble {
		return 0
	}
	return 1
}

// add notes something that is wrong.
func (l *look) add(s seen) {
	s.Remedy = typed(s.Remedy)
	id := s.Kind + "\x00" + s.about
	k := l.finder.known[id]
	if k == nil {
		k = &known{first: l.Now}
		l.finder.known[id] = k
	}
	s.Since = k.first.UTC().Truncate(time.Second)
	k.finding, k.last, k.keep = s.Finding, l.Now, s.keep
	k.shown = k.shown || l.Now.Sub(k.first) >= s.after
}

// typed puts backticks around what is to be typed. The texts of this package have it between ‹ and ›, since raw strings cannot hold backticks.
func typed(steps []string) []string {
	all := make([]string, len(steps))
	for i, step := range steps {
		all[i] = strings.NewReplacer("‹", "`", "›", "`").Replace(step)
	}
	return all
}

// shown tells whether this is a finding already.
func (l *look) shown(kind, about string) bool {
	k := l.finder.known[kind+"\x00"+about]
	return k != nil && k.shown
}

// self is this node.
func (l *look) self() *Member {
	for i := range l.Members {
		if l.Members[i].Self {
			return &l.Members[i]
		}
	}
	return &Member{Name: l.Self, Self: true}
}
