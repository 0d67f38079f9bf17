package service_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf16"

	"github.com/hashicorp/go-hclog"

	"statemesh/service"
	"statemesh/service/api"
)

const (
	password   = "correct horse battery"
	token      = "dG9rZW4tdG9rZW4tdG9rZW4="
	adminToken = "YWRtaW4tYWRtaW4tYWRtaW4="
)

// secretFile writes what the operator keeps in a file.
func secretFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// asked is a request to the status address as it arrives there.
type asked struct {
	local, from, host    string
	site, origin         string // of the page that a browser sends it for
	user, pass, bearer   string
	method, path, accept string
	proxied              bool
}

// to sends it to a node, and returns the answer's status.
func (a asked) to(t *testing.T, n *node) *httptest.ResponseRecorder {
	t.Helper()
	local, err := net.ResolveTCPAddr("tcp", a.local)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(a.method, a.path, nil)
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(local)))
	r.RemoteAddr, r.Host = a.from, a.host
	for name, value := range map[string]string{"Sec-Fetch-Site": a.site, "Origin": a.origin, "Accept": a.accept} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	if a.pass != "" {
		r.SetBasicAuth(a.user, a.pass)
	}
	if a.bearer != "" {
		r.Header.Set("Authorization", "Bearer "+a.bearer)
	}
	if a.proxied {
		r.Header.Set("X-Forwarded-For", "203.0.113.9")
	}
	rec := httptest.NewRecorder()
	n.StatusHandler().ServeHTTP(rec, r)
	return rec
}

// may says what of a request must become. A node alone answers 409 to who may have its keys read again.
type may int

const (
	nothing may = iota
	read
	change
)

func TestGuard_WithoutCredentials(t *testing.T) {
	t.Parallel()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t, func(o *service.Options) { o.Status.AllowedHosts = []string{"State.example.com", "*.farm.example"} })
	const loop, lan, other = "127.0.0.1:42480", "10.0.0.5:42480", "10.0.0.6:5"
	for _, test := range []struct {
		name string
		asked
		may may
	}{
		{"a command on this machine", asked{local: loop, from: "127.0.0.1:5", host: loop}, change},
		{"by name", asked{local: loop, from: "127.0.0.1:5", host: "localhost:42480"}, change},
		{"by a name with a dot behind", asked{local: loop, from: "127.0.0.1:5", host: "localhost.:42480"}, change},
		{"by the machine's name", asked{local: loop, from: "127.0.0.1:5", host: host + ":42480"}, change},
		{"by the machine's name in capitals, no port", asked{local: loop, from: "127.0.0.1:5", host: strings.ToUpper(host)}, change},
		{"over IPv6", asked{local: "[::1]:42480", from: "[::1]:5", host: "[::1]:42480"}, change},
		{"a page whose name was made to point here", asked{local: loop, from: "127.0.0.1:5", host: "evil.example:42480"}, nothing},
		{"the same on an address of its own", asked{local: lan, from: "10.0.0.5:5", host: "evil.example:42480"}, nothing},
		{"the same in a browser elsewhere", asked{local: lan, from: other, host: "evil.example:42480"}, nothing},
		{"without a name", asked{local: loop, from: "127.0.0.1:5", host: ""}, nothing},
		{"this machine by its own address", asked{local: lan, from: "10.0.0.5:5", host: lan}, change},
		{"another machine", asked{local: lan, from: other, host: lan}, read},
		{"another machine by a name that is allowed", asked{local: lan, from: other, host: "state.EXAMPLE.com:42480"}, read},
		{"by one of many names", asked{local: lan, from: other, host: "web05.farm.example"}, read},
		{"by what the many are below", asked{local: lan, from: other, host: "farm.example"}, nothing},
		{"by what only ends alike", asked{local: lan, from: other, host: "evilfarm.example"}, nothing},
		{"by nothing below", asked{local: lan, from: other, host: ".farm.example"}, nothing},
		{"a token that nobody wants", asked{local: lan, from: other, host: lan, bearer: token}, read},
		{"the same by a strange name", asked{local: lan, from: other, host: "evil.example", bearer: token}, nothing},
		{"through a proxy on this machine", asked{local: loop, from: "127.0.0.1:5", host: loop, proxied: true}, read},
		{"a page of another origin", asked{local: loop, from: "127.0.0.1:5", host: loop, site: "cross-site"}, read},
		{"a page of this machine's other port", asked{local: loop, from: "127.0.0.1:5", host: loop, site: "same-site"}, read},
		{"the same in an old browser", asked{local: loop, from: "127.0.0.1:5", host: loop, origin: "http://evil.example"}, read},
		{"our own page", asked{local: loop, from: "127.0.0.1:5", host: loop, site: "same-origin"}, change},
		{"our own page in an old browser", asked{local: loop, from: "127.0.0.1:5", host: loop, origin: "http://" + loop}, change},
	} {
		test.check(t, n, test.name, test.may, http.StatusForbidden, http.StatusForbidden)
	}
}

