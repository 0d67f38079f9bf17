package findings

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Application is an application id and who uses it. ASP.NET makes it of where the application stands in IIS's configuration, and of a hash: web
// servers that differ in either have different sessions for one user.
type Application struct {
	Path      string // AppDomainAppId: "/LM/W3SVC/2/ROOT/shop"
	Hash      string
	Sessions  int64
	PerSecond float64
	// Users are the web servers that asked for its sessions within the last minutes. More: there are others that are not among them.
	Users []User
	More  bool
	// Sketch are the lowest hashes of the session ids that were asked for lately, in order. As long as it is short it has all of them.
	Sketch []uint64
}

// User is a web server that uses an application id: a node's name if it is on that node's machine, else an address.
type User struct {
	Name string
	Seen time.Time
}

// How application ids can differ.
type differences struct {
	number bool // after W3SVC/: the site's ID
	letter bool // upper and lower case
	clr    bool // hashes of 28 and 44 characters
	hash   bool // hashes of one length, of the same path
}

const (
	maxPairsFound = 10          // findings of this kind; a farm in such a state has other worries than the eleventh
	handedOver    = time.Minute // a web server that uses one id, and for that long no more another of the same application, has been changed
	// certain is how long it must have been so where it may merely look so: one web server uses both ids, and may just be changed; or nothing but the
	// site's number differs, and the web servers that use both sites have yet to be asked for pages of both.
	certain = 2 * time.Minute
	// enough session ids must have been asked for under each of two ids that differ in the site's number: where each site has had a few users only, as
	// at night, chance alone has them come from different web servers. So many all went to one side, and so many all to the other.
	enough = 16
)

// pair is two application ids that seem to be one application's.
type pair struct {
	a, b   int // in l.Applications
	shared int // session ids asked for under both, of the samples
	diff   differences
	// weak: nothing but the spelling says that it is one application, and two could be spelled like that.
	weak bool
	// alone: one web server uses both.
	alone bool
}

// applications finds ids that are the same application's, by these rules:
//
//   - equal but for the site's number, each has enough users to tell, and no web server uses both: then it may still be two sites, so this is a warning;
//   - equal but for upper and lower case, which IIS does not tell apart;
//   - equal, with different hashes;
//   - a session id is asked for under both, and no web server uses both. One that does is normal: two applications behind one cookie.
func applications(l *look) {
	if len(l.Applications) == 0 {
		return
	}
	if f := l.finder; f.applications != &l.Applications[0] {
		f.applications, f.found = &l.Applications[0], sameApplications(l)
	}
	for _, s := range l.finder.found {
		l.add(s)
	}
}

func sameApplications(l *look) (all []seen) {
	used := newUsage(l.Applications)
	pairs := append(spelledAlike(l, used), sharing(l, used)...)
	strong := map[int]bool{}
	for _, p := range pairs {
		if !p.weak {
			strong[p.a], strong[p.b] = true, true
		}
	}
	// What is known to belong to another is not guessed to belong to a third.
	pairs = slices.DeleteFunc(pairs, func(p pair) bool { return p.weak && (strong[p.a] || strong[p.b]) })
	groups := together(pairs)
	for _, group := range groups[:min(len(groups), maxPairsFound)] {
		all = append(all, l.application(group))
	}
	return all
}

// spelledAlike are the pairs whose ids are equal but for what web servers of a farm get wrong.
func spelledAlike(l *look, used *usage) (pairs []pair) {
	alike := map[string][]spelled{}
	for i := range l.Applications {
		if a := &l.Applications[i]; a.Path != "" && len(a.Users) > 0 {
			_, number, _ := cutNumber(a.Path)
			form := spelling(a)
			alike[form] = append(alike[form], spelled{i, number})
		}
	}
	for _, same := range alike {
		if len(same) > manySites {
			continue
		}
		for k, a := range same {
			for _, b := range same[k+1:] {
				if a.number != b.number && !used.apart(a.of, b.of) {
					continue // two sites: of these a web server has many
				}
				if p, ok := l.pair(a.of, b.of); ok {
					pairs = append(pairs, p)
				}
			}
		}
	}
	return pairs
}

// manySites of one spelling, each with a number of its own, are the sites of a web host, and too many to look at each pair of them. If two of them
// share users all the same, sharing finds it.
const manySites = 16

type spelled struct {
	of     int
	number string
}

// cutNumber cuts "/LM/W3SVC/2/ROOT/shop" into "/LM/W3SVC/", "2" and "/ROOT/shop". What has no number has all of it before.
func cutNumber(path string) (before, number, after string) {
	const site = "/w3svc/"
	at := strings.Index(strings.ToLower(path), site)
	if at < 0 {
		return path, "", ""
	}
	at += len(site)
	end := at
	for end < len(path) && '0' <= path[end] && path[end] <= '9' {
		end++
	}
	return path[:at], path[at:end], path[end:]
}

// pair tells whether two ids that are spelled alike are one application's. If they are of sites with different numbers, no web server uses both.
func (l *look) pair(i, j int) (pair, bool) {
	a, b := &l.Applications[i], &l.Applications[j]
	p := pair{a: i, b: j, diff: differ(a, b), shared: common(a.Sketch, b.Sketch)}
	if p.diff.number {
		p.weak = p.shared == 0
		return p, !p.weak || min(len(a.Sketch), len(b.Sketch)) >= enough
	}
	// What differs here cannot be two applications on one web server. But it may have been one and now be the other.
	usesA, usesB := usersOf(a, b), usersOf(b, a)
	if len(usesA) == 0 || len(usesB) == 0 {
		return p, false
	}
	p.alone = slices.Equal(usesA, usesB) && len(usesA) == 1
	return p, true
}

