package gossip

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// advertised finds the address that others are told. It is never guessed: a node that tells the wrong one of its addresses joins, and then is
// taken for dead by those that cannot reach it.
func advertised(listen netip.AddrPort, advertise string, seeds []string, own func() ([]net.Addr, error)) (netip.Addr, error) {
	if advertise != "" {
		a, err := netip.ParseAddrPort(advertise)
		if err != nil {
			return netip.Addr{}, fmt.Errorf("advertise: %q is not ip:port", advertise)
		}
		if a.Addr().IsUnspecified() {
			return netip.Addr{}, fmt.Errorf("advertise: %s is every address, and nobody can connect to that", a.Addr())
		}
		return a.Addr().Unmap(), nil
	}
	if !listen.Addr().IsUnspecified() {
		return listen.Addr().Unmap(), nil
	}
	loopback := allLoopback(seeds)
	addrs, err := own()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list this machine's addresses: %w", err)
	}
	var candidates []netip.Addr
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		if !ok {
			continue
		}
		ip = ip.Unmap()
		switch {
		case listen.Addr().Is4() && !ip.Is4():
		case ip.IsLoopback() != loopback, ip.IsLinkLocalUnicast(), ip.IsMulticast():
		case slices.Contains(candidates, ip):
		default:
			candidates = append(candidates, ip)
		}
	}
	if loopback && len(candidates) > 1 { // 127.0.0.1 and ::1: the one that the seeds are on
		candidates = slices.DeleteFunc(candidates, func(ip netip.Addr) bool { return ip.Is4() != seedsAre4(seeds) })
	}
	switch len(candidates) {
	case 1:
		return candidates[0], nil
	case 0:
		return netip.Addr{}, fmt.Errorf("listening on all addresses (%s), and this machine has none that others could reach: "+
			"say which to use, with cluster { advertise = \"ip:port\" }", listen)
	}
	names := make([]string, len(candidates))
	for i, ip := range candidates {
		names[i] = ip.String()
	}
	return netip.Addr{}, fmt.Errorf("listening on all addresses (%s), and others could reach several of them: %s: "+
		"say which to use, with cluster { advertise = \"%s\" }", listen, strings.Join(names, ", "), netip.AddrPortFrom(candidates[0], listen.Port()))
}

// allLoopback tells whether the whole cluster is on this machine: there are seeds, and all are on loopback addresses.
func allLoopback(seeds []string) bool {
	for _, s := range seeds {
		host, _ := splitSeed(s)
		ip, err := netip.ParseAddr(host)
		if host != "localhost" && (err != nil || !ip.Unmap().IsLoopback()) {
			return false
		}
	}
	return len(seeds) > 0
}

func seedsAre4(seeds []string) bool {
	for _, s := range seeds {
		host, _ := splitSeed(s)
		if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().Is6() {
			return false
		}
	}
	return true
}

// splitSeed takes "host", "host:port", "ip", "ip:port", "ipv6" or "[ipv6]:port" apart. The port is "" if there is none.
func splitSeed(s string) (host, port string) {
	if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return ip.String(), ""
	}
	if h, p, err := net.SplitHostPort(s); err == nil {
		return h, p
	}
	return s, ""
}
