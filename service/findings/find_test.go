package findings_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"statemesh/service/api"
	"statemesh/service/findings"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// farm is three healthy members of a cluster.
func farm() findings.Facts {
	f := findings.Facts{Now: noon, Self: "web01", Clustered: true, Encrypted: true, LongLock: 110 * time.Second}
	ids := []string{"web01-1", "web02-1", "web03-1"}
	for i, name := range []string{"web01", "web02", "web03"} {
		f.Members = append(f.Members, findings.Member{
			ID: ids[i], Name: name, Self: i == 0, State: "up", Since: noon.Add(-time.Hour), Started: noon.Add(-time.Hour), Version: "1.2.3", Transfer: "10.0.0." + string(rune('5'+i)) + ":42426",
			Connected: true, Said: true, Sessions: 1000, Used: 1 << 30, Limit: 8 << 30, Sees: ids,
		})
	}
	f.Members[1].Ahead, f.Members[2].Ahead = 3*time.Millisecond, -2*time.Millisecond
	return f
}

// lonely has this node find nobody.
func lonely(f *findings.Facts) {
	f.Members, f.Join = f.Members[:1], []string{"web02", "10.0.0.7:42425"}
}

// watched is what a Finder finds when the facts stay as they are for so many seconds.
func watched(f findings.Facts, seconds int) []api.Finding {
	var finder findings.Finder
	for range seconds {
		finder.Find(f)
		f.Now = f.Now.Add(time.Second)
	}
	return finder.Find(f)
}

func kinds(all []api.Finding) (kinds []string) {
	for _, f := range all {
		kinds = append(kinds, f.Kind)
	}
	return kinds
}

