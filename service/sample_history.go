package service

import (
	"math"
	"sync"
	"time"

	"statemesh/service/api"
)

// The charts' past: a point every two seconds, for ten minutes.
const (
	historyEvery  = 2 * sampleEvery
	historyPoints = int(10 * time.Minute / historyEvery)
)

// historySeries are the figures of a point, in its order.
var historySeries = [...]string{"requests", "p99", "sessions", "memory", "moved_in", "moved_out"}

// point is one moment of the past. What is not known is not a number.
type point struct {
	at     int64 // seconds since 1970
	values [len(historySeries)]float64
}

// history keeps the latest points, in a ring.
type history struct {
	mu     sync.Mutex // guards all
	points [historyPoints]point
	next   int
	count  int
}

// add adds a point. If the clock has been set back, what was before has no place in the chart.
func (h *history) add(p point) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count > 0 && p.at < h.points[(h.next+historyPoints-1)%historyPoints].at {
		h.count = 0
	}
	h.points[h.next] = p
	h.next = (h.next + 1) % historyPoints
	h.count = min(h.count+1, historyPoints)
}

// document is the past since a moment, that excluded: the zero time is for all of it.
func (h *history) document(since int64) api.History {
	h.mu.Lock()
	defer h.mu.Unlock()
	doc := api.History{Times: make([]int64, 0, h.count), Series: make([]api.TimeSerie, len(historySeries))}
	known := make([]float64, 0, h.count*len(historySeries)) // one piece of memory for what the pointers point to
	for s, name := range historySeries {
		doc.Series[s] = api.TimeSerie{Name: name, Values: make([]*float64, 0, h.count)}
	}
	for i := range h.count {
		p := &h.points[(h.next-h.count+i+historyPoints)%historyPoints]
		if p.at <= since {
			continue
		}
		doc.Times = append(doc.Times, p.at)
		for s, v := range p.values {
			if math.IsNaN(v) {
				doc.Series[s].Values = append(doc.Series[s].Values, nil)
				continue
			}
			known = append(known, v)
			doc.Series[s].Values = append(doc.Series[s].Values, &known[len(known)-1])
		}
	}
	return doc
}
