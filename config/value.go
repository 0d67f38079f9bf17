package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
	tib = 1 << 40
)

// value is a field of a Config as text, which is what files and flags hold.
type value interface {
	// set parses text into the field. What is wrong with it is returned as a sentence; "" means that it was set.
	set(text string) (problem string)
	text() string    // what set would read back to the same value
	kind() string    // see Setting.Kind
	allowed() string // see Setting.Allowed
}

// none is how "no limit" and "never" are written. 0 is refused: it may as well mean "nobody" and "at once".
const none = "none"

// name is a node's or a cluster's name.
type name struct {
	to      *string
	max     int // bytes
	example string
}

const maxName = 253 // bytes of a node's, as of a host's

func nameRune(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(".-_", r))
}

func (v name) set(text string) string {
	switch {
	case text == "":
		return "The name is empty."
	case len(text) > v.max:
		return fmt.Sprintf("The name is %d bytes long.", len(text))
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return !nameRune(r) }); i >= 0 {
		r, _ := utf8.DecodeRuneInString(text[i:])
		if r == ' ' {
			return fmt.Sprintf("%q has a space in it.", text)
		}
		return fmt.Sprintf("%q has a %q in it.", text, r)
	}
	*v.to = text
	return ""
}
func (v name) text() string { return *v.to }
func (v name) kind() string { return "name" }
func (v name) allowed() string {
	return fmt.Sprintf("letters, digits, dots, dashes and underscores, at most %d, such as %q", v.max, v.example)
}

// userName is somebody's, or nothing.
type userName struct{ to *string }

func (v userName) set(text string) string {
	if text != "" {
		var checked string
		if problem := (name{&checked, 63, "operator"}).set(text); problem != "" {
			return problem
		}
	}
	*v.to = text
	return ""
}
func (v userName) text() string { return *v.to }
func (v userName) kind() string { return "name" }
func (v userName) allowed() string {
	return `letters, digits, dots, dashes and underscores, at most 63, such as "operator", or "" for none`
}

// address is where to listen: host:port.
type address struct {
	to      *string
	example string // the default
	onlyIP  bool   // no host's name: it may stand for several addresses
}

var hostPattern = regexp.MustCompile(`^[0-9A-Za-z_]([0-9A-Za-z_.-]*[0-9A-Za-z_])?$`)

func (v address) set(text string) string {
	rest := strings.TrimPrefix(text, "tcpip=") // copied from a web.config
	if _, after, ok := strings.Cut(rest, "://"); ok {
		rest = after
	}
	if rest != text {
		return fmt.Sprintf("%q is more than host and port. Did you mean %q?", text, strings.TrimRight(rest, "/"))
	}
	bare := text
	if strings.HasPrefix(text, "[") {
		bare = strings.TrimSuffix(text[1:], "]")
	}
	if ip, err := netip.ParseAddr(bare); err == nil && !strings.Contains(ip.Zone(), "]") || !strings.Contains(text, ":") {
		return fmt.Sprintf("%q has no port.", text) + bracketHint(text)
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return fmt.Sprintf("%q is not host:port.", text) + bracketHint(text)
	}
	if n, err := strconv.ParseUint(port, 10, 32); err != nil || n > 65535 {
		return fmt.Sprintf("The port of %q is not a number from 0 to 65535.", text)
	}
	if host == "" || host == "*" || host == "+" {
		return fmt.Sprintf("%q has no host. To listen on every address of this machine, write %q.", text, "0.0.0.0:"+port)
	}
	if !isHost(host) {
		return fmt.Sprintf("%q is neither an IP address nor a host's name.", host)
	}
	if _, err := netip.ParseAddr(host); err != nil && v.onlyIP {
		return fmt.Sprintf("%q is not an IP address.", host)
	}
	*v.to = text
	return ""
}

// isHost tells whether text is an IP address or may be a host's name.
func isHost(text string) bool {
	if ip, err := netip.ParseAddr(text); err == nil {
		return ip.Zone() == "" || hostPattern.MatchString(ip.Zone())
	}
	return hostPattern.MatchString(text) && strings.Trim(text, "0123456789.") != ""
}

// bracketHint helps with an IPv6 address without brackets, "::1:42424".
func bracketHint(text string) string {
	i := strings.LastIndex(text, ":")
	if i < 0 {
		return ""
	}
	if host, err := netip.ParseAddr(text[:i]); err == nil && host.Is6() {
		return fmt.Sprintf(" Did you mean \"[%s]:%s\"?", host, text[i+1:])
	}
	return ""
}

func (v address) text() string { return *v.to }
func (v address) kind() string {
	if v.onlyIP {
		return "ip:port"
	}
	return "host:port"
}
func (v address) allowed() string {
	_, port, _ := net.SplitHostPort(v.example)
	return fmt.Sprintf(v.kind()+", such as %q for this machine only, \"0.0.0.0:%s\" for every address of this machine, "+
		"or \"[::1]:%s\"; port 0 picks a free one", v.example, port, port)
}

// peerAddress is where others reach this node: ip:port, or nothing.
type peerAddress struct{ to *string }

func (v peerAddress) set(text string) string {
	if text != "" {
		var checked string
		if problem := (address{&checked, "10.0.0.5:42425", true}).set(text); problem != "" {
			return problem
		}
		at, err := netip.ParseAddrPort(checked)
		switch {
		case err == nil && at.Addr().IsUnspecified():
			return fmt.Sprintf("%q is no address that anybody can reach.", text)
		case err == nil && at.Port() == 0:
			return fmt.Sprintf("%q names no port.", text)
		}
	}
	*v.to = text
	return ""
}
func (v peerAddress) text() string { return *v.to }
func (v peerAddress) kind() string { return "ip:port" }
func (v peerAddress) allowed() string {
	return `ip:port, such as "10.0.0.5:42425", or "" for the address that it listens on`
}