// Each case makes something wrong with a healthy farm, and says what is found then: nothing, or one finding, which says the words.
func TestFind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		wrong    func(*findings.Facts)
		after    int // seconds
		kind     string
		severity string
		says     []string
	}{
		{name: "all is well", wrong: func(*findings.Facts) {}, after: 600},
		{name: "a node that runs alone", after: 600, wrong: func(f *findings.Facts) {
			f.Clustered, f.Encrypted = false, false
			f.Members = f.Members[:1]
		}},

		{name: "memory below the first threshold", after: 60, wrong: func(f *findings.Facts) { f.Members[1].Used = f.Members[1].Limit * 84 / 100 }},
		{name: "memory without a limit", wrong: func(f *findings.Facts) { f.Members[1].Limit = 0 }},
		{name: "memory of a member that failed", wrong: func(f *findings.Facts) {
			f.Members[1].State, f.Members[1].Used = "left", f.Members[1].Limit
		}},
		{name: "memory near its limit", kind: "memory", severity: api.Warning,
			wrong: func(f *findings.Facts) { f.Members[1].Used = f.Members[1].Limit * 86 / 100 },
			says:  []string{"web02's memory", "web02: 6.9 GiB of 8.0 GiB used (86 %), by 1,000 sessions", "max_memory"}},
		{name: "memory at its limit", kind: "memory", severity: api.Trouble,
			wrong: func(f *findings.Facts) {
				f.Members[0].Used, f.Members[0].Refused, f.Members[0].Refusing = f.Members[0].Limit-1000, 7, true
			},
			says: []string{"web01 has no memory for more sessions", "refused 7 sessions"}},

		{name: "a lock as long as a page may run", wrong: func(f *findings.Facts) {
			f.Members[2].Locks = []findings.Lock{{"3fa2c1", "/LM/W3SVC/2/ROOT", 110 * time.Second}}
		}},
		{name: "a lock that is longer", kind: "long-lock", severity: api.Warning,
			wrong: func(f *findings.Facts) {
				f.Members[2].Locks = []findings.Lock{{"3fa2c1", "/LM/W3SVC/2/ROOT", 111 * time.Second}}
			},
			says: []string{"longer than 1 min 50 s", "web03: session 3fa2c1 of /LM/W3SVC/2/ROOT, locked for 1 min 51 s", "EnableSessionState=\"ReadOnly\"", "executionTimeout"}},
		{name: "several", kind: "long-lock", severity: api.Warning,
			wrong: func(f *findings.Facts) {
				for range 4 {
					f.Members[0].Locks = append(f.Members[0].Locks, findings.Lock{"a", "/LM/W3SVC/2/ROOT", time.Hour})
					f.Members[2].Locks = append(f.Members[2].Locks, findings.Lock{"b", "", 2 * time.Hour})
				}
			},
			says: []string{"8 sessions have been locked", "web03: session b of an application without an ASP.NET id, locked for 2 h 0 min", "and 3 more"}},

		{name: "a connection that has just gone", after: 2, wrong: func(f *findings.Facts) { f.Members[1].Connected = false }},
		{name: "a transfer port that cannot be reached", after: 4, kind: "unreachable", severity: api.Trouble,
			wrong: func(f *findings.Facts) {
				f.Members[1].Connected, f.Members[1].LastError = false, "i/o timeout"
				f.Members[2].CannotReach = []findings.Peer{{"web02-1", "connection refused"}}
			},
			says: []string{
				"web01 and web03 cannot reach web02's transfer port", "web01 cannot connect to web02 at 10.0.0.6:42426: i/o timeout",
				"web03 cannot connect to web02 at 10.0.0.6:42426: connection refused", "-LocalPort 42426", "Test-NetConnection 10.0.0.6 -Port 42426",
			}},
		{name: "between two others", after: 4, kind: "unreachable", severity: api.Trouble,
			wrong: func(f *findings.Facts) { f.Members[1].CannotReach = []findings.Peer{{"web03-1", "refused"}} },
			says:  []string{"web02 cannot reach web03's transfer port"}},
		{name: "this node's own", after: 4, kind: "unreachable", severity: api.Trouble,
			wrong: func(f *findings.Facts) { f.Members[1].CannotReach = []findings.Peer{{"web01-1", "refused"}} },
			says:  []string{"web02 cannot reach web01's transfer port"}},
		{name: "a member in doubt is not reached", after: 10, wrong: func(f *findings.Facts) { f.Members[1].Connected, f.Members[1].State = false, "suspect" }},
		{name: "nor one that has gone", after: 10, wrong: func(f *findings.Facts) { f.Members[1].Connected, f.Members[1].State = false, "left" }},

		{name: "news of a member that goes round", after: 14, wrong: func(f *findings.Facts) { f.Members[1].Sees = f.Members[1].Sees[:2] }},
		{name: "members that do not see each other", after: 16, kind: "split", severity: api.Trouble,
			wrong: func(f *findings.Facts) { f.Members[1].Sees = f.Members[1].Sees[:2] },
			says:  []string{"The cluster is split", "web02 does not see web03"}},
		{name: "a member that has not said whom it sees", after: 60, wrong: func(f *findings.Facts) { f.Members[1].Sees = nil }},

		{name: "as many members as there are to be", after: 60, wrong: func(f *findings.Facts) { f.Expected = 3 }},
		{name: "a member that is not there for a moment", after: 4, wrong: func(f *findings.Facts) {
			f.Expected, f.Members[2].State = 3, "failed"
		}},
		{name: "fewer members than there are to be", after: 6, kind: "missing-members", severity: api.Trouble,
			wrong: func(f *findings.Facts) { f.Expected, f.Members[2].State = 3, "failed" },
			says:  []string{"One of 3 members is missing", "expect_members is 3; web01 sees 2: web01 and web02", "web03 stopped answering at", "expect_members = 2"}},
		{name: "none has come yet", after: 6, kind: "missing-members", severity: api.Trouble,
			wrong: func(f *findings.Facts) { f.Expected, f.Members = 3, f.Members[:1] },
			says:  []string{"Two of 3 members are missing"}},
		{name: "a farm that is just being started", after: 6, kind: "missing-members", severity: api.Warning,
			wrong: func(f *findings.Facts) { f.Expected, f.Members = 3, f.Members[:1]; f.Members[0].Started = noon },
			says:  []string{"1 of 3 members are there so far"}},
		{name: "a farm that has been started in part", after: 130, kind: "missing-members", severity: api.Trouble,
			wrong: func(f *findings.Facts) { f.Expected, f.Members = 3, f.Members[:1]; f.Members[0].Started = noon },
			says:  []string{"Two of 3 members are missing"}},
		{name: "a drain begins where one is missing", after: 6, kind: "missing-members", severity: api.Trouble,
			wrong: func(f *findings.Facts) {
				f.Expected, f.Members = 3, f.Members[:2]
				f.Members[0].State, f.Members[0].Since = "draining", noon
			},
			says: []string{"One of 3 members is missing"}},
		{name: "fewer, in good order", after: 6, kind: "missing-members", severity: api.Warning,
			wrong: func(f *findings.Facts) { f.Expected, f.Members[2].State = 3, "left" },
			says:  []string{"2 of 3 members are there", "web03 left, and handed its sessions over"}},
		{name: "one in good order, and one not", after: 6, kind: "missing-members", severity: api.Trouble,
			wrong: func(f *findings.Facts) { f.Expected, f.Members[1].State, f.Members[2].State = 3, "failed", "left" },
			says:  []string{"Two of 3 members are missing", "web02 stopped answering at", "web03 left, and handed its sessions over"}},
		{name: "one in good order, and one that was never seen", after: 6, kind: "missing-members", severity: api.Trouble,
			wrong: func(f *findings.Facts) { f.Expected, f.Members[2].State = 4, "left" }, says: []string{"Two of 4 members are missing"}},
		{name: "in good order, as only another has seen", after: 6, kind: "missing-members", severity: api.Warning,
			wrong: func(f *findings.Facts) {
				f.Expected, f.Members = 3, f.Members[:2]
				f.Members[1].Left = []findings.Gone{{"web03", noon.Add(-3 * 24 * time.Hour)}}
			},
			says: []string{"2 of 3 members are there: the others have been stopped", "web03 left, and handed its sessions over, at 18 Nov"}},
		{name: "in good order, as another says that has not heard of its failure", after: 6, kind: "missing-members", severity: api.Trouble,
			wrong: func(f *findings.Facts) {
				f.Expected, f.Members[2].State = 3, "failed"
				f.Members[1].Left = []findings.Gone{{"web03", noon.Add(-time.Hour)}}
			}},
		{name: "all are there, whatever another says", after: 60, wrong: func(f *findings.Facts) {
			f.Expected, f.Members[1].Left = 3, []findings.Gone{{"web03", noon}}
		}},
		{name: "another member is told how many there are to be", after: 6, kind: "missing-members", severity: api.Trouble,
			wrong: func(f *findings.Facts) { f.Members[1].Expects = 4 }, says: []string{"One of 4 members is missing"}},
		{name: "no other member has been found yet", after: 29, wrong: lonely},
		{name: "no other member is found", after: 31, kind: "missing-members", severity: api.Warning, wrong: lonely,
			says: []string{"web01 has found no other member", "looks for web02 and 10.0.0.7:42425", "Test-NetConnection"}},
		{name: "the first of its cluster, which was told of nobody", after: 60, wrong: func(f *findings.Facts) { lonely(f); f.Join = nil }},
		{name: "the others have left", after: 60, wrong: func(f *findings.Facts) {
			f.Join, f.Members[1].State, f.Members[2].State = []string{"web02"}, "left", "left"
		}},
		{name: "a suspect is there", after: 60, wrong: func(f *findings.Facts) { f.Expected, f.Members[2].State = 3, "suspect" }},

		{name: "a member failed", kind: "member-failed", severity: api.Trouble,
			wrong: func(f *findings.Facts) { f.Members[2].State = "failed" }, says: []string{"web03 does not answer any more"}},
		{name: "a member failed and has come back", wrong: func(f *findings.Facts) {
			f.Members[2].State, f.Members[2].Name = "failed", "web02"
		}},
		{name: "a member failed, came back, and left", after: 60, wrong: func(f *findings.Facts) {
			f.Members[1].Name, f.Members[1].State, f.Members[1].Started = "web03", "failed", noon.Add(-2*time.Hour)
			f.Members[2].State = "left"
		}},
		{name: "a member left, came back, and failed", kind: "member-failed", severity: api.Trouble,
			wrong: func(f *findings.Facts) {
				f.Members[1].Name, f.Members[1].State, f.Members[1].Started = "web03", "left", noon.Add(-2*time.Hour)
				f.Members[2].State = "failed"
			}, says: []string{"web03 does not answer any more"}},
		{name: "a member left", after: 60, wrong: func(f *findings.Facts) { f.Members[2].State = "left" }},

		{name: "different versions", kind: "versions", severity: api.Warning,
			wrong: func(f *findings.Facts) { f.Members[2].Version = "1.3.0" },
			says:  []string{"two different versions", "1.2.3: web01 and web02", "1.3.0: web03"}},
		{name: "a version of one that has gone", wrong: func(f *findings.Facts) { f.Members[2].Version, f.Members[2].State = "1.3.0", "left" }},

		{name: "clocks two seconds apart", wrong: func(f *findings.Facts) { f.Members[2].Ahead = 1990 * time.Millisecond; f.Members[1].Ahead = 0 }},
		{name: "clocks further apart", kind: "clocks", severity: api.Warning,
			wrong: func(f *findings.Facts) { f.Members[2].Ahead = -4200 * time.Millisecond },
			says:  []string{"The clocks of web02 and web03 are 4.2 s apart", "web03's clock is 4.2 s behind most others'", "on web03: w32tm /query /status", "w32tm /resync"}},
		{name: "two others' clocks", kind: "clocks", severity: api.Warning,
			wrong: func(f *findings.Facts) {
				f.Members[1].Ahead, f.Members[2].Ahead = 1500*time.Millisecond, -1500*time.Millisecond
			},
			says: []string{"are 3.0 s apart", "web02's clock is 1.5 s ahead of most others'", "web03's clock is 1.5 s behind"}},
		{name: "of two members", kind: "clocks", severity: api.Warning,
			wrong: func(f *findings.Facts) { f.Members = f.Members[:2]; f.Members[1].Ahead = 90 * time.Second },
			says:  []string{"web02's clock is 90.0 s ahead of web01's", "on both"}},

		{name: "no key", kind: "no-key", severity: api.Warning, wrong: func(f *findings.Facts) { f.Encrypted = false },
			says: []string{"This cluster has no key", "insecure_plaintext = true", "statemesh keygen > cluster.key"}},

		{name: "a session that bounces", kind: "bouncing", severity: api.Warning,
			wrong: func(f *findings.Facts) {
				f.Members[1].Bouncing = []findings.Bounce{{"3fa2c1", "/LM/W3SVC/2/ROOT", 34}}
			},
			says: []string{"to and fro", "session 3fa2c1 of /LM/W3SVC/2/ROOT came to web02 34 times within a minute", "Server Affinity"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := farm()
			c.wrong(&f)
			check(t, watched(f, c.after), c.kind, c.severity, c.says)
		})
	}
}

