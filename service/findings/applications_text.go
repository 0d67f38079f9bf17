package findings

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"statemesh/service/api"
)

// application says of a group what is wrong with it, and how to mend it. What applications.go has found out is put into words here, and nothing more.
func (l *look) application(g group) seen {
	var apps []*Application
	var about []string
	for _, i := range g.ids {
		apps = append(apps, &l.Applications[i])
		about = append(about, l.Applications[i].Path+l.Applications[i].Hash)
	}
	slices.Sort(about)
	slices.SortFunc(apps, func(a, b *Application) int {
		return cmp.Or(cmp.Compare(b.Sessions, a.Sessions), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Hash, b.Hash))
	})
	var diff differences
	shared, weak, alone, related := 0, true, true, true
	for _, p := range g.pairs {
		diff.number = diff.number || p.diff.number
		diff.letter = diff.letter || p.diff.letter
		diff.clr = diff.clr || p.diff.clr
		diff.hash = diff.hash || p.diff.hash
		shared = max(shared, p.shared)
		weak = weak && p.weak
		alone = alone && p.alone
		related = related && spelling(&l.Applications[p.a]) == spelling(&l.Applications[p.b])
	}
	f := api.Finding{Kind: ApplicationIDs, Severity: api.Trouble}
	name, ids := short(apps[0].Path), number(len(apps))
	switch {
	case !related:
		f.Severity = api.Warning
		f.Title = fmt.Sprintf("The same users' sessions are asked for under %s application ids, by different web servers", ids)
	case weak:
		f.Severity = api.Warning
		f.Title = fmt.Sprintf("%s arrives under %s application ids, from different web servers: if it is one application, its users' sessions are not shared", name, ids)
	default:
		f.Title = fmt.Sprintf("The same application, %s, arrives under %s application ids: its users' sessions are not shared", name, ids)
	}
	for _, a := range apps[:min(len(apps), maxExamples)] {
		f.Evidence = append(f.Evidence, a.evidence())
	}
	if weak {
		f.Evidence = append(f.Evidence, `How sure this is: nothing but the spelling says that it is one application, and that no web server has used both of late. None of the session ids that were compared was asked for under both`)
	}
	if shared > 0 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("At least %s asked for under two of them, by web servers of which none uses both",
			count(int64(shared), "session id was", "session ids were")))
	}
	if !related {
		f.Remedy = []string{
			`If it is one application: give it the same site ID, path and spelling on every web server (see the ids above): IIS Manager > Sites > the site > Advanced Settings > ID, and View Applications for the paths. Then restart the site.`,
			`If these are two applications, on different web servers behind one host name, nothing is wrong: the browser sends one cookie to both.`,
		}
	} else {
		f.Evidence = append(f.Evidence, inWhat(diff, apps)...)
		f.Remedy = remedies(diff, apps, weak)
	}
	s := seen{Finding: f, about: strings.Join(about, "\x00")}
	if alone || weak {
		s.after = certain
	}
	return s
}

// short is what people call an application: "ROOT/shop".
func short(path string) string {
	if _, number, after := cutNumber(path); number != "" && len(after) > 1 {
		return after[1:]
	}
	return path
}

func (a *Application) evidence() string {
	var users []string
	for _, u := range a.Users {
		users = append(users, u.Name)
	}
	slices.Sort(users)
	word := "web server"
	if len(users) != 1 {
		word += "s"
	}
	return fmt.Sprintf("%s (%.4s…, %d characters): from %s %s; %s, %.1f requests/s",
		a.Path, a.Hash, len(a.Hash), word, few(users, 8), count(a.Sessions, "session", "sessions"), a.PerSecond)
}

// inWhat says in what the ids differ, and what that is in IIS.
func inWhat(d differences, apps []*Application) (lines []string) {
	if d.number {
		lines = append(lines, fmt.Sprintf("They differ in the number after W3SVC/, which is the site's ID in IIS: %s", list(siteIDs(apps))))
	}
	if d.letter {
		lines = append(lines, "They differ in upper and lower case, which IIS does not tell apart, but ASP.NET does")
	}
	if d.clr {
		lines = append(lines, "One has a hash of 28 characters, which .NET 2.0 and 3.5 make (CLR 2), the other one of 44, which .NET 4 makes (CLR 4)")
	}
	if d.hash {
		lines = append(lines, "They differ in nothing but the hash"+made(apps))
	}
	return lines
}