// check asks for what may be read, and for what changes something.
func (a asked) check(t *testing.T, n *node, name string, may may, unreadable, unchangeable int) {
	t.Helper()
	want := func(method, path string, want int) {
		t.Helper()
		a.method, a.path = method, path
		if rec := a.to(t, n); rec.Code != want {
			t.Errorf("%s, %s %s: got %d %s, want %d", name, method, path, rec.Code, rec.Body, want)
		}
	}
	readable, changeable := unreadable, unchangeable
	if may >= read {
		readable = http.StatusOK
	}
	if may == change {
		changeable = http.StatusConflict
	}
	want("GET", "/api/v1/status", readable)
	want("HEAD", "/api/v1/members", readable)
	want("GET", "/metrics", readable)
	want("GET", "/", readable)
	want("POST", "/api/v1/keys/reload", changeable)
	want("POST", "/api/v1/drain", changeable)
	want("GET", "/healthz", http.StatusOK)
	want("GET", "/readyz", http.StatusOK)
}

// Every combination of what may be set with what may be shown, from this machine and from another.
func TestGuard_WithCredentials(t *testing.T) {
	t.Parallel()
	shown := map[string]func(*asked){
		"nothing":                  func(*asked) {},
		"name and password":        func(a *asked) { a.user, a.pass = "ops", password },
		"another name":             func(a *asked) { a.user, a.pass = "root", password },
		"no name":                  func(a *asked) { a.pass = password },
		"a wrong password":         func(a *asked) { a.user, a.pass = "ops", password+"!" },
		"the password as a token":  func(a *asked) { a.bearer = password },
		"token":                    func(a *asked) { a.bearer = token },
		"token as a password":      func(a *asked) { a.user, a.pass = "anybody", token },
		"a wrong token":            func(a *asked) { a.bearer = token[1:] },
		"an empty token":           func(a *asked) { a.bearer = " " },
		"admin token":              func(a *asked) { a.bearer = adminToken },
		"admin token in a browser": func(a *asked) { a.user, a.pass, a.site = "admin", adminToken, "same-origin" },
	}
	for set := range 8 {
		withPassword, withToken, withAdmin := set&1 != 0, set&2 != 0, set&4 != 0
		n := newNode(t, func(o *service.Options) {
			if withPassword {
				o.Status.Username, o.Status.PasswordFile = "ops", secretFile(t, password+"\n")
			}
			if withToken {
				o.Status.TokenFile = secretFile(t, token)
			}
			if withAdmin {
				o.Status.AdminTokenFile = secretFile(t, adminToken+"\r\n")
			}
		})
		for name, show := range shown {
			for _, here := range []bool{true, false} {
				isAdmin := withAdmin && strings.HasPrefix(name, "admin token")
				isReader := isAdmin || withPassword && name == "name and password" || withToken && (name == "token" || name == "token as a password")
				a := asked{local: "10.0.0.5:42480", from: "10.0.0.6:5", host: "10.0.0.5:42480"}
				if here {
					a.from = "127.0.0.1:5"
				}
				show(&a)

				may, unreadable, unchangeable := nothing, http.StatusUnauthorized, http.StatusUnauthorized
				if isReader || !withPassword && !withToken {
					may, unchangeable = read, http.StatusForbidden
				}
				if withAdmin {
					unchangeable = http.StatusUnauthorized
				}
				if withAdmin && isAdmin || !withAdmin && here && may == read {
					may = change
				}
				a.check(t, n, strings.Join([]string{map[bool]string{true: "here"}[here], "set", string(rune('0' + set)), name}, " "), may, unreadable, unchangeable)
			}
		}
	}
}

