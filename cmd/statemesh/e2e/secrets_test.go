//go:build linux

package e2e

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"statemesh/cmd/internal/farm"
)

// Nothing that opens a login, a cluster or a status address is in anything that nodes emit: logs at their most talkative, pages, documents,
// metrics, live streams, refusals, the commands' output, the address file. Sessions are in memory, on the wire to web servers, and, encrypted, in
// the snapshot.
func TestSecrets_AreNowhere(t *testing.T) {
	s := plant(t)
	web01, web02, web03 := s.Nodes[0], s.Nodes[1], s.Nodes[2]
	streams := s.follow(t)

	s.webServers(t)
	s.operators(t)
	s.strangers(t)

	// Members come and go.
	if err := farm.WriteKeys(s.KeyFile, s.newKey("next"), s.key); err != nil {
		t.Fatal(err)
	}
	for _, n := range s.Nodes {
		s.ask(t, n, "POST", "/api/v1/keys/reload", s.admin)
	}
	if err := os.WriteFile(s.KeyFile, []byte(s.key[:40]+"\n"), 0o600); err != nil { // some of it is missing
		t.Fatal(err)
	}
	if status := s.ask(t, web01, "POST", "/api/v1/keys/reload", s.admin); status != http.StatusUnprocessableEntity {
		t.Errorf("a broken key file: status %d", status)
	}
	web03.Kill()
	if err := web01.Poll(soon(t), "failed member", func() bool {
		_, text, _ := web01.Get(t.Context(), "/api/v1/members")
		return strings.Contains(string(text), `"failed"`)
	}); err != nil {
		t.Error(err)
	}
	s.webServers(t) // some of whose sessions are gone
	if status := s.ask(t, web02, "POST", "/api/v1/drain", s.admin); status != http.StatusAccepted {
		t.Errorf("drain: status %d", status)
	}
	s.command(t, "drain", "--wait", "--status-addr", web02.Status, "--token-file", s.file(t, s.admin))
	if err := farm.WriteKeys(s.KeyFile, s.newKey("last"), s.key); err != nil {
		t.Fatal(err)
	}
	s.operators(t)
	if _, err := web02.Stop(soon(t)); err != nil {
		t.Error(err)
	}
	if _, err := web01.Stop(soon(t)); err != nil { // which leaves a snapshot
		t.Error(err)
	}
	if err := farm.WriteKeys(s.KeyFile, s.key); err != nil { // that this is the wrong key for
		t.Fatal(err)
	}
	if err := web01.Start(t.Context()); err == nil {
		s.webServers(t)
		if _, err := web01.Stop(soon(t)); err != nil {
			t.Error(err)
		}
	}
	streams()

	for _, n := range s.Nodes {
		lines := 0
		for i, log := range n.Logs() {
			lines += len(log.Lines())
			s.emitted(fmt.Sprintf("log %d of %s", i+1, n.Name), logText(log))
		}
		if lines < 20 && n != s.guarded || lines == 0 {
			t.Errorf("%s logged only %d lines", n.Name, lines)
		}
	}
	s.snapshots(t)
	s.judge(t)
}

// logText is all of a log.
func logText(l *farm.Log) string {
	var b strings.Builder
	for _, line := range l.Lines() {
		b.WriteString(line.Text + "\n")
	}
	return b.String()
}

// secrets is a cluster with recognisable ones, and all that it emits.
type secrets struct {
	*farm.Cluster
	key, admin, reader, password string
	guarded                      *farm.Node // which asks whoever reads
	dir                          string
	find                         *finder
	texts                        map[string]string
	ids                          []string
	rand                         *rand.Rand
}

