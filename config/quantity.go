package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
	tib = 1 << 40
)

// size is a number of bytes.
type size struct {
	to       *int64
	min, max int64
	example  string
}

func (v size) set(text string) string {
	n, problem := parseSize(text, v.min, v.max)
	if problem == "" {
		*v.to = n
	}
	return problem
}
func (v size) text() string { return sizeText(*v.to) }
func (v size) kind() string { return "size" }
func (v size) allowed() string {
	return fmt.Sprintf("a size from %s to %s, such as %q", sizeText(v.min), sizeText(v.max), v.example)
}

func parseSize(text string, min, max int64) (n int64, problem string) {
	bytes, err := humanize.ParseBytes(strings.TrimSpace(text))
	unit := strings.TrimLeft(strings.TrimSpace(text), "0123456789.,")
	switch {
	case strings.HasSuffix(text, "%"):
		return 0, fmt.Sprintf("%q is a share of the machine's memory, not a size.", text)
	case err == nil && unit == "":
		return 0, fmt.Sprintf("%q has no unit, such as KiB, MiB or GiB.", text)
	case err != nil && !strings.HasPrefix(err.Error(), "too large"):
		return 0, fmt.Sprintf("%q is not a size.", text)
	case err != nil || bytes > uint64(max):
		return 0, fmt.Sprintf("%q is too much.", text)
	case bytes < uint64(min):
		return 0, fmt.Sprintf("%q is too little.", text)
	}
	return int64(bytes), ""
}

// sizeText writes n exactly, in the largest unit that allows it.
func sizeText(n int64) string {
	switch {
	case n >= tib && n%tib == 0:
		return fmt.Sprintf("%dTiB", n/tib)
	case n >= gib && n%gib == 0:
		return fmt.Sprintf("%dGiB", n/gib)
	case n >= mib && n%mib == 0:
		return fmt.Sprintf("%dMiB", n/mib)
	case n >= kib && n%kib == 0:
		return fmt.Sprintf("%dKiB", n/kib)
	}
	return fmt.Sprintf("%dB", n)
}

// memory is a size or a share of the machine's memory.
type memory struct {
	to       *Memory
	min, max int64
}

func (v memory) set(text string) string {
	share, isShare := strings.CutSuffix(strings.TrimSpace(text), "%")
	if !isShare {
		n, problem := parseSize(text, v.min, v.max)
		if problem == "" {
			*v.to = Memory{Bytes: n}
		}
		return problem
	}
	percent, err := strconv.Atoi(strings.TrimSpace(share))
	switch {
	case err != nil:
		return fmt.Sprintf("%q is not a whole number of percent.", text)
	case percent < 1 || percent > 100:
		return fmt.Sprintf("%q is out of range.", text)
	}
	*v.to = Memory{Percent: percent}
	return ""
}
func (v memory) text() string { return v.to.String() }
func (v memory) kind() string { return "size|percent" }
func (v memory) allowed() string {
	return fmt.Sprintf("a share of this machine's memory from 1%% to 100%%, such as \"75%%\", or a size from %s to %s, such as \"8GiB\"",
		sizeText(v.min), sizeText(v.max))
}

// count is a number of things. With orNone, 0 stands for no limit and is written "none".
type count struct {
	to       *int
	min, max int
	orNone   bool
}

func (v count) set(text string) string {
	if v.orNone && strings.EqualFold(text, none) {
		*v.to = 0
		return ""
	}
	n, err := strconv.Atoi(text)
	switch {
	case v.orNone && err == nil && n == 0:
		return "For no limit, write \"none\"."
	case err != nil:
		return fmt.Sprintf("%q is not a whole number.", text)
	case n < v.min || n > v.max:
		return fmt.Sprintf("%d is out of range.", n)
	}
	*v.to = n
	return ""
}
func (v count) text() string {
	if v.orNone && *v.to == 0 {
		return none
	}
	return strconv.Itoa(*v.to)
}
func (v count) kind() string { return "number" + kindNone(v.orNone) }
func (v count) allowed() string {
	return fmt.Sprintf("a number from %d to %d", v.min, v.max) + allowedNone(v.orNone, "no limit")
}

// duration is a length of time. With orNone, 0 stands for never and is written "none".
type duration struct {
	to       *time.Duration
	min, max time.Duration
	orNone   bool
}

func (v duration) set(text string) string {
	if v.orNone && strings.EqualFold(text, none) {
		*v.to = 0
		return ""
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		if v.orNone && n == 0 {
			return v.sayNone()
		}
		return fmt.Sprintf("%q has no unit: %s.", text, v.units())
	}
	d, err := time.ParseDuration(strings.ReplaceAll(text, " ", ""))
	switch {
	case err != nil:
		return fmt.Sprintf("%q is not a time.", text)
	case v.orNone && d == 0:
		return v.sayNone()
	case d < v.min:
		return fmt.Sprintf("%q is too short.", text)
	case d > v.max:
		return fmt.Sprintf("%q is too long.", text)
	}
	*v.to = d
	return ""
}
func (v duration) text() string {
	if v.orNone && *v.to == 0 {
		return none
	}
	return durationText(*v.to)
}
func (v duration) kind() string { return "time" + kindNone(v.orNone) }
func (v duration) allowed() string {
	such := `"30s", "2m" or "1h30m"`
	if v.short() {
		such = `"500ms" or "2s"`
	}
	return fmt.Sprintf("a time from %s to %s, such as %s", durationText(v.min), durationText(v.max), such) +
		allowedNone(v.orNone, v.meansNone())
}

func (v duration) meansNone() string {
	if v.short() {
		return "not at all"
	}
	return "never"
}

func (v duration) sayNone() string { return fmt.Sprintf("For %s, write %q.", v.meansNone(), none) }

// short tells whether it is of the order of a second.
func (v duration) short() bool { return v.min < time.Second }

func (v duration) units() string {
	if v.short() {
		return "ms for milliseconds or s for seconds"
	}
	return "s for seconds, m for minutes or h for hours"
}

// durationText is d.String() without the zeros that nobody writes: "2m", not "2m0s".
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func kindNone(orNone bool) string {
	if !orNone {
		return ""
	}
	return "|" + none
}

func allowedNone(orNone bool, meaning string) string {
	if !orNone {
		return ""
	}
	return fmt.Sprintf(", or %q for %s", none, meaning)
}
