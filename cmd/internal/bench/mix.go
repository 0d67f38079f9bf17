package bench

import "slices"

// Mix says what the pages do.
type Mix string

const (
	RW       Mix = "rw"       // read and write: GetExclusive, then Set with its cookie
	ReadOnly Mix = "readonly" // Get
	Typical  Mix = "typical"  // 60 % rw, 25 % readonly, 10 % rw that change nothing (ReleaseExclusive), 5 % without session (HEAD)
	Create   Mix = "create"   // Set of a session that is new
	Miss     Mix = "miss"     // GetExclusive of a session that does not exist
	Pair     Mix = "pair"     // two rw at the same moment for the same session, from two connections (pair.go)
)

// Mixes are all there are.
var Mixes = []Mix{RW, ReadOnly, Typical, Create, Miss, Pair}

// ParseMix reads one of Mixes.
func ParseMix(text string) (Mix, error) {
	if mix := Mix(text); slices.Contains(Mixes, mix) {
		return mix, nil
	}
	return "", usagef("--mix: there is no %q, only %s", text, Mixes)
}

// Spread says how users move between the nodes.
type Spread string

const (
	Sticky     Spread = "sticky"    // not at all: a connection's users stay on its node
	Alternate  Spread = "alternate" // each page of a session is asked for on the node after that of the page before
	PerPage    Spread = "page"      // each page is asked for on some node
	PerRequest Spread = "request"   // each request goes to some node
)

// Spreads are all there are.
var Spreads = []Spread{Sticky, Alternate, PerPage, PerRequest}

// ParseSpread reads one of Spreads.
func ParseSpread(text string) (Spread, error) {
	if spread := Spread(text); slices.Contains(Spreads, spread) {
		return spread, nil
	}
	return "", usagef("--spread: there is no %q, only %s", text, Spreads)
}