func TestGuard_ATokenProvesMoreThanAName(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(o *service.Options) {
		o.Status.TokenFile, o.Status.AdminTokenFile = secretFile(t, token), secretFile(t, adminToken)
	})
	a := asked{local: "10.0.0.5:42480", from: "10.0.0.6:5", host: "web05.example:42480", bearer: token}
	a.check(t, n, "Prometheus by a name", read, 0, http.StatusUnauthorized)
	a.bearer = adminToken
	a.check(t, n, "an administrator by a name", change, 0, 0)
	a.origin = "http://evil.example" // which no program sends
	a.check(t, n, "an administrator on a strange page", read, 0, http.StatusForbidden)
	a.origin, a.bearer, a.user, a.pass = "", "", "x", token // which a browser sends to whatever name
	a.check(t, n, "a browser by a strange name", nothing, http.StatusForbidden, http.StatusForbidden)
}

func TestGuard_AsksBrowsersForAPassword(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(o *service.Options) {
		o.Status.Username, o.Status.PasswordFile = "ops", secretFile(t, password)
	})
	a := asked{local: "10.0.0.5:42480", from: "10.0.0.6:5", host: "10.0.0.5:42480", method: "GET", path: "/", accept: "text/html,*/*"}
	rec := a.to(t, n)
	if got := rec.Header().Values("WWW-Authenticate"); rec.Code != 401 || len(got) != 2 || !strings.HasPrefix(got[0], "Basic realm=") {
		t.Errorf("%d %q", rec.Code, got)
	}
	if got := rec.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/html") || rec.Header().Get("X-Content-Type-Options") != "nosniff" ||
		!strings.Contains(rec.Body.String(), "name and password, or a token") {
		t.Errorf("%v %s", rec.Header(), rec.Body)
	}
	a.accept = ""
	var p api.Problem
	if rec := a.to(t, n); json.Unmarshal(rec.Body.Bytes(), &p) != nil || p.Problem != "that takes a name and password, or a token" {
		t.Errorf("%s", rec.Body)
	}
	n.log.want(t, "wrong credentials", 0)
	a.user, a.pass = "ops", "a guess at it"
	for range 2 {
		a.to(t, n)
	}
	a.accept = "text/html"
	if text := a.to(t, n).Body.String(); !strings.Contains(text, "That takes a name and password, or a token: what was shown is something else.") {
		t.Errorf("of a wrong password, a person reads %s", text)
	}
	a.accept = ""
	n.log.want(t, `[WARN]  service: refused somebody at the status address: wrong credentials: addr=10.0.0.6:5`, 1)
	if n.log.has("guess") {
		t.Error("the log shows a password")
	}
	a.user, a.pass, a.path = "ops", password, "/metrics"
	if text := a.to(t, n).Body.String(); !strings.Contains(text, `statemesh_status_refused_total{reason="credentials"} 5`) {
		t.Error("5 were refused for their credentials")
	}
}

