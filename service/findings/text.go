package findings

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// list joins names as people do: "web01, web02 and web03".
func list(names []string) string {
	switch n := len(names); n {
	case 0:
		return ""
	case 1:
		return names[0]
	default:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
}

// few is list, of the first few only.
func few(names []string, n int) string {
	if len(names) <= n {
		return list(names)
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:n], ", "), len(names)-n)
}

// maxExamples are shown of many.
const maxExamples = 5

// examples says the first few of many, a line each, and how many there are besides.
func examples[T any](all []T, say func(T) string) (lines []string) {
	for _, one := range all[:min(len(all), maxExamples)] {
		lines = append(lines, say(one))
	}
	if more := len(all) - maxExamples; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}

func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return humanize.Comma(n) + " " + many
}

func bytes(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// length is how long something is or was, in two units at most: "3 min 12 s".
func length(d time.Duration) string {
	switch d = d.Truncate(time.Second); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// clock is a time of day, or of an earlier day that and no seconds.
func (l *look) clock(t time.Time) string {
	t, now := t.Local(), l.Now.Local()
	if t.YearDay() != now.YearDay() || t.Year() != now.Year() {
		return t.Format("2 Jan 15:04")
	}
	return t.Format("15:04:05")
}

var numbers = [...]string{"no", "one", "two", "three", "four", "five", "six"}

func number(n int) string {
	if n < len(numbers) {
		return numbers[n]
	}
	return fmt.Sprint(n)
}

// application names an application in a sentence.
func application(path string) string {
	if path == "" {
		return "an application without an ASP.NET id"
	}
	return path
}