// plant starts a cluster that has them.
func plant(t *testing.T) *secrets {
	if testing.Short() {
		t.Skip("needs seconds")
	}
	s := &secrets{dir: t.TempDir(), find: newFinder(), texts: map[string]string{}, rand: rand.New(rand.NewPCG(4, uint64(time.Now().UnixNano())))}
	word := func(what string, n int) string {
		const letters = "abcdefghijklmnopqrstuvwxyz012345"
		b := make([]byte, n)
		for i := range b {
			b[i] = letters[s.rand.IntN(len(letters))]
		}
		s.find.add(what, string(b))
		return string(b)
	}
	s.admin, s.reader, s.password = word("administrator's token", 44), word("reader's token", 44), word("password", 16)
	for range 16 {
		s.ids = append(s.ids, word("session id", 24))
	}
	c, err := farm.NewCluster(farm.ClusterOptions{
		Exe: binary, Dir: s.dir, Nodes: 3,
		Flags: []string{"--log-level", "trace", "--max-waiting", "1", "--max-head", "4KiB", "--lock-wait", "50ms", "--request-timeout", "1s", "--max-connections", "60",
			"--status-admin-token-file", s.file(t, s.admin)},
		Place: func(i int, o *farm.NodeOptions) {
			memory := []string{"64MiB", "16MiB", "1MiB"}[i] // the first takes what the others have, the last cannot take all that it is brought
			o.Flags = append(append([]string{}, o.Flags...), "--max-memory", memory, "--snapshot-dir", filepath.Join(o.Dir, "snapshots"))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Cluster, s.key = c, ""
	keys, err := farm.ReadKeys(c.KeyFile)
	if err != nil || len(keys) != 1 {
		t.Fatalf("%v, %v", keys, err)
	}
	s.key = keys[0]
	s.find.addKey("cluster key", s.key)
	t.Cleanup(func() { end(t, c.Nodes...) })
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Joined(soon(t)); err != nil {
		t.Fatal(err)
	}

	dir := filepath.Join(s.dir, "guarded")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s.guarded = farm.NewNode(farm.NodeOptions{Exe: binary, Dir: dir, Name: "guarded", Flags: []string{
		"--log-level", "trace", "--status-username", "ops", "--status-password-file", s.file(t, s.password), "--status-token-file", s.file(t, s.reader),
		"--status-admin-token-file", s.file(t, s.admin), "--snapshot-dir", filepath.Join(dir, "snapshots"),
	}})
	t.Cleanup(func() { end(t, s.guarded) })
	if err := s.guarded.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Nodes = append(c.Nodes[:3:3], s.guarded)
	return s
}

func (s *secrets) newKey(what string) string {
	key := farm.NewKey()
	s.find.addKey(what+" cluster key", key)
	return key
}

// file is one that holds a secret.
func (s *secrets) file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// emitted keeps what has been emitted.
func (s *secrets) emitted(by, text string) { s.texts[by] += text + "\n" }

const (
	shop  = "%2fLM%2fW3SVC%2f2%2fROOT%2fshop(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5%2fHxWS854%3d)%2f"
	shop2 = "%2fLM%2fW3SVC%2f3%2fROOT%2fShop(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5%2fHxWS854%3d)%2f"
)

// webServers do with sessions whatever can be done, at all nodes, rightly and wrongly. What they are answered is theirs.
func (s *secrets) webServers(t *testing.T) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range s.ids {
		wg.Go(func() { s.session(i) })
	}
	wg.Wait()
	stalled, err := net.Dial("tcp", s.Nodes[0].State)
	if err == nil {
		fmt.Fprintf(stalled, "PUT %s%s HTTP/1.1\r\nContent-Length: 100\r\n\r\n%s", shop, s.ids[1], s.ids[2])
		stalled.SetReadDeadline(time.Now().Add(2 * time.Second))
		_, _ = io.Copy(io.Discard, stalled) // until it is cut off
		stalled.Close()
	}
}

// session is what is done with one: there are as many at a time as there are sessions.
func (s *secrets) session(i int) {
	id := s.ids[i]
	put := func(app, headers, body string) string {
		return fmt.Sprintf("PUT %s%s HTTP/1.1\r\nHost: localhost\r\nTimeout:20\r\nContent-Length:%d\r\n%s\r\n%s", app, id, len(body), headers, body)
	}
	get := func(app, headers string) string {
		return "GET " + app + id + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n"
	}
	for j, request := range []string{
		put(shop, "ExtraFlags:1\r\nLockCookie:0\r\n", id+strings.Repeat(" body of "+id, 20)),
		get(shop, ""),
		get(shop, "Exclusive: acquire\r\n"),
		get(shop, "Exclusive: acquire\r\n"),
		put(shop, "LockCookie:0\r\n", id),
		get(shop, "Exclusive: release\r\nLockCookie:"+id+"\r\n"),
		get(shop, "Exclusive: release\r\nLockCookie:99\r\n"),
		get(shop, "Exclusive: release\r\nLockCookie:2\r\n"),
		put(shop, "LockCookie:"+id+"\r\n", id),
		put(shop, "LockCookie:0\r\n", strings.Repeat(id, 20_000)), // for which there is no memory at last
		"HEAD " + shop + id + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
		get(shop2, ""),
		put(shop2, "LockCookie:0\r\n", id),
		"DELETE " + shop2 + id + " HTTP/1.1\r\nHost: localhost\r\nLockCookie:" + strconv.Itoa(i%3) + "\r\n\r\n",
		"GET " + shop + id + "\x00 HTTP/1.1\r\n\r\n",
		"GET " + id + " HTTP/1.1\r\n\r\n",
		id + " " + shop + id + " HTTP/1.1\r\n\r\n",
		"GET " + shop + id + " " + id + "\r\n\r\n",
		"PUT " + shop + id + " HTTP/1.1\r\nContent-Length: " + id + "\r\n\r\n",
		"PUT " + shop + id + " HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n" + id,
		"GET " + shop + id + " HTTP/1.1\r\nX: " + strings.Repeat(id, 300) + "\r\n\r\n",
	} {
		if i > 4 && j > 8 && j != 9 {
			break // once in a while is enough
		}
		n := s.Nodes[(i+j)%3]
		s.exchange(n, request)
	}
	if i == 0 { // to and fro
		for j := range 30 {
			s.exchange(s.Nodes[j%3], get(shop, ""))
		}
		var wg sync.WaitGroup
		for range 4 { // all at once, for one that is locked
			wg.Go(func() { s.exchange(s.Nodes[0], get(shop, "Exclusive: acquire\r\n")) })
		}
		wg.Wait()
	}
}

// exchange sends a request, if the node is there, and waits for some of its answer.
func (s *secrets) exchange(n *farm.Node, request string) {
	nc, err := net.Dial("tcp", n.State)
	if err != nil {
		return
	}
	defer nc.Close()
	_, _ = io.WriteString(nc, request)
	nc.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	_, _ = bufio.NewReader(nc).ReadString('\n')
}

var paths = []string{
	"/", "/metrics", "/healthz", "/readyz", "/api/v1/status", "/api/v1/members", "/api/v1/applications", "/api/v1/history", "/nothing", "/api/v1/nothing",
}

// operators look at everything, and do what they may and may not.
func (s *secrets) operators(t *testing.T) {
	t.Helper()
	for _, n := range s.Nodes {
		if !n.Running() {
			continue
		}
		token := ""
		if n == s.guarded {
			token = s.reader
		}
		for _, path := range paths {
			for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
				s.ask(t, n, method, path, token)
				s.ask(t, n, method, path, s.reader[1:])
			}
		}
		// What is in an address or a header is not said again.
		id := s.ids[3]
		s.ask(t, n, "GET", "/api/v1/"+id, token)
		s.ask(t, n, "GET", "/api/v1/applications?id="+id, token)
		s.ask(t, n, "POST", "/api/v1/drain?token="+url.QueryEscape(s.admin), token)
		s.ask(t, n, "POST", "/api/v1/drain", s.reader)
		s.ask(t, n, "POST", "/api/v1/keys/reload", s.admin[:43])
	}
	web01 := s.Nodes[0]
	config := fmt.Sprintf("status {\n  listen = %q\n  username = \"ops\"\n  password_file = %q\n  admin_token_file = %q\n}\ncluster {\n  key_file = %q\n  join = [\"127.0.0.1\"]\n}\n",
		s.guarded.Status, s.file(t, s.password), s.file(t, s.admin), s.KeyFile)
	right, wrong := s.file(t, config), s.file(t, config+"nonsense\n")
	s.command(t, "check", right)
	s.command(t, "check", wrong)
	s.command(t, "status", "--config", right)
	s.command(t, "members", "--config", right, "--json")
	s.command(t, "drain", "--config", right)
	for _, command := range []string{"status", "members"} {
		s.command(t, command, "--status-addr", web01.Status)
		s.command(t, command, "--status-addr", web01.Status, "--json")
		s.command(t, command, "--status-addr", s.guarded.Status)
		s.command(t, command, "--status-addr", s.guarded.Status, "--token-file", s.file(t, s.reader))
		s.command(t, command, "--status-addr", s.guarded.Status, "--token-file", s.file(t, s.reader[2:]))
		s.command(t, command, "--status-addr", s.guarded.Status, "--user", "ops", "--password-file", s.file(t, s.password))
		s.command(t, command, "--status-addr", s.guarded.Status, "--token-file", s.file(t, s.password[:8]))
		s.command(t, command, "--status-addr", "https://"+s.guarded.Status, "--token-file", s.file(t, s.reader))
	}
	s.command(t, "serve", "--state-addr", web01.State, "--status-addr", "127.0.0.1:0", "--key-file", s.file(t, s.key[:30]), "--gossip-addr", "127.0.0.1:0", "--transfer-addr", "127.0.0.1:0", "--log-level", "trace")
	s.command(t, "serve", "--state-addr", "127.0.0.1:0", "--status-addr", "127.0.0.1:0", "--status-token-file", s.file(t, s.password[:9]))
}

// ask sends a request to the status address, as it keeps the answer, head and body.
func (s *secrets) ask(t *testing.T, n *farm.Node, method, path, token string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+n.Status+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("Cookie", "ASP.NET_SessionId="+s.ids[4])
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
	}
	bare, _, _ := strings.Cut(path, "?")
	for _, id := range s.ids {
		bare = strings.ReplaceAll(bare, id, "ID")
	}
	s.emitted(fmt.Sprintf("%s %s of %s", method, bare, n.Name), fmt.Sprintln(resp.Status, resp.Header)+string(body))
	return resp.StatusCode
}