// Hosts are other machines, each host or host:port.
type Hosts []string

// hosts is a list of them: in text with commas between, in the file also with each in quotes of its own.
type hosts struct {
	to    *Hosts
	names bool // that a machine goes by: no ports, and "*.example.com" stands for many
}

func (v hosts) set(text string) string {
	var all Hosts
	for one := range strings.SplitSeq(text, ",") {
		one = strings.TrimSpace(one)
		if one == "" {
			continue // a comma too many
		}
		problem := hostProblem(one)
		if v.names {
			problem = hostNameProblem(one)
		}
		if problem != "" {
			return problem
		}
		all = append(all, one)
	}
	*v.to = all
	return ""
}

func hostProblem(text string) string {
	if _, after, ok := strings.Cut(text, "://"); ok {
		return fmt.Sprintf("%q is more than host and port. Did you mean %q?", text, strings.TrimRight(after, "/"))
	}
	host := text
	if bare, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")); err == nil {
		host = bare.String()
	} else if strings.Contains(text, ":") {
		var port string
		var err error
		if host, port, err = net.SplitHostPort(text); err != nil {
			return fmt.Sprintf("%q is neither host nor host:port.", text) + bracketHint(text)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Sprintf("The port of %q is not a number from 1 to 65535.", text)
		}
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		return fmt.Sprintf("%q is no address that can be reached.", host)
	}
	if !isHost(host) {
		return fmt.Sprintf("%q is neither an IP address nor a host's name.", host)
	}
	return ""
}

func hostNameProblem(text string) string {
	if bare, _, err := net.SplitHostPort(text); err == nil {
		return fmt.Sprintf("%q has a port. Did you mean %q?", text, bare)
	}
	if !isHost(strings.TrimPrefix(text, "*.")) {
		return fmt.Sprintf("%q is not a host's name.", text)
	}
	return ""
}

func (v hosts) text() string { return strings.Join(*v.to, ",") }
func (v hosts) kind() string {
	if v.names {
		return "host"
	}
	return "host[:port]"
}
func (v hosts) allowed() string {
	if v.names {
		return `names of hosts without ports, such as ["web01.example.com", "*.example.net"]`
	}
	return `some of the other nodes, such as ["10.0.0.6:42425", "web03"]; without a port it is 42425`
}

// path is the name of a file or folder, or nothing. In the file it is meant from where the file is: see loader.decodeSetting.
type path struct {
	to      *string
	example string
}

func (v path) set(text string) string {
	if i := strings.IndexFunc(text, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }); i >= 0 {
		return fmt.Sprintf("%s has a character in it that no name has. For \\ in the file, write \\\\ or /.", quote(text))
	}
	*v.to = text
	return ""
}

// fromFolderOf makes the name one that is seen from the folder that file is in.
func (v path) fromFolderOf(file string) {
	if *v.to == "" || filepath.IsAbs(*v.to) {
		return
	}
	if abs, err := filepath.Abs(filepath.Join(filepath.Dir(file), *v.to)); err == nil {
		*v.to = abs
	}
}

func (v path) text() string { return *v.to }
func (v path) kind() string { return "path" }
func (v path) allowed() string {
	return fmt.Sprintf("a name, such as %q or \"C:/statemesh/%[1]s\"", v.example)
}

// truth is yes or no.
type truth struct{ to *bool }

func (v truth) set(text string) string {
	switch {
	case strings.EqualFold(text, "true"):
		*v.to = true
	case strings.EqualFold(text, "false"):
		*v.to = false
	default:
		return fmt.Sprintf("%q is not one of the choices.", text)
	}
	return ""
}
func (v truth) text() string    { return strconv.FormatBool(*v.to) }
func (v truth) kind() string    { return "true|false" }
func (v truth) allowed() string { return "true or false" }

// backups is there for files that say what is true anyway.
type backups struct{ to *int }

func (v backups) set(text string) string {
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return fmt.Sprintf("%q is not a whole number.", text)
	case n != 0:
		return "This version keeps no copies: a session is on one node only, and lost if that crashes."
	}
	*v.to = n
	return ""
}
func (v backups) text() string    { return strconv.Itoa(*v.to) }
func (v backups) kind() string    { return "number" }
func (v backups) allowed() string { return "0" }

// version is a .NET version as web servers are told it: major.minor.build.
type version struct{ to *string }

var versionPattern = regexp.MustCompile(`^(0|[1-9][0-9]{0,8})\.[0-9]{1,9}\.[0-9]{1,9}$`)

func (v version) set(text string) string {
	m := versionPattern.FindStringSubmatch(text)
	if m == nil {
		return fmt.Sprintf("%q is not three numbers with dots.", text)
	}
	if major, _ := strconv.Atoi(m[1]); major < 2 {
		return fmt.Sprintf("%q is below 2: web servers would refuse to talk to this node.", text)
	}
	*v.to = text
	return ""
}
func (v version) text() string { return *v.to }
func (v version) kind() string { return "version" }
func (v version) allowed() string {
	return `major.minor.build of a .NET version from 2.0 up, such as "4.0.30319" or "2.0.50727"`
}

// choice is one of a few words.
type choice struct {
	to     *string
	known  []string
	asKind string
}

func (v choice) set(text string) string {
	for _, k := range v.known {
		if strings.EqualFold(text, k) {
			*v.to = k
			return ""
		}
	}
	return fmt.Sprintf("%q is not one of the choices.", text) + didYouMean(text, v.known)
}
func (v choice) text() string    { return *v.to }
func (v choice) kind() string    { return v.asKind }
func (v choice) allowed() string { return list(v.known, "or", strconv.Quote) }

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
