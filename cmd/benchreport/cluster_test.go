package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"statemesh/cmd/internal/bench"
)

func TestChoose(t *testing.T) {
	t.Parallel()
	names := []string{"flat", "cluster-fetch", "cluster-drain"}
	for list, want := range map[string][]string{
		"flat":               {"flat"},
		"cluster":            {"cluster-fetch", "cluster-drain"},
		"cluster-drain,flat": {"cluster-drain", "flat"},
		"clust":              nil,
		"":                   nil,
	} {
		got, err := choose(list, names)
		if !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%q: %v, %v, want %v", list, got, err, want)
		}
	}
}

// rounds are results of three rounds, the middle one of which is the median.
func rounds(pagesPerSecond, p50, p99 float64) (all []*bench.Result) {
	for _, f := range []float64{.5, 1, 3} {
		latency := bench.Latency{P50: f * p50, P99: f * p99}
		all = append(all, &bench.Result{PagesPerSecond: f * pagesPerSecond, Pages: 1, Page: latency, Wait: latency})
	}
	return all
}

// The promises of clusters are judged by medians, and by the right ones.
func TestClusterSections_Judge(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		of   figures
		want []bool
	}{
		"fetch, met":      {fetchFigures{rounds(1, 300, 500), rounds(1, 900, 4200)}, []bool{true, true}},
		"fetch, not met":  {fetchFigures{rounds(1, 300, 500), rounds(1, 901, 4301)}, []bool{false, false}},
		"miss":            {missFigures{[]int{3, 9}, [][]*bench.Result{rounds(1, 400, 1), rounds(1, 1201, 1)}, [][]*bench.Result{rounds(1, 401, 1), rounds(1, 1200, 1)}}, []bool{true, false, false, true}},
		"pair":            {pairFigures{rounds(1, 2000, 10001), rounds(1, 2001, 10000)}, []bool{true, false, false, true}},
		"wander, met":     {wanderFigures{rounds(1000, 1, 1), rounds(1, 1, 1), rounds(300, 1, 1)}, []bool{true}},
		"wander, not met": {wanderFigures{rounds(1000, 1, 1), rounds(999, 1, 1), rounds(299, 1, 1)}, []bool{false}},
		"cost":            {costFigures{rounds(1000, 1, 1), rounds(969, 1, 1), ""}, []bool{false}},
		"flood":           {floodFigures{rounds(800, 1, 121), rounds(1000, 1, 100), rounds(1, 1, 1), rounds(1, 1, 1)}, []bool{true, false}},
		"drain": {drainFigures{1, 1, 1, 12 * time.Second, 0, "", 100, 121, rounds(1, 1, 100)[1], rounds(1, 1, 200)[1]},
			[]bool{true, false, true, true}},
		"growth":             {growthFigures{{3, expense{7, 1, 2}, expense{4, 1, 1}, expense{4, 1, 1}}, {9, expense{19, 1, 2}, expense{16, 1, 1}, expense{16, 1, 1}}}, []bool{true, true}},
		"growth, of another": {growthFigures{{3, expense{7, 1, 2}, expense{4, 1, 1}, expense{5, 1, 1}}, {9, expense{19, 1, 3}, expense{16, 1, 1}, expense{16, 1, 1}}}, []bool{false, false}},
		"growth of nothing":  {growthFigures{}, []bool{false, false}},
		"meet":               {meetFigures{[]string{"ring"}, []time.Duration{3 * time.Second}, []time.Duration{5 * time.Second}}, []bool{true, false}},
	} {
		s := tt.of.section()
		var met []bool
		for _, r := range s.rows {
			met = append(met, r.met)
		}
		if !slices.Equal(met, tt.want) {
			t.Errorf("%s: met %v, want %v\n%s", name, met, tt.want, s.markdown())
		}
		if !strings.Contains(s.command, "cluster-") {
			t.Errorf("%s: the command %q does not say how to measure it again", name, s.command)
		}
	}
}
