package page

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"

	"statemesh/service/api"
)

// picture is the mesh: members on a circle, lines between those that reach each other.
type picture struct {
	Top, Height float64
	Nodes       []node
	Lines       []line
	Crosses     []point // in the middle of lines that are cut
	Summary     string  // the same in words
	States      []string
	Radius      float64 // of a member's symbol
	Few         bool    // so few that each has its name
}

type node struct {
	X, Y   float64 // the symbol's upper left corner
	CX, CY float64 // its middle
	Halo   float64
	State  string
	Self   bool
	Title  string
	Name   string // empty: there is no room
	Detail string
	TextX  float64
	TextY  float64
	Anchor string
}

type line struct {
	X1, Y1, X2, Y2 float64
	Kind           string // good, doubtful, cut
}

type point struct{ X, Y float64 }

const (
	width, middle = 440, 160 // of the picture, and of the circle

	namedMembers = 16 // up to here every one has its name, and all lines are drawn
)

func draw(doc api.Members) picture {
	members := slices.Clone(doc.Members)
	slices.SortStableFunc(members, func(a, b api.Member) int {
		switch {
		case a.Self != b.Self && a.Self:
			return -1
		case a.Self != b.Self:
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	p := picture{Few: len(members) <= namedMembers, Radius: 11}
	ring := 104.0
	switch {
	case len(members) == 1:
		ring = 0
	case len(members) > 48:
		p.Radius, ring = 4, 116
	case !p.Few:
		p.Radius, ring = 7, 112
	}
	places := make([]point, len(members))
	for i := range members {
		angle := 2*math.Pi*float64(i)/float64(len(members)) - math.Pi/2
		if len(members) == 2 {
			angle += math.Pi / 2 // side by side
		}
		places[i] = point{width/2 + ring*math.Cos(angle), middle + ring*math.Sin(angle)}
		p.Nodes = append(p.Nodes, p.newNode(members[i], places[i], angle, ring))
		if !slices.Contains(p.States, members[i].State) {
			p.States = append(p.States, members[i].State)
		}
	}
	p.crop(places)
	p.connect(members, places)
	return p
}

// crop leaves no more room above and below than labels need.
func (p *picture) crop(places []point) {
	top, bottom := places[0].Y, places[0].Y
	for _, at := range places {
		top, bottom = min(top, at.Y), max(bottom, at.Y)
	}
	const label = 60
	p.Top, p.Height = round(top-label), round(bottom-top+2*label)
}

// Size is a symbol's, across.
func (p picture) Size() float64 { return 2 * p.Radius }

func (p *picture) newNode(m api.Member, at point, angle, ring float64) node {
	n := node{X: round(at.X - p.Radius), Y: round(at.Y - p.Radius), CX: round(at.X), CY: round(at.Y), Halo: p.Radius + 5, State: m.State, Self: m.Self, Anchor: "middle"}
	n.Title = m.Name + ": " + m.State
	if m.Self {
		n.Title = m.Name + " (this node): " + m.State
	}
	n.TextX, n.TextY = at.X, at.Y
	cos, sin := math.Cos(angle), math.Sin(angle)
	gap := p.Radius + 9
	switch {
	case ring == 0:
		n.TextY += gap + 12
	case cos > 0.3:
		n.Anchor = "start"
		n.TextX += gap
		n.TextY += sin*8 - 2
	case cos < -0.3:
		n.Anchor = "end"
		n.TextX -= gap
		n.TextY += sin*8 - 2
	case sin < 0:
		n.TextY -= gap + 20
	default:
		n.TextY += gap + 10
	}
	n.TextX, n.TextY = round(n.TextX), round(n.TextY)
	if !p.Few && (m.State == "up" || m.State == "left") && !m.Self {
		return n
	}
	n.Name, n.Detail = shorten(hostPart(m.Name), 11), m.State
	switch {
	case m.Self && m.State == "up":
		n.Detail = "this node"
	case m.State == "up" && m.Said != nil:
		n.Detail = count(m.Said.Sessions)
	}
	return n
}

// connect draws lines between members that are there. In a large cluster those that are as they should be are left out: they would fill the circle.
func (p *picture) connect(members []api.Member, places []point) {
	cuts := 0
	var cut []string
	for i, a := range members {
		for j := range i {
			b := members[j]
			if !alive(a.State) || !alive(b.State) {
				continue
			}
			kind := "good"
			switch {
			case isCut(a, b) || isCut(b, a):
				kind = "cut"
				cuts++
				cut = append(cut, fmt.Sprintf("%s and %s", b.Name, a.Name))
				p.Crosses = append(p.Crosses, point{round((places[i].X + places[j].X) / 2), round((places[i].Y + places[j].Y) / 2)})
			case a.State == "suspect" || b.State == "suspect":
				kind = "doubtful"
			}
			if kind == "cut" || p.Few || kind == "doubtful" && (a.Self || b.Self) {
				p.Lines = append(p.Lines, line{round(places[j].X), round(places[j].Y), round(places[i].X), round(places[i].Y), kind})
			}
		}
	}
	slices.SortStableFunc(p.Lines, func(a, b line) int { return weight(a) - weight(b) }) // what matters on top
	p.Summary = describe(members, cut)
}

func weight(l line) int { return map[string]int{"good": 0, "doubtful": 1, "cut": 2}[l.Kind] }

// isCut reports whether a has found that it cannot reach b, or this node that it cannot reach a.
func isCut(a, b api.Member) bool {
	if b.Self && a.State == "up" && !a.Connected {
		return true
	}
	return a.Said != nil && slices.Contains(a.Said.Unreachable, b.Name)
}

func describe(members []api.Member, cut []string) string {
	there := 0
	by := map[string][]string{}
	for _, m := range members {
		if alive(m.State) {
			there++
		}
		by[m.State] = append(by[m.State], m.Name)
	}
	var b strings.Builder
	switch {
	case there == 1:
		b.WriteString("No other member is there.")
	case len(cut) == 0 && there == 2:
		b.WriteString("2 members, connected to each other.")
	case len(cut) == 0:
		fmt.Fprintf(&b, "%d members, each connected to every other.", there)
	default:
		fmt.Fprintf(&b, "%d members. Cut off from each other: %s.", there, few(cut, 4))
	}
	for _, state := range []string{"failed", "suspect", "draining", "leaving", "left"} {
		if names := by[state]; len(names) > 0 {
			fmt.Fprintf(&b, " %s: %s.", strings.ToUpper(state[:1])+state[1:], few(names, 4))
		}
	}
	return b.String()
}

// hostPart leaves a name's domain away, which is the same for all.
func hostPart(name string) string {
	if _, err := netip.ParseAddr(name); err == nil {
		return name
	}
	host, _, _ := strings.Cut(name, ".")
	return host
}

// shorten cuts a long name in its middle: both ends of names such as "frontend-web-0017" tell them apart.
func shorten(name string, most int) string {
	runes := []rune(name)
	if len(runes) <= most {
		return name
	}
	tail := most / 2
	return string(runes[:most-tail-1]) + "…" + string(runes[len(runes)-tail:])
}

func round(x float64) float64 { return math.Round(x*10) / 10 }

func isLoopback(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
