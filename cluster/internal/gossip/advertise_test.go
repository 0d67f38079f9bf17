package gossip

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestAdvertise_IsNeverGuessed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, listen, advertise string
		seeds, own              []string
		want, err               string // err: parts, separated by |
	}{
		{name: "specific", listen: "10.0.0.5:42425", own: []string{"10.0.0.5/24", "10.1.0.5/24"}, want: "10.0.0.5"},
		{name: "configured", listen: "0.0.0.0:42425", advertise: "192.0.2.1:7", want: "192.0.2.1"},
		{name: "configured badly", listen: "0.0.0.0:42425", advertise: "web01:42425", err: "web01:42425"},
		{name: "configured unspecified", listen: "0.0.0.0:42425", advertise: "0.0.0.0:42425", err: "every address"},
		{name: "one", listen: "0.0.0.0:42425", own: []string{"127.0.0.1/8", "::1/128", "10.0.0.5/24", "fe80::1/64", "169.254.7.7/16", "2001:db8::5/64"}, want: "10.0.0.5"},
		{name: "two", listen: "0.0.0.0:42425", own: []string{"127.0.0.1/8", "10.0.0.5/24", "172.17.0.1/16"}, err: `10.0.0.5, 172.17.0.1|advertise = "10.0.0.5:42425"`},
		{name: "both families", listen: "[::]:42425", own: []string{"10.0.0.5/24", "2001:db8::5/64"}, err: "10.0.0.5, 2001:db8::5"},
		{name: "IPv6 only", listen: "[::]:42425", own: []string{"fe80::1/64", "2001:db8::5/64"}, want: "2001:db8::5"},
		{name: "the same twice", listen: "0.0.0.0:42425", own: []string{"10.0.0.5/24", "10.0.0.5/32"}, want: "10.0.0.5"},
		{name: "none", listen: "0.0.0.0:42425", own: []string{"127.0.0.1/8"}, err: "has none|advertise"},
		{name: "all here", listen: "0.0.0.0:42425", seeds: []string{"127.0.0.1:1", "localhost:2"}, own: []string{"127.0.0.1/8", "10.0.0.5/24"}, want: "127.0.0.1"},
		{name: "all here, IPv6", listen: "[::]:42425", seeds: []string{"[::1]:1"}, own: []string{"127.0.0.1/8", "::1/128", "10.0.0.5/24"}, want: "::1"},
		{name: "not all here", listen: "0.0.0.0:42425", seeds: []string{"127.0.0.1:1", "web02"}, own: []string{"127.0.0.1/8", "10.0.0.5/24"}, want: "10.0.0.5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			own := func() (addrs []net.Addr, err error) {
				for _, s := range c.own {
					ip, n, err := net.ParseCIDR(s)
					if err != nil {
						return nil, err
					}
					addrs = append(addrs, &net.IPNet{IP: ip, Mask: n.Mask})
				}
				return addrs, nil
			}
			got, err := advertised(netip.MustParseAddrPort(c.listen), c.advertise, c.seeds, own)
			if c.err == "" {
				if err != nil || got.String() != c.want {
					t.Errorf("got %v, %v, want %s", got, err, c.want)
				}
				return
			}
			if err == nil {
				t.Fatalf("got %v, want an error", got)
			}
			for _, part := range strings.Split(c.err, "|") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q lacks %q", err, part)
				}
			}
		})
	}
}

func TestSplitSeed(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][2]string{
		"web01":            {"web01", ""},
		"web01:7":          {"web01", "7"},
		"10.0.0.1":         {"10.0.0.1", ""},
		"10.0.0.1:7":       {"10.0.0.1", "7"},
		"2001:db8::5":      {"2001:db8::5", ""},
		"[2001:db8::5]":    {"2001:db8::5", ""},
		"[2001:db8::5]:7":  {"2001:db8::5", "7"},
		"farm.example:123": {"farm.example", "123"},
	} {
		if host, port := splitSeed(in); host != want[0] || port != want[1] {
			t.Errorf("%s: %q, %q, want %q", in, host, port, want)
		}
	}
}
