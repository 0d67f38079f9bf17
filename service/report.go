package service

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"statemesh/cluster"
)

// report is what a member tells the others of itself every two seconds, so that an operator sees the whole farm on any node's page. It is JSON, since
// members of different versions tell each other: fields are only ever added. A line break parts it from a reportedApps, which may be large: that
// comes along at times only.
type report struct {
	Sessions  int64   `json:"sessions"`
	Used      int64   `json:"memory_used"`
	Limit     int64   `json:"memory_limit,omitempty"`
	Refused   int64   `json:"refused,omitempty"`
	Refusing  bool    `json:"refusing,omitempty"` // within the last minute
	PerSecond float64 `json:"requests_per_second"`
	Remaining int64   `json:"drain_remaining,omitempty"`

	Expects     int              `json:"expect_members,omitempty"`
	Left        []reportedGone   `json:"left,omitempty"` // in order
	Sees        []string         `json:"sees"`           // ids of live members, itself included
	CannotReach []reportedPeer   `json:"cannot_reach,omitempty"`
	Locks       []reportedLock   `json:"locks,omitempty"`
	Bouncing    []reportedBounce `json:"bouncing,omitempty"`
	Findings    []string         `json:"findings,omitempty"` // kinds
}

type reportedPeer struct {
	ID  string `json:"id"`
	Why string `json:"why,omitempty"`
}

// reportedGone is a node that has left.
type reportedGone struct {
	Name string  `json:"name"`
	Ago  float64 `json:"ago"` // seconds, since clocks differ
}

// reportedLock is a session locked for long. Paths are empty for what is not of ASP.NET's form.
type reportedLock struct {
	Session string  `json:"session"` // redacted
	Path    string  `json:"path,omitempty"`
	Age     float64 `json:"age"` // seconds
}

type reportedBounce struct {
	Session string `json:"session"` // redacted
	Path    string `json:"path,omitempty"`
	Moves   int    `json:"moves"`
}

// reportedApps are the applications at a member, the busiest first.
type reportedApps struct {
	Apps    []reportedApp `json:"apps"`
	Omitted int           `json:"omitted,omitempty"` // for lack of room
}

type reportedApp struct {
	Path      string         `json:"path"`
	Hash      string         `json:"hash"`
	Sessions  int64          `json:"sessions"`
	PerSecond float64        `json:"per_second"`
	Users     []reportedUser `json:"users,omitempty"` // its web servers
	More      bool           `json:"more_users,omitempty"`
	Sketch    sketchBytes    `json:"sketch,omitempty"`
}

// reportedUser is a web server, by address; by the member's name if it is on the same machine.
type reportedUser struct {
	Name string  `json:"name"`
	Ago  float64 `json:"ago"` // seconds, since clocks differ
}

// sketchBytes is a sketch, eight bytes for each hash: as numbers it would be three times as long.
type sketchBytes []byte

func bytesOf(sketch []uint64) (b sketchBytes) {
	for _, h := range sketch {
		b = binary.BigEndian.AppendUint64(b, h)
	}
	return b
}

func (b sketchBytes) sketch() (sketch []uint64) {
	for ; len(b) >= 8; b = b[8:] {
		sketch = append(sketch, binary.BigEndian.Uint64(b))
	}
	return sketch
}

const (
	// smallReport of applications goes along each time, a larger one only every appsEvery.
	smallReport = 16 << 10
	appsEvery   = 10 * time.Second
)

// reporter keeps the latest report, for the cluster to ask for.
type reporter struct {
	mu     sync.Mutex // guards all
	head   []byte
	apps   []byte
	sentAt time.Time // of apps, when they are large
}

// set replaces the report, but for the applications.
func (r *reporter) set(head report) {
	text := mustMarshal(head)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head = text
}

// headRoom is left for the report beside the applications.
const headRoom = 64 << 10