// The page that refuses somebody is one that can be read: its style is for everybody, and nothing else is.
func TestGuard_ARefusalHasItsStyle(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(o *service.Options) { o.Status.TokenFile = secretFile(t, token) })
	for name, a := range map[string]asked{
		"without a token": {local: "10.0.0.5:42480", from: "10.0.0.6:5", host: "10.0.0.5:42480"},
		"by a wrong name": {local: "127.0.0.1:42480", from: "127.0.0.1:5", host: "evil.example"},
	} {
		a.method, a.path, a.accept = "GET", "/", "text/html"
		rec := a.to(t, n)
		if rec.Code/100 != 4 || !strings.Contains(rec.Body.String(), "<h1>Access refused</h1>") {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
		found := regexp.MustCompile(`/assets/[^"]+`).FindAllString(rec.Body.String(), -1)
		if len(found) < 2 {
			t.Errorf("%s: the page has %q", name, found)
		}
		for _, a.path = range found {
			if rec := a.to(t, n); rec.Code != 200 || rec.Body.Len() == 0 {
				t.Errorf("%s: %s: %d", name, a.path, rec.Code)
			}
		}
		for _, a.path = range []string{"/assets/", "/assets/page.css", "/assets/../api/v1/status", "/assets/..%2fapi%2fv1%2fstatus", "//api/v1/status", found[0] + "/../../metrics"} {
			if rec := a.to(t, n); rec.Code/100 != 4 {
				t.Errorf("%s: %s: %d", name, a.path, rec.Code)
			}
		}
		a.method, a.path = "POST", found[0]
		if rec := a.to(t, n); rec.Code/100 != 4 {
			t.Errorf("%s: POST %s: %d", name, a.path, rec.Code)
		}
	}
}

// Who tries out passwords does not try many. A program with an old token is no such, and nobody else is kept out.
func TestGuard_HoldsBackWhoGuesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, func(o *service.Options) {
			o.Status.Username, o.Status.PasswordFile = "ops", secretFile(t, password)
		})
		shows := func(from, pass string, want int) {
			t.Helper()
			a := asked{local: "10.0.0.5:42480", from: from, host: "10.0.0.5:42480", method: "GET", path: "/api/v1/status", user: "ops", pass: pass}
			if rec := a.to(t, n); rec.Code != want || (rec.Header().Get("Retry-After") != "") != (want == 429) {
				t.Errorf("%s shows %q: %d %v, want %d", from, pass, rec.Code, rec.Header(), want)
			}
		}
		time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute))) // of which there is all left
		for range 100 {
			shows("10.0.0.6:5", "an old password", 401)
			shows("[2001:db8::6]:5", "an old password", 401)
		}
		for i := range 19 {
			shows("10.0.0.6:5", fmt.Sprint("guess ", i), 401)
			shows("[2001:db8::6]:5", fmt.Sprint("guess ", i), 401)
			shows("127.0.0.1:5", fmt.Sprint("guess ", i), 401)
		}
		shows("10.0.0.6:6", "guess 19", 429)
		shows("10.0.0.6:6", password, 429)
		shows("[2001:db8::7]:6", password, 429)
		shows("10.0.0.7:5", password, 200)
		shows("127.0.0.1:5", "guess 20", 401)
		shows("127.0.0.1:5", password, 200)
		time.Sleep(time.Minute)
		shows("10.0.0.6:7", password, 200)
	})
}

// Who changes a password writes its file. A file that cannot be used, or is taken away, opens nothing.
func TestGuard_ReadsItsFilesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := secretFile(t, token)
		n := newNode(t, func(o *service.Options) { o.Status.TokenFile = path })
		may := func(shown string) bool {
			a := asked{local: "10.0.0.5:42480", from: "10.0.0.6:5", host: "10.0.0.5:42480", method: "GET", path: "/api/v1/status", bearer: shown}
			return a.to(t, n).Code == 200
		}
		becomes := func(text string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if !may(token) || may(adminToken) {
			t.Fatal("at first the token is another")
		}
		becomes(adminToken + "\n")
		if may(token) || !may(adminToken) {
			t.Error("the token is not the new one")
		}
		n.log.want(t, "the status address has new passwords or tokens", 1)
		becomes("short")
		if may("short") || !may(adminToken) {
			t.Error("with a file that cannot be used, the token is not the one before")
		}
		n.log.want(t, "[WARN]  service: the status address keeps its passwords and tokens", 1)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if may("") || may(token) || !may(adminToken) {
			t.Error("without the file, the token is not the one before")
		}
		becomes(token)
		if !may(token) || may(adminToken) {
			t.Error("when the file is back, it counts for nothing")
		}
	})
}

