package link

import (
	"slices"
	"time"
)

// ahead is how far another node's clock was ahead of this one's, by the last few probes. A probe is answered somewhere between its being sent and
// the answer's arrival, taken to be the middle: that is wrong by half a round trip at most. The median does not mind that now and then
// one of the two ways takes longer, because much was sent over it.
type ahead struct {
	last  [5]time.Duration // in a circle
	count int
}

// add takes a probe that was sent when this node's clock said asked, and answered when the other's said theirs.
func (a *ahead) add(asked time.Time, roundTrip time.Duration, theirs int64) {
	a.last[a.count%len(a.last)] = time.Duration(theirs-asked.UnixNano()) - roundTrip/2
	a.count++
}

func (a *ahead) median() time.Duration {
	known := a.last // a copy
	sorted := known[:min(a.count, len(known))]
	if len(sorted) == 0 {
		return 0
	}
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}
