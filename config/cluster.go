package config

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/hashicorp/hcl/v2"
)

// makeKey is what an operator without a key is told to do.
const makeKey = "Make one, on one node, with: statemesh keygen > cluster.key. Copy the file to every node of the cluster and name it in key_file."

// checkCluster finds settings of the cluster that are right one by one and make no sense together. Each is a mistake and not a
// warning, because the node would run and only seem to be what its operator wants.
func (l *loader) checkCluster(c *Config) {
	if !c.Clustered() {
		l.checkAlone(c)
		return
	}
	switch {
	case c.Cluster.KeyFile == "" && !c.Cluster.InsecurePlaintext:
		l.add(l.place("cluster.join"), "No key for the cluster",
			l.called("cluster.join")+" needs the cluster's key, by which its nodes know each other and encrypt what they say. "+makeKey+
				" In a network in which nobody else is, insecure_plaintext = true does without.")
	case c.Cluster.KeyFile != "" && c.Cluster.InsecurePlaintext:
		l.add(l.place("cluster.insecure_plaintext"), "A key, and no encryption",
			fmt.Sprintf("%s names a key and %s wants none to be used: leave out one of them.",
				l.called("cluster.key_file"), l.called("cluster.insecure_plaintext")))
	}
	l.checkCertificates(c)
	l.checkReach(c)
}

// checkCertificates finds certificates of the operator's own that are not complete, or stand alone.
func (l *loader) checkCertificates(c *Config) {
	given, missing := "", ""
	for _, f := range []struct{ name, value string }{
		{"cluster.ca_file", c.Cluster.CAFile}, {"cluster.cert_file", c.Cluster.CertFile}, {"cluster.cert_key_file", c.Cluster.CertKeyFile},
		{"cluster.key_file", c.Cluster.KeyFile},
	} {
		if f.value == "" {
			missing = f.name
		} else if f.name != "cluster.key_file" {
			given = f.name
		}
	}
	if given != "" && missing != "" {
		l.add(l.place(given), "Certificates are not complete",
			fmt.Sprintf("%s is for nodes that prove who they are by certificates of your own: that takes ca_file, cert_file and cert_key_file, and "+
				"key_file all the same, which encrypts the news of who is there. %s is missing.", l.called(given), l.called(missing)))
	}
}

// checkAlone finds settings that are for a cluster, in a node that would be in none.
func (l *loader) checkAlone(c *Config) {
	defaults := Default().Settings()
	for i, s := range l.settings {
		if s.Block == "cluster" && s.Value() != defaults[i].Value() {
			l.add(l.place(s.Path()), "This node would run alone",
				fmt.Sprintf("%s is for a node in a cluster, and what makes it one is its key. %s", l.called(s.Path()), makeKey))
			return // once says it
		}
	}
}

// checkReach finds a node that is to work with other machines and listens where they cannot reach it: the defaults are for this machine only.
func (l *loader) checkReach(c *Config) {
	elsewhere := ""
	for _, h := range c.Cluster.Join {
		host := h
		if split, _, err := net.SplitHostPort(h); err == nil {
			host = split
		}
		if ip, err := netip.ParseAddr(host); err == nil && !ip.IsLoopback() {
			elsewhere = h
			break
		}
	}
	why := fmt.Sprintf("%s is on another machine", elsewhere)
	if elsewhere == "" && !onLoopback(c.Cluster.Listen) {
		why = fmt.Sprintf("%s is where other machines reach it", l.called("cluster.listen"))
	} else if elsewhere == "" {
		return
	}
	for _, own := range []struct{ path, value string }{{"cluster.listen", c.Cluster.Listen}, {"cluster.transfer", c.Cluster.Transfer}} {
		if onLoopback(own.value) {
			_, port, _ := net.SplitHostPort(own.value)
			l.add(l.place(own.path), "Other nodes cannot reach this one",
				fmt.Sprintf("%s, but %s is %s, which only this machine can reach. Give it this machine's own address, such as \"10.0.0.5:%s\".",
					why, l.called(own.path), own.value, port))
		}
	}
}

func onLoopback(address string) bool {
	at, err := netip.ParseAddrPort(address)
	return err == nil && at.Addr().IsLoopback()
}

// place is where a setting was set in the file; nil if that was not there.
func (l *loader) place(path string) *hcl.Range { return l.setAt[path].at }

// called is what the operator called a setting: by its flag if that was used.
func (l *loader) called(path string) string {
	if flag := l.setAt[path].flag; flag != "" {
		return "--" + flag
	}
	return path
}