func TestGuard_SaysWhatIsWrongWithItsFiles(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		access service.Access
		want   string
	}{
		"missing":            {service.Access{TokenFile: filepath.Join(t.TempDir(), "none")}, "token_file: open "},
		"a folder":           {service.Access{TokenFile: t.TempDir()}, "token_file: read "},
		"empty":              {service.Access{AdminTokenFile: secretFile(t, " \n")}, "admin_token_file: "},
		"short":              {service.Access{TokenFile: secretFile(t, "hunter2")}, "shorter than 12 characters"},
		"two lines":          {service.Access{TokenFile: secretFile(t, token+"\n"+adminToken)}, "more than one line"},
		"large":              {service.Access{TokenFile: secretFile(t, strings.Repeat("x", 5000))}, "larger than 4 KiB"},
		"no text":            {service.Access{TokenFile: secretFile(t, token+"\x00")}, "not text"},
		"half a pair":        {service.Access{Username: "ops"}, "username and password_file belong together"},
		"the other half":     {service.Access{PasswordFile: secretFile(t, password)}, "username and password_file belong together"},
		"one for two":        {service.Access{TokenFile: secretFile(t, token), AdminTokenFile: secretFile(t, token+"\n")}, "admin_token_file: the same as token_file"},
		"no certificate":     {service.Access{CertFile: "none.pem", KeyFile: "none.key"}, "cert_file: "},
		"half of it":         {service.Access{KeyFile: "none.key"}, "cert_file and key_file belong together"},
		"no PEM":             {service.Access{CertFile: secretFile(t, token), KeyFile: secretFile(t, token)}, "cert_file and key_file: tls: failed to find any PEM data"},
		"everything at once": {service.Access{TokenFile: secretFile(t, "hunter2"), CertFile: "none.pem"}, "cert_file and key_file belong together"},
	} {
		_, err := service.New(service.Options{NodeName: "x", StateAddr: "127.0.0.1:0", StatusAddr: "127.0.0.1:0", Status: test.access, Log: hclog.NewNullLogger()})
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "status address: ") {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), token)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadSecret_TakesWhatEditorsAndShellsMakeOfAFile(t *testing.T) {
	t.Parallel()
	utf16le := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(token + "\r\n")) {
		utf16le = binary.LittleEndian.AppendUint16(utf16le, u)
	}
	for _, text := range []string{token, token + "\n", "\xef\xbb\xbf" + token + "\r\n\r\n", string(utf16le)} {
		if got, err := service.ReadSecret(secretFile(t, text)); err != nil || got != token {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
}

func TestGuard_WarnsOfAFileThatOthersCanRead(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("there a file's mode says nothing")
	}
	path := secretFile(t, token)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	n := newNode(t, func(o *service.Options) { o.Status.TokenFile = path })
	n.log.want(t, "[WARN]  service: every user of this machine can read a password or token, mode 0644", 1)
}

func TestStatus_WarnsWhereOthersReachIt(t *testing.T) {
	t.Parallel()
	const open, plain = "whoever can connect to the status address sees", "travel in plain text"
	for name, test := range map[string]struct {
		addr  string
		token bool
		want  string
	}{
		"this machine only":  {addr: "127.0.0.1:0"},
		"everywhere":         {addr: "0.0.0.0:0", want: open},
		"with a token":       {addr: "0.0.0.0:0", token: true, want: plain},
		"here, with a token": {addr: "127.0.0.1:0", token: true},
	} {
		n := startNode(t, func(o *service.Options) {
			o.StatusAddr = test.addr
			if test.token {
				o.Status.TokenFile = secretFile(t, token)
			}
		})
		for _, warning := range []string{open, plain} {
			if got := n.log.has(warning); got != (warning == test.want) {
				t.Errorf("%s: %q is in the log: %v", name, warning, got)
			}
		}
	}
}