func differ(a, b *Application) (d differences) {
	beforeA, numberA, afterA := cutNumber(a.Path)
	beforeB, numberB, afterB := cutNumber(b.Path)
	d.number = numberA != numberB
	d.letter = beforeA != beforeB || afterA != afterB
	d.clr = len(a.Hash) != len(b.Hash)
	d.hash = a.Path == b.Path && !d.clr && a.Hash != b.Hash
	return d
}

// usage says of each application id which web servers use it, so that many can be compared with many.
type usage struct {
	by       [][]uint64 // a bit for each web server
	complete []bool     // somebody uses it, and all who do are known
}

func newUsage(all []Application) *usage {
	bits := map[string]int{}
	for i := range all {
		for _, u := range all[i].Users {
			if _, known := bits[u.Name]; !known {
				bits[u.Name] = len(bits)
			}
		}
	}
	words := (len(bits) + 63) / 64
	u := &usage{by: make([][]uint64, len(all)), complete: make([]bool, len(all))}
	for i := range all {
		u.by[i] = make([]uint64, words)
		for _, user := range all[i].Users {
			bit := bits[user.Name]
			u.by[i][bit/64] |= 1 << (bit % 64)
		}
		u.complete[i] = len(all[i].Users) > 0 && !all[i].More
	}
	return u
}

// apart tells whether it is known that no web server uses both.
func (u *usage) apart(i, j int) bool {
	if !u.complete[i] || !u.complete[j] {
		return false
	}
	for w, bits := range u.by[i] {
		if bits&u.by[j][w] != 0 {
			return false
		}
	}
	return true
}

// commonly tells whether some web server uses all of them.
func (u *usage) commonly(all []int) bool {
	for w, bits := range u.by[all[0]] {
		for _, i := range all {
			bits &= u.by[i][w]
		}
		if bits != 0 {
			return true
		}
	}
	return false
}

// usersOf are the web servers that use a, without those that have changed from a to b.
func usersOf(a, b *Application) (names []string) {
	for _, u := range a.Users {
		changed := slices.ContainsFunc(b.Users, func(v User) bool { return v.Name == u.Name && v.Seen.Sub(u.Seen) > handedOver })
		if !changed {
			names = append(names, u.Name)
		}
	}
	slices.Sort(names)
	return names
}

// common is how many hashes are in both samples, which are in order.
func common(a, b []uint64) (n int) {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			a = a[1:]
		case a[0] > b[0]:
			b = b[1:]
		default:
			n++
			a, b = a[1:], b[1:]
		}
	}
	return n
}

// sharing are the pairs, however spelled, under which the same session ids are asked for.
func sharing(l *look, used *usage) (pairs []pair) {
	type sample struct {
		hash uint64
		of   int
	}
	var all []sample
	for i := range l.Applications {
		if l.Applications[i].Path == "" {
			continue
		}
		for _, h := range l.Applications[i].Sketch {
			all = append(all, sample{h, i})
		}
	}
	slices.SortFunc(all, func(a, b sample) int { return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.of, b.of)) })
	shared := map[[2]int]int{}
	var of []int
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].hash == all[0].hash {
			n++
		}
		of = of[:0]
		for _, s := range all[:n] {
			of = append(of, s.of)
		}
		all = all[n:]
		if used.commonly(of) {
			continue // many applications behind one cookie: the usual case, and too many pairs to look at each
		}
		for i, a := range of {
			for _, b := range of[i+1:] {
				if used.apart(a, b) {
					shared[[2]int{a, b}]++
				}
			}
		}
	}
	for of, n := range shared {
		a, b := &l.Applications[of[0]], &l.Applications[of[1]]
		pairs = append(pairs, pair{a: of[0], b: of[1], shared: n, diff: differ(a, b)})
	}
	return pairs
}

// group is application ids of one application, in order, and why that is so.
type group struct {
	ids   []int
	pairs []pair
}

// together makes groups of pairs that have ids in common.
func together(pairs []pair) []group {
	in := map[int]int{} // id → the least one of its group
	var find func(int) int
	find = func(i int) int {
		if p, ok := in[i]; ok && p != i {
			return find(p)
		}
		return i
	}
	for _, p := range pairs {
		a, b := find(p.a), find(p.b)
		in[max(a, b)] = min(a, b)
	}
	by := map[int]*group{}
	var first []int
	for _, p := range pairs {
		root := find(p.a)
		if by[root] == nil {
			by[root] = &group{}
			first = append(first, root)
		}
		g := by[root]
		g.pairs = append(g.pairs, p)
		g.ids = append(g.ids, p.a, p.b)
	}
	slices.Sort(first)
	groups := make([]group, len(first))
	for i, root := range first {
		g := by[root]
		slices.Sort(g.ids)
		g.ids = slices.Compact(g.ids)
		groups[i] = *g
	}
	return groups
}

// spelling is what is the same of ids that differ only in what web servers of a farm get wrong.
func spelling(a *Application) string {
	before, _, after := cutNumber(a.Path)
	return strings.ToLower(before + "*" + after)
}