// setApps replaces the applications: those that there is room for, the busiest first.
func (r *reporter) setApps(apps []reportedApp) {
	list := []byte(`{"apps":[`)
	n := 0
	for ; n < len(apps); n++ {
		one := mustMarshal(apps[n])
		if len(list)+len(one) > cluster.MaxReport-headRoom {
			break
		}
		if n > 0 {
			list = append(list, ',')
		}
		list = append(list, one...)
	}
	list = fmt.Appendf(list, `],"omitted":%d}`, len(apps)-n)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.apps = list
}

// report is what to tell now; nothing before the first sample.
func (r *reporter) report() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.head) > headRoom { // a cluster of a thousand
		return nil
	}
	if now := time.Now(); len(r.apps) <= smallReport || now.Sub(r.sentAt) >= appsEvery {
		r.sentAt = now
		return slices.Concat(r.head, []byte{'\n'}, r.apps)
	}
	return r.head
}

// mustMarshal is for what has nothing in it that cannot be written.
func mustMarshal(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// told is what another member has told of itself.
type told struct {
	at time.Time // of the latest report, when it arrived
	report
	apps    []reportedApp // of the latest that had any
	appsAt  time.Time
	omitted int
}

// allTold is what the live members have told, by id.
type allTold map[string]*told

// take reads what has come since the last time. What cannot be read, of a member that is much newer or mistaken, is as if it had not been told.
func (all allTold) take(reports map[string]cluster.Report) {
	for id := range all {
		if _, live := reports[id]; !live {
			delete(all, id)
		}
	}
	for id, r := range reports {
		t := all[id]
		if t == nil {
			t = &told{}
			all[id] = t
		}
		if t.at.Equal(r.At) {
			continue
		}
		head, rest, hasApps := bytes.Cut(r.Body, []byte{'\n'})
		var now report
		if json.Unmarshal(head, &now) != nil {
			continue
		}
		now.tame()
		t.at, t.report = r.At, now
		var apps reportedApps
		if hasApps && json.Unmarshal(rest, &apps) == nil {
			apps.tame()
			t.apps, t.omitted, t.appsAt = apps.Apps, apps.Omitted, r.At
		}
	}
}

// What a member says is shown and added up, so what cannot be is taken out: a member that is mistaken must not make nonsense of the others' page.

const (
	mostCounted = 1 << 50
	mostMembers = 1000 // as in the configuration
	maxNodeName = 253  // as there
	mostAgo     = 365 * 24 * 3600
)

func (r *report) tame() {
	for _, n := range []*int64{&r.Sessions, &r.Used, &r.Limit, &r.Refused, &r.Remaining} {
		*n = min(max(*n, 0), mostCounted)
	}
	r.PerSecond = tamed(r.PerSecond)
	r.Expects = min(max(r.Expects, 0), mostMembers)
	r.Left = slices.DeleteFunc(r.Left, func(g reportedGone) bool { return g.Name == "" || len(g.Name) > maxNodeName || !isPrintable(g.Name) })
	for i := range r.Left {
		r.Left[i].Ago = min(max(r.Left[i].Ago, 0), mostAgo)
	}
}

func (a *reportedApps) tame() {
	a.Omitted = min(max(a.Omitted, 0), mostCounted)
	a.Apps = slices.DeleteFunc(a.Apps, func(app reportedApp) bool {
		return len(app.Path) > maxAppID || !isPrintable(app.Path) || app.Hash != "" && !isHash(app.Hash)
	})
	for i := range a.Apps {
		app := &a.Apps[i]
		app.Sessions, app.PerSecond = min(max(app.Sessions, 0), mostCounted), tamed(app.PerSecond)
	}
}

func tamed(rate float64) float64 { return min(max(rate, 0), mostCounted) }

// busiest puts applications in the order in which they are shown, and told.
func busiest(aPerSecond float64, aSessions int64, bPerSecond float64, bSessions int64) int {
	return cmp.Or(cmp.Compare(bPerSecond, aPerSecond), cmp.Compare(bSessions, aSessions))
}
