package page

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"statemesh/service/api"
)

// tile is a figure and its last minutes. What is drawn here is for browsers without scripts, and until uPlot has started.
type tile struct {
	Name   string
	Value  string
	Unit   string
	Detail string
	Series string // names, for live.js
	Scale  string // how live.js writes the values: count, rate, latency, bytes
	Paths  []string
	Label  string // the chart in words
	Part   float64
	Full   string // how full what Part is of is: "", "warning", "trouble"
}

// tileOrder are those at the top of the page.
var tileOrder = []string{"sessions", "requests", "latency", "memory"}

func newTiles(v *view, h api.History) map[string]tile {
	s := v.Status
	sessions := tile{Name: "Sessions", Value: count(s.Sessions.Held), Detail: fmt.Sprintf("%s locked", count(s.Sessions.Locked)), Series: "sessions", Scale: "count"}
	requests := tile{Name: "Requests", Value: rate(v.Rate), Unit: "/s", Detail: plural(s.Connections, "connection"), Series: "requests", Scale: "rate"}
	p99 := latest(h, "p99")
	late := tile{Name: "Answered within", Value: latency(p99), Detail: "99 of 100 requests", Series: "p99", Scale: "latency"}
	memory := tile{Name: "Memory", Value: bytesText(s.Memory.Used), Detail: "no limit set", Series: "memory", Scale: "bytes"}
	if s.Memory.Limit > 0 {
		memory.Part = percent(s.Memory.Used, s.Memory.Limit)
		memory.Detail = fmt.Sprintf("%s %% of %s", strconv.FormatFloat(memory.Part, 'f', -1, 64), bytesText(s.Memory.Limit))
		switch {
		case memory.Part >= 95:
			memory.Full = trouble
		case memory.Part >= 80:
			memory.Full = warning
		}
	}
	moves := tile{Name: "Moves", Series: "moved_in moved_out", Scale: "rate"}
	return map[string]tile{"sessions": sessions, "requests": requests, "latency": late, "memory": memory, "moves": moves}
}

// chart draws the tiles' charts.
func (v *view) chart(h api.History) {
	for id, t := range v.Tiles {
		v.Tiles[id] = t.charted(h)
	}
}

const (
	chartWidth, chartHeight = 300, 64

	window = 10 * time.Minute // of time that a chart shows; live.js says it, too
)

// charted draws the tile's series, from 0 up to the highest value.
func (t tile) charted(h api.History) tile {
	var low, high float64
	var drawn [][]*float64
	for _, name := range strings.Fields(t.Series) {
		for _, s := range h.Series {
			if s.Name == name {
				drawn = append(drawn, s.Values)
			}
		}
	}
	first := true
	for _, values := range drawn {
		for _, v := range values {
			if v != nil {
				if first {
					low, high, first = *v, *v, false
				}
				low, high = min(low, *v), max(high, *v)
			}
		}
	}
	if first {
		t.Label = t.Name + ": no figures yet"
		return t
	}
	t.Label = fmt.Sprintf("%s in the last minutes: between %s and %s", t.Name, t.write(low), t.write(high))
	if t.Value != "" {
		t.Label += ", now " + t.Value + t.Unit
	}
	for _, values := range drawn {
		t.Paths = append(t.Paths, polyline(h.Times, values, high)...)
	}
	return t
}

func (t tile) write(v float64) string {
	switch t.Scale {
	case "bytes":
		return bytesText(int64(v))
	case "latency":
		return latency(v)
	case "rate":
		return rate(v)
	}
	return count(int64(math.Round(v)))
}

// polyline is a list of lines: it ends where a value is missing. What there is stands at the right end of the window.
func polyline(times []int64, values []*float64, high float64) (all []string) {
	if high <= 0 {
		high = 1
	}
	n := min(len(times), len(values))
	var b strings.Builder
	for i := 0; i < n; i++ {
		b.Reset()
		for ; i < n && values[i] != nil; i++ {
			x := chartWidth * (1 - float64(times[n-1]-times[i])/window.Seconds())
			fmt.Fprintf(&b, "%.1f,%.1f ", x, 2+(chartHeight-4)*(1-*values[i]/high))
		}
		if b.Len() > 0 {
			all = append(all, strings.TrimSpace(b.String()))
		}
	}
	return all
}

// history is what charts are drawn from. It is not changed once made.
type history struct {
	Whole  bool                  `json:"whole,omitempty"` // forget what there was
	Times  []int64               `json:"times"`
	Series map[string][]*float64 `json:"series"`
}

func newHistory(h api.History) *history {
	own := &history{Whole: true, Times: h.Times, Series: make(map[string][]*float64, len(h.Series))}
	for _, s := range h.Series {
		own.Series[s.Name] = s.Values
	}
	return own
}

// since is what a reader lacks who has that much; nil if nothing.
func (h *history) since(seen *history) *history {
	if seen == nil || len(seen.Times) == 0 {
		return h
	}
	last := seen.Times[len(seen.Times)-1]
	if len(h.Times) > 0 && h.Times[len(h.Times)-1] < last { // the node's clock was set back
		return h
	}
	from, _ := slices.BinarySearch(h.Times, last+1)
	if from == len(h.Times) {
		return nil
	}
	added := &history{Times: h.Times[from:], Series: make(map[string][]*float64, len(h.Series))}
	for name, values := range h.Series {
		if len(values) == len(h.Times) {
			added.Series[name] = values[from:]
		}
	}
	return added
}