// pair writes a certificate for 127.0.0.1 that vouches for itself, and its key.
func pair(t testing.TB, certFile, keyFile string, serial int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "status"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}, &x509.Certificate{}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestStatus_SpeaksHTTPSAndReadsItsCertificateAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "status.pem"), filepath.Join(dir, "status.key")
	cert := pair(t, certFile, keyFile, 1)
	n := startNode(t, func(o *service.Options) {
		o.Status.CertFile, o.Status.KeyFile, o.Status.TokenFile = certFile, keyFile, secretFile(t, token)
	})
	get := func(trusted *x509.Certificate) int64 {
		t.Helper()
		pool := x509.NewCertPool()
		pool.AddCert(trusted)
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+n.Addrs().Status+"/api/v1/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%d, %v", resp.StatusCode, err)
		}
		return resp.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	if got := get(cert); got != 1 {
		t.Errorf("got certificate %d", got)
	}

	if err := os.WriteFile(keyFile, []byte("half of the new pair, one byte longer than it was, or shorter"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := get(cert); got != 1 {
		t.Errorf("with half of a new pair: got certificate %d", got)
	}
	n.log.want(t, "the status address keeps its certificate: the new one cannot be used", 1)
	next := pair(t, certFile, keyFile, 2)
	if got := get(next); got != 2 {
		t.Errorf("got certificate %d, want the new one", got)
	}
	n.log.want(t, "the status address has a new certificate", 1)

	for range 3 { // who does not trust it, and who speaks no TLS at all
		nc, err := tls.Dial("tcp", n.Addrs().Status, &tls.Config{RootCAs: x509.NewCertPool()})
		if err == nil {
			nc.Close()
			t.Error("somebody trusts it who should not")
		}
	}
	if resp, err := http.Get("http://" + n.Addrs().Status + "/healthz"); err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("without TLS: %s", resp.Status)
		}
	}
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
	n.log.want(t, "somebody could not agree on TLS", 1)
	if slices.ContainsFunc(strings.Split(n.log.String(), "\n"), func(l string) bool { return strings.Contains(l, "PRIVATE") || strings.Contains(l, token) }) {
		t.Errorf("a secret was logged:\n%s", n.log)
	}
}

// What a browser's basic authentication makes of names and passwords is not taken for a token by chance.
func TestGuard_ReadsBasicAuthenticationStrictly(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(o *service.Options) {
		o.Status.Username, o.Status.PasswordFile = "ops", secretFile(t, password)
	})
	for header, want := range map[string]int{
		"Basic " + base64.StdEncoding.EncodeToString([]byte("ops:"+password)): 200,
		"basic " + base64.StdEncoding.EncodeToString([]byte("ops:"+password)): 200,
		"Basic " + base64.StdEncoding.EncodeToString([]byte(password)):        401,
		"Basic ops:" + password: 401,
		"Bearer":                401,
		"bearer " + password:    401,
		"Digest " + password:    401,
	} {
		r := httptest.NewRequest("GET", "http://127.0.0.1/metrics", nil)
		r.Header.Set("Authorization", header)
		rec := httptest.NewRecorder()
		n.StatusHandler().ServeHTTP(rec, r)
		if rec.Code != want {
			t.Errorf("%s: %d, want %d", header, rec.Code, want)
		}
	}
}

// The live page and the events flow over HTTP/2 as well, which a browser speaks as soon as there is a certificate.
func TestStatus_StreamsOverHTTPS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "status.pem"), filepath.Join(dir, "status.key")
	pool := x509.NewCertPool()
	pool.AddCert(pair(t, certFile, keyFile, 1))
	n := startNode(t, func(o *service.Options) {
		o.Status.CertFile, o.Status.KeyFile, o.Status.TokenFile = certFile, keyFile, secretFile(t, token)
	})
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	for _, path := range []string{"/live", "/api/v1/events"} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+n.Addrs().Status+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil || resp.ProtoMajor != 2 || resp.StatusCode != 200 {
			t.Errorf("%s: %s %s, %v", path, resp.Proto, resp.Status, err)
		}
		resp.Body.Close()
	}
}