func check(t *testing.T, all []api.Finding, kind, severity string, says []string) {
	t.Helper()
	if kind == "" {
		if len(all) > 0 {
			t.Errorf("found %+v, want nothing", all)
		}
		return
	}
	if len(all) != 1 || all[0].Kind != kind || all[0].Severity != severity {
		t.Fatalf("found %+v, want one of kind %s, %s", all, kind, severity)
	}
	text := strings.Join(slices.Concat([]string{all[0].Title}, all[0].Evidence, all[0].Remedy), "\n")
	if strings.ContainsAny(text, "‹›") || strings.Count(text, "`")%2 != 0 {
		t.Errorf("what is to be typed is not marked as it should be:\n%s", text)
	}
	text = strings.ReplaceAll(text, "`", "")
	for _, words := range says {
		if !strings.Contains(text, words) {
			t.Errorf("it does not say %q, but:\n%s", words, text)
		}
	}
	if len(all[0].Evidence) == 0 || len(all[0].Remedy) == 0 {
		t.Errorf("no evidence, or no remedy: %+v", all[0])
	}
	if !slices.Contains(findings.Kinds, kind) {
		t.Errorf("%s is not in Kinds", kind)
	}
	if strings.Contains(text, "%!") {
		t.Errorf("a mistake in:\n%s", text)
	}
}

