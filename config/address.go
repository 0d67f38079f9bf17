package config

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

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
