package service

import (
	"time"

	"statemesh/service/api"
	"statemesh/wire"
)

// tallied is what the tallies come to at one moment.
type tallied struct {
	at     time.Time
	within [ops][len(buckets) + 1]uint64 // requests by duration
	by     [ops][statuses]uint64         // and by answer
}

// total adds up all tallies. It is some ten thousand loads, and takes nothing from those who count.
func (m *metrics) total(at time.Time) (sum tallied) {
	sum.at = at
	for i := range m.tallies {
		for op := range ops {
			for status := range statuses {
				for b := range len(buckets) + 1 {
					n := m.tallies[i].requests[op][status][b].Load()
					sum.within[op][b] += n
					sum.by[op][status] += n
				}
			}
		}
	}
	return sum
}

// rates remember the totals of the last api.RateWindow.
type rates struct {
	last []tallied // oldest first
}

// rateSamples are enough for a whole window: its both ends count.
const rateSamples = int(api.RateWindow/sampleEvery) + 1

func (r *rates) add(t tallied) {
	if len(r.last) == rateSamples {
		copy(r.last, r.last[1:])
		r.last = r.last[:rateSamples-1]
	}
	r.last = append(r.last, t)
}

// operations are the web servers' requests by kind, over the window as far as it is known.
func (r *rates) operations() []api.Operation {
	first, now := &r.last[0], &r.last[len(r.last)-1]
	all := make([]api.Operation, 0, ops-1)
	for op := wire.OpGet; int(op) < ops; op++ {
		o := api.Operation{Op: op.String(), BadRequest: now.by[op][wire.StatusBadRequest], NotFound: now.by[op][wire.StatusNotFound], Locked: now.by[op][wire.StatusLocked]}
		for _, n := range now.by[op] {
			o.Total += n
		}
		between, count := difference(&first.within[op], &now.within[op])
		o.PerSecond = perSecond(count, now.at.Sub(first.at))
		o.P50, o.P95, o.P99 = percentile(between[:], 0.50), percentile(between[:], 0.95), percentile(between[:], 0.99)
		all = append(all, o)
	}
	return all
}

// latest is how many requests a second there were of late, and the 99th percentile of how long they took: over at most the last d.
func (r *rates) latest(d time.Duration) (rate, p99 float64) {
	now := &r.last[len(r.last)-1]
	first := now
	for i := len(r.last) - 2; i >= 0 && now.at.Sub(r.last[i].at) <= d+sampleEvery/2; i-- {
		first = &r.last[i]
	}
	var all [len(buckets) + 1]uint64
	var count uint64
	for op := int(wire.OpGet); op < ops; op++ {
		between, n := difference(&first.within[op], &now.within[op])
		for b := range all {
			all[b] += between[b]
		}
		count += n
	}
	return perSecond(count, now.at.Sub(first.at)), percentile(all[:], 0.99)
}

func difference(from, to *[len(buckets) + 1]uint64) (between [len(buckets) + 1]uint64, count uint64) {
	for b := range between {
		between[b] = to[b] - from[b]
		count += between[b]
	}
	return between, count
}

func perSecond(n uint64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// percentile is the duration, in seconds, that the share p of all stays within, as far as the buckets tell: within one, durations are taken to be
// spread evenly. It is 0 if there are none, and no more than the last bound.
func percentile(in []uint64, p float64) float64 {
	var count uint64
	for _, n := range in {
		count += n
	}
	want := p * float64(count)
	var below float64
	for b, n := range in {
		if n == 0 || below+float64(n) < want {
			below += float64(n)
			continue
		}
		if b == len(buckets) {
			break
		}
		var from time.Duration
		if b > 0 {
			from = buckets[b-1]
		}
		return from.Seconds() + (buckets[b]-from).Seconds()*(want-below)/float64(n)
	}
	if count == 0 {
		return 0
	}
	return buckets[len(buckets)-1].Seconds()
}