// A figure about a threshold does not make a finding come and go.
func TestFind_DoesNotFlicker(t *testing.T) {
	t.Parallel()
	var finder findings.Finder
	f := farm()
	step := func(want ...string) {
		t.Helper()
		f.Now = f.Now.Add(time.Second)
		if got := kinds(finder.Find(f)); !slices.Equal(got, want) {
			t.Errorf("found %v, want %v", got, want)
		}
	}
	limit := f.Members[0].Limit
	f.Members[0].Used = limit * 86 / 100
	step("memory")
	f.Members[0].Used = limit * 81 / 100
	step("memory")
	f.Members[0].Used = limit * 79 / 100
	step()
	f.Members[0].Used = limit * 81 / 100
	step()
	f.Members[0].Used = 0

	f.Members[1].Ahead = 2100 * time.Millisecond
	step("clocks")
	f.Members[1].Ahead = 1600 * time.Millisecond
	step("clocks")
	f.Members[1].Ahead = 1400 * time.Millisecond
	step()
	f.Members[1].Ahead = 1600 * time.Millisecond
	step()

	f.Members[1].Bouncing = []findings.Bounce{{"a", "", 10}}
	step("bouncing")
	f.Members[1].Bouncing = nil
	for range 19 {
		step("bouncing")
	}
	step()

	// What has to last begins anew when it stops.
	for range 3 {
		f.Members[1].Connected = false
		step()
		step()
		f.Members[1].Connected = true
		step()
	}
}