// made says what the hashes of one path were made with, as far as that shows.
func made(apps []*Application) string {
	if len(apps[0].Hash) == 28 {
		return ", which .NET 2.0 and 3.5 make with the <machineKey>"
	}
	for _, a := range apps {
		if sum := sha256.Sum256([]byte(a.Path)); a.Hash == base64.StdEncoding.EncodeToString(sum[:]) {
			return fmt.Sprintf(": %.4s… is what current versions of .NET 4 make of the path alone, the other was made with a <machineKey>, as early ones do", a.Hash)
		}
	}
	return ", which was made with a <machineKey>, as early versions of .NET 4 do"
}

func siteIDs(apps []*Application) (ids []string) {
	for _, a := range apps {
		if _, number, _ := cutNumber(a.Path); number != "" && !slices.Contains(ids, number) {
			ids = append(ids, number)
		}
	}
	return ids
}

// remedies are the changes to make in IIS. The id with most sessions is the one to keep: so fewest users lose theirs. apps[0] is it.
func remedies(d differences, apps []*Application, weak bool) (steps []string) {
	keep := apps[0]
	others := elsewhere(apps)
	if d.number {
		_, id, _ := cutNumber(keep.Path)
		steps = append(steps,
			fmt.Sprintf(`Give the site the same ID on every web server: %s, under which most sessions are. As an administrator on %s: ‹%%windir%%\system32\inetsrv\appcmd list site› (shows names and IDs), then ‹%%windir%%\system32\inetsrv\appcmd set site "SITE" /id:%s›. Or in IIS Manager: Sites > the site > Advanced Settings > ID. If another site has that ID there, give that one another first.`, id, others, id),
			`Restart the site there: ‹%windir%\system32\inetsrv\appcmd stop site "SITE"›, then ‹appcmd start site "SITE"›.`)
	}
	if path := virtualPath(keep.Path); d.letter && path == "/" {
		steps = append(steps,
			`A site's root application is spelled by IIS itself, Root by old versions and ROOT by later ones: run the same version of IIS on every web server.`)
	} else if d.letter {
		steps = append(steps,
			fmt.Sprintf(`Spell the application's path on every web server as in %s, capitals included. On %s, as an administrator: ‹%%windir%%\system32\inetsrv\appcmd list app› (shows the spelling), ‹appcmd delete app "SITE/PATH"›, ‹appcmd add app /site.name:"SITE" /path:%s /physicalPath:"FOLDER"›, ‹appcmd set app "SITE%s" /applicationPool:"POOL"›. Or in IIS Manager: the application > Remove, then the site > Add Application.`, keep.Path, others, path, path))
	}
	if d.clr {
		steps = append(steps,
			`Run the application on the same .NET CLR version on every web server: IIS Manager > Application Pools > the pool > Basic Settings > .NET CLR version, or ‹%windir%\system32\inetsrv\appcmd set apppool "POOL" /managedRuntimeVersion:v4.0›. The pool recycles by itself.`)
	}
	if d.hash {
		if len(keep.Hash) == 44 {
			steps = append(steps, `Install the same version of the .NET Framework on every web server: from 4.5 on the hash does not depend on the key.`)
		}
		steps = append(steps,
			`Give the application the same key on every web server: in web.config, under ‹<system.web>›, the same ‹<machineKey validationKey="…" decryptionKey="…" />›, without AutoGenerate and IsolateApps. In IIS Manager: the site > Machine Key > clear "Automatically generate at runtime" and "Generate a unique key for each application", Generate Keys, Apply; then copy the keys to the other web servers. Logins by forms authentication, and pages that are open, were made with the old keys: users log in again.`)
	}
	if weak {
		steps = append(steps, `If these are different applications that only stand at the same place of different sites, nothing is wrong.`)
	} else {
		steps = append(steps, `Users with a session under the id that goes lose it, once: do it while few are there.`)
	}
	return steps
}

// elsewhere names the web servers that are to be changed.
func elsewhere(apps []*Application) string {
	var names []string
	for _, a := range apps[1:] {
		for _, u := range a.Users {
			if !slices.Contains(names, u.Name) && !slices.ContainsFunc(apps[0].Users, func(v User) bool { return v.Name == u.Name }) {
				names = append(names, u.Name)
			}
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return "the others"
	}
	return few(names, 5)
}

// virtualPath is the application's path in its site: "/shop".
func virtualPath(path string) string {
	_, _, after := cutNumber(path)
	if len(after) > len("/ROOT") && strings.EqualFold(after[:len("/ROOT")], "/ROOT") {
		return after[len("/ROOT"):]
	}
	return "/"
}
