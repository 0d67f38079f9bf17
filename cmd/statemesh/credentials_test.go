package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"statemesh/service"
)

// guardedNode is a node whose status address asks for credentials, with the configuration file that says so.
type guardedNode struct {
	dir, addr, config string
	password, token   string
	admin, cert       string // files
}

func startGuarded(t *testing.T, https bool) guardedNode {
	t.Helper()
	n := guardedNode{dir: t.TempDir()}
	file := func(name, text string) string {
		path := filepath.Join(n.dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	n.password, n.token, n.admin = file("password", "the password of it\n"), file("token", "the token of a reader\n"), file("admin", "the token of the administrator\n")
	access := service.Access{Username: "ops", PasswordFile: n.password, TokenFile: n.token, AdminTokenFile: n.admin}
	if https {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			DNSNames: []string{"web01.example.com"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		keyDER, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		n.cert = file("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
		access.CertFile, access.KeyFile = n.cert, file("cert.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	}
	s, err := service.New(service.Options{NodeName: "web01", StateAddr: "127.0.0.1:0", StatusAddr: "127.0.0.1:0", Status: access, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.addr = s.Addrs().Status
	settings := fmt.Sprintf("  listen           = %q\n  username         = \"ops\"\n  password_file    = \"password\"\n  token_file       = \"token\"\n  admin_token_file = \"admin\"\n", n.addr)
	if https {
		settings += "  cert_file = \"cert.pem\"\n  key_file  = \"cert.key\"\n"
	}
	n.config = file("statemesh.hcl", "status {\n"+settings+"}\n")
	return n
}

func TestAsk_ShowsCredentials(t *testing.T) {
	t.Parallel()
	n := startGuarded(t, false)
	short := filepath.Join(n.dir, "short")
	if err := os.WriteFile(short, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	const alone = "this node runs alone" // which a drain is told only if it may be
	for _, test := range []struct {
		args   string
		status int
		want   string
	}{
		{"status --status-addr ADDR", exitFailed, "refuses: that takes a name and password, or a token: name it with --token-file"},
		{"status --status-addr ADDR --token-file DIR/token", exitDone, "web01, statemesh"},
		{"members --status-addr ADDR --token-file DIR/admin", exitDone, "web01"},
		{"status --status-addr ADDR --user ops --password-file DIR/password", exitDone, "web01, statemesh"},
		{"status --status-addr ADDR --user root --password-file DIR/password", exitFailed, "what was shown is something else"},
		{"status --status-addr ADDR --user ops", exitUsage, "a name needs a password: --password-file FILE, or STATEMESH_PASSWORD"},
		{"status --status-addr ADDR --token-file DIR/none", exitUsage, "the token: open "},
		{"status --status-addr ADDR --token-file DIR/short", exitUsage, "shorter than 12 characters"},
		{"status --config DIR/statemesh.hcl", exitDone, "web01, statemesh"},
		{"drain --status-addr ADDR --token-file DIR/token", exitFailed, "refuses: that takes the administrator's token: what was shown is something else"},
		{"drain --status-addr ADDR --token-file DIR/admin", exitFailed, alone},
		{"drain --config DIR/statemesh.hcl", exitFailed, alone},
		{"drain --config DIR/statemesh.hcl --token-file DIR/token", exitFailed, "that takes the administrator's token"},
		{"status --status-addr https://ADDR --token-file DIR/token", exitFailed, "no node answers"},
	} {
		args := strings.NewReplacer("ADDR", n.addr, "DIR", n.dir).Replace(test.args)
		status, stdout, stderr := runHere(strings.Fields(args)...)
		if status != test.status || !strings.Contains(stdout+stderr, test.want) {
			t.Errorf("%s: status %d, %s%s; want %d, %q", test.args, status, stdout, stderr, test.status, test.want)
		}
		if strings.Contains(stdout+stderr, "hunter2") {
			t.Errorf("%s: shows a secret: %s", test.args, stderr)
		}
	}
}

// What the environment says holds if no flag says otherwise, and before the node's own configuration. Not parallel: it is the process's.
func TestAsk_TakesCredentialsFromTheEnvironment(t *testing.T) {
	n := startGuarded(t, false)
	for _, test := range []struct {
		env    map[string]string
		args   []string
		status int
	}{
		{map[string]string{envToken: "the token of a reader"}, nil, exitDone},
		{map[string]string{envToken: "another token of it"}, nil, exitFailed},
		{map[string]string{envToken: "another token of it"}, []string{"--token-file", n.token}, exitDone},
		{map[string]string{envToken: "another token of it"}, []string{"--config", n.config}, exitFailed},
		{map[string]string{envTokenFile: n.token}, nil, exitDone},
		{map[string]string{envUser: "ops", envPassword: "the password of it"}, nil, exitDone},
		{map[string]string{envUser: "ops", envPasswordFile: n.password}, nil, exitDone},
		{map[string]string{envUser: "ops"}, nil, exitUsage},
		{map[string]string{envPassword: "the password of it"}, []string{"--user", "ops"}, exitDone},
	} {
		t.Run("", func(t *testing.T) {
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			status, _, stderr := runHere(append([]string{"status", "--status-addr", n.addr}, test.args...)...)
			if status != test.status {
				t.Errorf("%v %v: status %d, %s", test.env, test.args, status, stderr)
			}
		})
	}
}

func TestAsk_ByHTTPS(t *testing.T) {
	t.Parallel()
	n, other := startGuarded(t, true), startGuarded(t, true)
	for _, test := range []struct {
		args   string
		status int
		want   string
	}{
		{"status --status-addr https://ADDR/ --ca-file DIR/cert.pem --token-file DIR/token", exitDone, "web01, statemesh"},
		{"status --status-addr ADDR --ca-file DIR/cert.pem --token-file DIR/token", exitDone, "web01, statemesh"},
		{"status --status-addr ADDR --insecure --token-file DIR/token", exitDone, "web01, statemesh"},
		{"status --status-addr https://ADDR --token-file DIR/token", exitFailed, "is not trusted: name its CA with --ca-file"},
		{"status --status-addr ADDR --ca-file OTHER/cert.pem --token-file DIR/token", exitFailed, "is not trusted"},
		{"status --status-addr ADDR --ca-file DIR/token", exitUsage, "holds no certificate"},
		{"status --status-addr ADDR --ca-file DIR/none", exitUsage, "the CA's certificates: "},
		{"status --status-addr ADDR --token-file DIR/token", exitFailed, "is not a node's status address"},
		{"status --config DIR/statemesh.hcl", exitDone, "web01, statemesh"},
		{"members --config OTHER/statemesh.hcl --status-addr ADDR --token-file DIR/token", exitFailed, "it is not the one that the configuration names"},
	} {
		args := strings.NewReplacer("ADDR", n.addr, "DIR", n.dir, "OTHER", other.dir).Replace(test.args)
		status, stdout, stderr := runHere(strings.Fields(args)...)
		if status != test.status || !strings.Contains(stdout+stderr, test.want) {
			t.Errorf("%s: status %d, %s%s; want %d, %q", test.args, status, stdout, stderr, test.status, test.want)
		}
	}
}
