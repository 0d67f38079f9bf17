package page

import (
	"math"
	"testing"
	"time"
)

func TestNumbers_AreWrittenForPeople(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ got, want string }{
		{count(0), "0"}, {count(int64(1_204_311)), "1,204,311"}, {count(uint64(math.MaxUint64)), "9,223,372,036,854,775,807"},
		{bytesText(int64(0)), "0 B"}, {bytesText(int64(1023)), "1023 B"}, {bytesText(int64(1024)), "1.0 KiB"}, {bytesText(int64(38_400)), "38 KiB"},
		{bytesText(int64(1<<20 - 1)), "1.0 MiB"}, {bytesText(int64(8 << 30)), "8.0 GiB"}, {bytesText(int64(12 << 30)), "12 GiB"}, {bytesText(uint64(1500 << 40)), "1,500 TiB"},
		{rate(0), "0"}, {rate(0.01), "<0.1"}, {rate(0.42), "0.4"}, {rate(9.97), "10"}, {rate(2431.4), "2,431"},
		{latency(0), "–"}, {latency(0.000001), "0.01 ms"}, {latency(0.00041), "0.41 ms"}, {latency(0.0041), "4.1 ms"}, {latency(0.041), "41 ms"}, {latency(0.9999), "1.0 s"}, {latency(1.21), "1.2 s"},
		{took(2.13), "2.1 s"}, {took(125), "2 min"}, {span(0), "0 s"}, {span(-time.Second), "0 s"}, {span(59 * time.Second), "59 s"}, {span(3*time.Minute + 59*time.Second), "3 min"},
		{span(3*time.Hour + 12*time.Minute), "3 h 12 min"}, {span(103 * time.Hour), "4 d 7 h"},
		{ago(0), "just now"}, {ago(-time.Minute), "just now"}, {ago(12 * time.Second), "12 s ago"}, {ago(3 * time.Minute), "3 min ago"}, {ago(5*time.Hour + 59*time.Minute), "5 h ago"}, {ago(50 * time.Hour), "2 d ago"},
		{plural(1, "member"), "1 member"}, {plural(int64(0), "member"), "0 members"}, {plural(uint64(2000), "query"), "2,000 queries"},
		{shorten("web01", 14), "web01"}, {shorten(hostPart("frontend-web-001.example.net"), 14), "fronte…web-001"}, {hostPart("10.0.0.5"), "10.0.0.5"},
		{few([]string{"a", "b"}, 1), "a, b"}, {few([]string{"a", "b", "c"}, 1), "a and 2 more"}, {few(nil, 1), ""},
	} {
		if test.got != test.want {
			t.Errorf("%q, want %q", test.got, test.want)
		}
	}
}

func TestPercent_StaysBetween0And100(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		part, whole int64
		want        float64
	}{{1, 3, 33.3}, {5, 0, 0}, {7, 5, 100}, {-1, 5, 0}} {
		if got := percent(test.part, test.whole); got != test.want {
			t.Errorf("%d of %d: %v, want %v", test.part, test.whole, got, test.want)
		}
	}
}