// follow reads the live streams until the returned function is called.
func (s *secrets) follow(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	type stream struct{ by, text string }
	done := make(chan stream)
	streams := 0
	for _, n := range s.Nodes[:3] {
		for _, path := range []string{"/live", "/api/v1/events"} {
			streams++
			go func() {
				var text strings.Builder
				defer func() { done <- stream{path + " of " + n.Name, text.String()} }()
				req, err := http.NewRequestWithContext(ctx, "GET", "http://"+n.Status+path, nil)
				if err != nil {
					return
				}
				resp, err := http.DefaultTransport.RoundTrip(req)
				if err != nil {
					return
				}
				defer resp.Body.Close()
				_, _ = io.Copy(&text, resp.Body)
			}()
		}
	}
	return func() {
		cancel()
		for range streams {
			one := <-done
			if len(one.text) < 20 {
				t.Errorf("%s brought only %q", one.by, one.text)
			}
			s.emitted(one.by, one.text)
		}
	}
}

// command runs one of statemesh's own, with what it needs to know in its environment or in files.
func (s *secrets) command(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	out, _ := cmd.CombinedOutput() // some are to fail
	if ctx.Err() != nil {
		t.Errorf("statemesh %s takes too long", strings.Join(args, " "))
	}
	s.emitted("statemesh "+args[0], string(out))
}

