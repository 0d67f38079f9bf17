package page

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// Numbers as people read them. The page has no other ways of writing them.

// count writes a whole number: "1,204,311".
func count(n any) string {
	switch n := n.(type) {
	case int:
		return humanize.Comma(int64(n))
	case int64:
		return humanize.Comma(n)
	case uint64:
		return humanize.Comma(int64(min(n, math.MaxInt64)))
	}
	return fmt.Sprint(n)
}

// bytesText writes a size in the units in which max_memory is set: "812 B", "2.3 GiB", "38 MiB".
func bytesText(n any) string {
	var size float64
	switch n := n.(type) {
	case int64:
		size = float64(n)
	case uint64:
		size = float64(n)
	}
	if size < 1024 {
		return strconv.FormatFloat(max(size, 0), 'f', 0, 64) + " B"
	}
	unit := ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB"} {
		if size /= 1024; size < 1023.5 {
			break
		}
	}
	if size < 9.95 {
		return strconv.FormatFloat(size, 'f', 1, 64) + " " + unit
	}
	return humanize.Comma(int64(math.Round(size))) + " " + unit
}

// rate writes how many a second: "2,431", "0.4".
func rate(perSecond float64) string {
	switch {
	case perSecond <= 0:
		return "0"
	case perSecond < 0.05:
		return "<0.1"
	case perSecond < 9.95:
		return strconv.FormatFloat(perSecond, 'f', 1, 64)
	}
	return humanize.Comma(int64(math.Round(perSecond)))
}

// latency writes a short time, given in seconds: "0.41 ms", "38 ms", "1.2 s"; "–" for 0, which is none.
func latency(s float64) string {
	switch ms := s * 1000; {
	case ms <= 0:
		return "–"
	case ms < 0.995:
		return strconv.FormatFloat(max(ms, 0.01), 'f', 2, 64) + " ms"
	case ms < 9.95:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	case ms < 999.5:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	}
	return strconv.FormatFloat(s, 'f', 1, 64) + " s"
}

// took writes how long something took, given in seconds.
func took(s float64) string {
	if s < 60 {
		return latency(s)
	}
	return span(seconds(s))
}

// span writes how long: "42 s", "3 min", "3 h 12 min", "4 d 7 h".
func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d d %d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// seconds is a duration of a document.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// justNow is not worth a number.
const justNow = 2 * time.Second

// ago writes how long it has been: "3 min ago".
func ago(since time.Duration) string {
	switch {
	case since < justNow:
		return "just now"
	case since < time.Hour:
		return span(since) + " ago"
	case since < 24*time.Hour:
		return fmt.Sprintf("%d h ago", since/time.Hour)
	}
	return fmt.Sprintf("%d d ago", since/(24*time.Hour))
}

// percent is part of whole, 0 to 100.
func percent(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return math.Round(min(max(float64(part)/float64(whole), 0), 1)*1000) / 10
}

// clock is a time of day at the node; stamp is what machines read.
func clock(t time.Time) string { return t.Local().Format("15:04:05") }
func stamp(t time.Time) string { return t.Local().Format(time.RFC3339) }

// clockOrDay is the time of day, or of an earlier day that and no seconds: "20 Nov 18:58".
func clockOrDay(t, now time.Time) string {
	if t, now := t.Local(), now.Local(); t.YearDay() != now.YearDay() || t.Year() != now.Year() {
		return t.Format("2 Jan 15:04")
	}
	return clock(t)
}

// plural writes how many of something: "1 member", "3 members".
func plural(n any, word string) string {
	switch text := count(n); {
	case text == "1":
		return text + " " + word
	case strings.HasSuffix(word, "y"):
		return text + " " + strings.TrimSuffix(word, "y") + "ies"
	default:
		return text + " " + word + "s"
	}
}

// piece is a part of a sentence; what stood between backticks is to be typed.
type piece struct {
	Text string
	Code bool
}

func pieces(sentence string) (all []piece) {
	for i, text := range strings.Split(sentence, "`") {
		if text != "" {
			all = append(all, piece{text, i%2 == 1})
		}
	}
	return all
}