func TestFind_SaysSinceWhen(t *testing.T) {
	t.Parallel()
	var finder findings.Finder
	f := farm()
	f.Members[1].Connected = false
	f.Encrypted = false
	finder.Find(f)
	f.Now = noon.Add(10 * time.Second)
	f.Members[2].Used, f.Members[2].Refusing = f.Members[2].Limit, true
	f.Members[1].Used = f.Members[1].Limit * 9 / 10
	all := finder.Find(f)
	want := []string{"memory", "unreachable", "memory", "no-key"} // trouble first
	if got := kinds(all); !slices.Equal(got, want) {
		t.Fatalf("found %v, want %v", got, want)
	}
	for i, since := range []time.Time{f.Now, noon, f.Now, noon} {
		if !all[i].Since.Equal(since) {
			t.Errorf("%s is said to be since %v, want %v", all[i].Kind, all[i].Since, since)
		}
	}
}

func hash44(path string) string {
	sum := sha256.Sum256([]byte(path))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// app is an application id that web servers have just used.
func app(path string, users ...string) findings.Application {
	a := findings.Application{Path: path, Hash: hash44(path), Sessions: 100, PerSecond: 3}
	for _, u := range users {
		a.Users = append(a.Users, findings.User{Name: u, Seen: noon})
	}
	return a
}

const (
	hash28      = "rFlg8p6U4SNNj7SSJTCgM5GI9h4="
	otherHash28 = "sFlg8p6U4SNNj7SSJTCgM5GI9h4="
)

func TestFind_ApplicationIDs(t *testing.T) {
	t.Parallel()
	with := func(a findings.Application, change func(*findings.Application)) findings.Application {
		change(&a)
		return a
	}
	asked := func(ids ...uint64) func(*findings.Application) {
		return func(a *findings.Application) { a.Sketch = ids }
	}
	hashed := func(hash string) func(*findings.Application) {
		return func(a *findings.Application) { a.Hash = hash }
	}
	seen := func(ago time.Duration) func(*findings.Application) {
		return func(a *findings.Application) {
			a.Users = slices.Clone(a.Users)
			for i := range a.Users {
				a.Users[i].Seen = noon.Add(-ago)
			}
		}
	}
	var many, others []uint64
	for i := range uint64(16) {
		many, others = append(many, 100+i), append(others, 200+i)
	}
	shop2, shop3 := with(app("/LM/W3SVC/2/ROOT/shop", "10.0.0.6", "web01"), asked(many...)), with(app("/LM/W3SVC/3/ROOT/shop", "web03"), asked(others...))
	upper, lower := app("/LM/W3SVC/2/ROOT/Shop", "web01"), app("/LM/W3SVC/2/ROOT/shop", "web02")
	clr2, clr4 := with(app("/LM/W3SVC/1/ROOT", "web01"), hashed(hash28)), app("/LM/W3SVC/1/ROOT", "web02")
	key1, key2 := clr2, with(app("/LM/W3SVC/1/ROOT", "web02"), hashed(otherHash28))

	var hosted []findings.Application // a web host's, one on each web server
	for i := range 20 {
		hosted = append(hosted, with(app(fmt.Sprintf("/LM/W3SVC/%d/ROOT", i+1), fmt.Sprintf("10.0.1.%d", i+1)), func(a *findings.Application) {
			for id := range uint64(16) {
				a.Sketch = append(a.Sketch, uint64(i)<<8+id)
			}
		}))
	}

	for _, c := range []struct {
		name     string
		apps     []findings.Application
		after    int
		severity string // "": nothing is found
		says     []string
	}{
		{name: "one application", apps: []findings.Application{shop2}},
		{name: "two applications", apps: []findings.Application{shop2, app("/LM/W3SVC/2/ROOT/blog", "10.0.0.6", "web01"), app("/LM/W3SVC/2/ROOT", "web03")}},

		{name: "the sites of a web host, each on a web server of its own", apps: hosted, after: 130},
		{name: "the site's number, of a farm that has just started", apps: []findings.Application{shop2, shop3}, after: 119},
		{name: "the site's number", apps: []findings.Application{shop2, shop3}, after: 121, severity: api.Warning, says: []string{
			"ROOT/shop arrives under two application ids", "/LM/W3SVC/2/ROOT/shop (", "44 characters): from web servers 10.0.0.6 and web01; 100 sessions, 3.0 requests/s",
			"from web server web03", "the site's ID in IIS: 2 and 3", `As an administrator on web03: %windir%\system32\inetsrv\appcmd list site`, `appcmd set site "SITE" /id:2`, "different applications", "How sure this is: nothing but the spelling",
		}},
		{name: "the site's number, of sites that few use", apps: []findings.Application{shop2, with(shop3, asked(others[1:]...))}, after: 600},
		{name: "the site's number, the same users", severity: api.Trouble, says: []string{
			"The same application, ROOT/shop, arrives under two application ids", "At least 2 session ids were asked for under two of them", "/id:2",
		}, apps: []findings.Application{with(shop2, asked(1, 2, 5, 9)), with(shop3, asked(2, 3, 9))}},
		{name: "two sites of one web server", apps: []findings.Application{shop2, app("/LM/W3SVC/3/ROOT/shop", "web01")}},
		{name: "two sites on all web servers", apps: []findings.Application{
			with(app("/LM/W3SVC/1/ROOT", "a", "b", "c"), asked(1, 2)), with(app("/LM/W3SVC/2/ROOT", "b", "c", "a"), asked(3, 4)),
		}},
		{name: "not all web servers are known", apps: []findings.Application{shop2, with(shop3, func(a *findings.Application) { a.More = true })}},
		{name: "nobody asks for it", apps: []findings.Application{shop2, app("/LM/W3SVC/3/ROOT/shop")}},
		{name: "a third is told from the two by its users", severity: api.Trouble, says: []string{"/LM/W3SVC/2/ROOT/shop (", "/LM/W3SVC/3/ROOT/shop ("},
			apps: []findings.Application{with(shop2, asked(1)), with(shop3, asked(1)), app("/LM/W3SVC/4/ROOT/shop", "web09")}},

		{name: "letter case", apps: []findings.Application{upper, lower}, severity: api.Trouble, says: []string{
			"The same application, ROOT/Shop,", "upper and lower case", `/path:/Shop`, "On web02",
		}},
		{name: "letter case, of one web server, at once", apps: []findings.Application{upper, app("/LM/W3SVC/2/ROOT/shop", "web01")}, after: 30},
		{name: "letter case, of one web server, for long", apps: []findings.Application{upper, app("/LM/W3SVC/2/ROOT/shop", "web01")}, after: 121, severity: api.Trouble},
		{name: "letter case, mended", apps: []findings.Application{app("/LM/W3SVC/2/ROOT/Shop", "web01", "web02"), with(lower, seen(2*time.Minute))}, after: 300},
		{name: "letter case, just mended", severity: api.Trouble, apps: []findings.Application{app("/LM/W3SVC/2/ROOT/Shop", "web01", "web02"), with(lower, seen(30*time.Second))}},
		{name: "letter case, of the root", severity: api.Trouble, apps: []findings.Application{app("/LM/W3SVC/2/ROOT", "web01"), app("/LM/W3SVC/2/Root", "web02")},
			says: []string{"the same version of IIS"}},

		{name: "CLR 2 and CLR 4", apps: []findings.Application{clr2, clr4}, severity: api.Trouble, says: []string{
			"28 characters", "44", ".NET 4 makes (CLR 4)", `appcmd set apppool "POOL" /managedRuntimeVersion:v4.0`,
		}},
		{name: "machine keys of CLR 2", apps: []findings.Application{key1, key2}, severity: api.Trouble, says: []string{"nothing but the hash", "<machineKey validationKey="}},
		{name: "machine keys of CLR 4", apps: []findings.Application{clr4, with(app("/LM/W3SVC/1/ROOT", "web01"), hashed(hash44("key")))}, severity: api.Trouble,
			says: []string{"of the path alone", "the same version of the .NET Framework", "<machineKey"}},
		{name: "machine keys, mended", apps: []findings.Application{with(key1, seen(3*time.Minute)), app("/LM/W3SVC/1/ROOT", "web01", "web02")}, after: 300},

		{name: "number and letter case", after: 121, severity: api.Warning, says: []string{"W3SVC/", "upper and lower case", "appcmd set site", "appcmd add app"},
			apps: []findings.Application{with(app("/LM/W3SVC/2/ROOT/Shop", "web01"), asked(many...)), with(app("/LM/W3SVC/7/ROOT/shop", "web02"), asked(others...))}},

		{name: "the same users, different web servers", severity: api.Warning, says: []string{
			"The same users' sessions are asked for under two application ids", "At least 1 session id was", "one cookie to both",
		}, apps: []findings.Application{with(app("/LM/W3SVC/2/ROOT/a", "web01"), asked(1, 7)), with(app("/LM/W3SVC/2/ROOT/b", "web02"), asked(7, 8))}},
		{name: "two applications behind one cookie", apps: []findings.Application{
			with(app("/LM/W3SVC/2/ROOT/a", "web01", "web02"), asked(1, 7)), with(app("/LM/W3SVC/2/ROOT/b", "web02"), asked(7, 8)),
		}},
		{name: "what is not of ASP.NET's form", apps: []findings.Application{
			with(app("", "web01"), asked(1)), with(app("/LM/W3SVC/2/ROOT/b", "web02"), asked(1)),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := farm()
			f.Applications = c.apps
			kind := ""
			if c.severity != "" {
				kind = findings.ApplicationIDs
			}
			check(t, watched(f, c.after), kind, c.severity, c.says)
			slices.Reverse(f.Applications)
			check(t, watched(f, c.after), kind, c.severity, nil)
		})
	}
}

// Who left in order is known for as long as nothing else is heard of it, though the cluster forgets it; and the others are told.
func TestFind_RemembersWhoLeft(t *testing.T) {
	t.Parallel()
	var finder findings.Finder
	f := farm()
	f.Expected = 3
	step := func(severity string) {
		t.Helper()
		var got []api.Finding
		for range 7 {
			f.Now = f.Now.Add(time.Second)
			got = finder.Find(f)
		}
		if severity == "" && len(got) > 0 || severity != "" && (len(got) != 1 || got[0].Severity != severity) {
			t.Errorf("found %+v, want %q", got, severity)
		}
	}
	step("")
	whole := slices.Clone(f.Members)
	f.Members = slices.Clone(whole)
	f.Members[2].State, f.Members[2].Since = "left", f.Now
	step(api.Warning)
	f.Members = whole[:2]
	f.Now = f.Now.Add(2 * time.Hour)
	step(api.Warning)
	if left := finder.Left(); len(left) != 1 || left[0].Name != "web03" || f.Now.Sub(left[0].At) < time.Hour {
		t.Errorf("the others are told of %v", left)
	}
	f.Members = whole
	step("")
	if left := finder.Left(); len(left) != 0 {
		t.Errorf("with all there, the others are told of %v", left)
	}
	f.Members = slices.Clone(whole)
	f.Members[2].State = "failed"
	step(api.Trouble)
	f.Members = whole[:2]
	f.Now = f.Now.Add(2 * time.Hour)
	step(api.Trouble)
	if left := finder.Left(); len(left) != 0 {
		t.Errorf("of one that failed, the others are told %v", left)
	}
}

// Two hundred applications of one host name, that is with one cookie, are compared in no time.
func BenchmarkFind(b *testing.B) {
	f := farm()
	for i := range 200 {
		a := app("/LM/W3SVC/2/ROOT/"+strings.Repeat("a", i+1), "web01", "web02", "web03")
		for h := range uint64(32) {
			a.Sketch = append(a.Sketch, h*7)
		}
		f.Applications = append(f.Applications, a)
	}
	var finder findings.Finder
	b.ReportAllocs()
	for b.Loop() {
		f.Applications = slices.Clone(f.Applications) // else it need not look again
		finder.Find(f)
	}
}