// strangers send what they have heard to the ports of nodes.
func (s *secrets) strangers(t *testing.T) {
	t.Helper()
	heard := s.ids[5] + s.key + s.admin
	for _, n := range s.Nodes[:3] {
		for _, addr := range []string{n.Transfer, n.Gossip, n.Status, n.State} {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				continue
			}
			fmt.Fprintf(nc, "%s\r\n%s\r\n\r\n", heard, heard)
			nc.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			answer, _ := io.ReadAll(nc)
			if addr != n.State {
				s.emitted("port "+addr[strings.LastIndex(addr, ":"):], string(answer))
			}
			nc.Close()
		}
		nc, err := net.Dial("udp", n.Gossip)
		if err != nil {
			t.Error(err)
			continue
		}
		_, _ = io.WriteString(nc, heard)
		nc.Close()
	}
}

// snapshots, and all other files that nodes have written, but for those that hold a key by design.
func (s *secrets) snapshots(t *testing.T) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == s.KeyFile || d.Name() == "snapshot.key" {
			return err
		}
		text, err := os.ReadFile(path)
		files++
		s.emitted("file "+d.Name(), string(text))
		return err
	})
	if err != nil || files < 4 {
		t.Errorf("%d files of nodes, %v", files, err)
	}
}

// judge looks for every secret in everything, and makes sure that it would have been found.
func (s *secrets) judge(t *testing.T) {
	t.Helper()
	size := 0
	for by, text := range s.texts {
		size += len(text)
		for _, found := range s.find.in(text) {
			t.Errorf("%s: %s", by, found)
		}
		if len(s.find.in(text[max(0, len(text)-100):]+s.ids[7])) == 0 {
			t.Errorf("%s: a session id is not found in it", by)
		}
	}
	t.Logf("%d kinds of output, %d bytes, were searched for %d secrets", len(s.texts), size, s.find.count)
	if len(s.texts) < 60 || size < 1<<20 {
		t.Errorf("only %d kinds of output, %d bytes", len(s.texts), size)
	}
	if log := s.texts["log 1 of web01"]; !strings.Contains(log, `"session":"`) {
		t.Error("web01's log names no session at all, not even as it should")
	}
}

// finder finds secrets, and halves of them, as they are and as programs write them.
type finder struct {
	windows map[[8]byte][]window // by how they begin
	count   int
}

// window is a part of a secret that must not be seen.
type window struct{ text, of string }

func newFinder() *finder { return &finder{windows: map[[8]byte][]window{}} }

// add has a secret looked for: each half of it, wherever that begins; in hexadecimal; in base64, wherever in a group of three bytes it begins.
func (f *finder) add(what, secret string) {
	f.count++
	half := len(secret) / 2
	for i := range len(secret) - half + 1 {
		f.window(what, secret[i:i+half])
	}
	f.window(what+" in hexadecimal", hex.EncodeToString([]byte(secret[:half])))
	f.window(what+" in hexadecimal", strings.ToUpper(hex.EncodeToString([]byte(secret[:half]))))
	for skip := range 3 {
		text := base64.RawStdEncoding.EncodeToString([]byte(secret[skip:]))
		f.window(what+" in base64", text[:half])
	}
	f.window(what+" in capitals", strings.ToUpper(secret)[:half])
	f.window(what+" as a list of numbers", strings.Trim(fmt.Sprint([]byte(secret[:half])), "[]"))
}

// addKey does so with a key in base64, and with what it says.
func (f *finder) addKey(what, key string) {
	f.add(what, key)
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		panic(err)
	}
	f.add(what+"'s bytes", string(raw))
}

func (f *finder) window(what, text string) {
	begin := [8]byte([]byte(text))
	f.windows[begin] = append(f.windows[begin], window{text, what})
}

// in is what was found in a text, with what stands before it.
func (f *finder) in(text string) (found []string) {
	raw := []byte(text)
	for i := 0; i+8 <= len(raw) && len(found) < 3; i++ {
		for _, w := range f.windows[[8]byte(raw[i:])] {
			if strings.HasPrefix(text[i:], w.text) {
				found = append(found, fmt.Sprintf("%s: %q", w.of, text[max(0, i-150):i+len(w.text)]))
				i += len(w.text)
				break
			}
		}
	}
	return found
}

// A test for what must not be found proves nothing unless it would be.
func TestSecrets_WouldBeFound(t *testing.T) {
	const id, key = "k2vxq0abcdmnpr5tuwyz1345", "3q2+7wAAAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk="
	f := newFinder()
	f.add("session id", id)
	f.addKey("key", key)
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"whole":            "GET %2fLM%2fW3SVC%2f2%2fROOT(x)%2f" + id + " HTTP/1.1",
		"first half":       "session=" + id[:12],
		"last half":        "..." + id[12:],
		"a half inside":    "x" + id[5:17] + "x",
		"hexadecimal":      hex.EncodeToString([]byte(id)),
		"base64":           base64.StdEncoding.EncodeToString([]byte(id)),
		"base64 of more":   base64.StdEncoding.EncodeToString([]byte("/" + id)),
		"base64 of others": base64.URLEncoding.EncodeToString([]byte("//" + id)),
		"capitals":         strings.ToUpper(id),
		"bytes in Go":      fmt.Sprint([]byte(id)),
		"a key":            `{"key": "` + key + `"}`,
		"half a key":       key[20:42],
		"a key's bytes":    string(raw),
		"a key in hex":     fmt.Sprintf("%x", raw),
	} {
		if len(f.in(text)) == 0 {
			t.Errorf("%s is not found in %q", name, text)
		}
	}
	for _, text := range []string{"", "session=8f3a91c0d2e4", "k2vxq0abcdm", "0123456789abcdef0123456789abcdef", strings.Repeat("a", 1000)} {
		if found := f.in(text); len(found) > 0 {
			t.Errorf("found in %q: %v", text, found)
		}
	}
}
