package config

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestLoad_SaysEveryMistake compares what an operator is told about each testdata/mistakes/*.hcl with the .txt
// beside it.
func TestLoad_SaysEveryMistake(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/mistakes/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".hcl"), func(t *testing.T) {
			t.Parallel()
			c, err := Load(filepath.ToSlash(file), nil)
			var mistakes *Mistakes
			if c != nil || !errors.As(err, &mistakes) {
				t.Fatalf("got %v, %v, want mistakes", c, err)
			}
			got := mistakes.Error() + "\n"
			golden := strings.TrimSuffix(file, ".hcl") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != strings.ReplaceAll(string(want), "\r\n", "\n") {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if n := strings.Count(got, "Error: "); n != mistakes.Len() {
				t.Errorf("%d mistakes shown, want %d", n, mistakes.Len())
			}
		})
	}
}

func TestLoad_ReadsWhatEditorsWrite(t *testing.T) {
	t.Parallel()
	const text = "node_name = \"web07\"\n\nlog {\n  level = \"debug\"\n}\n"
	for name, src := range map[string]string{
		"UTF-8":          text,
		"byte order":     "\uFEFF" + text,
		"Windows lines":  strings.ReplaceAll(text, "\n", "\r\n"),
		"both":           "\uFEFF" + strings.ReplaceAll(text, "\n", "\r\n"),
		"no end of line": strings.TrimSuffix(text, "\n"),
		"umlauts":        "# Büro 3 ☃\n" + text,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := Load(write(t, src), nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.NodeName != "web07" || c.Log.Level != "debug" {
				t.Errorf("got %q, %q, want web07, debug", c.NodeName, c.Log.Level)
			}
		})
	}
}

func TestLoad_SaysWhyAFileCannotBeUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing.hcl")
	renamed := filepath.Join(dir, "renamed.hcl")
	if err := os.WriteFile(renamed+".txt", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		path string
		want []string
	}{
		"missing":        {missing, []string{"There is no file", "Check the name"}},
		"missing, local": {"no-such.hcl", []string{"There is no file \"no-such.hcl\"", "looked for as"}},
		"hidden .txt":    {renamed, []string{"There is no file", "Notepad appends .txt"}},
		"folder":         {dir, []string{"is a folder", "Name the configuration file in it"}},
		"UTF-16 LE":      {write(t, "\xff\xfen\x00o\x00"), []string{"saved as UTF-16", "Save it as UTF-8"}},
		"UTF-16 BE":      {write(t, "\xfe\xff\x00n\x00o"), []string{"saved as UTF-16"}},
		"binary":         {write(t, "MZ\x90\x00\x03"), []string{"not a text file"}},
		"too large":      {write(t, strings.Repeat("# comment\n", maxFile/10+1)), []string{"larger than 1MiB"}},
		"ANSI": {write(t, "node_name = \"web01\" # B\xfcro\n\nlog {\n  level = \"debg\"\n}\n"),
			[]string{"Not UTF-8", "1: node_name = \"web01\" # B?ro", "Save the file as UTF-8", "Did you mean \"debug\"?"}},
		"Windows lines": {write(t, "\uFEFFnode_name = \"a b\"\r\nlog {\r\n  level = 30s\r\n}\r\n"),
			[]string{"line 1:\n   1: node_name = \"a b\"\n", "line 3, in log:\n   3:   level = 30s\n"}},
		"XML":  {write(t, "<?xml version=\"1.0\"?>\n<configuration />\n"), []string{"This is XML", "line 1"}},
		"JSON": {write(t, "\n{ \"node_name\": \"web01\" }\n"), []string{"This is JSON", "line 2"}},
		"INI":  {write(t, "[state]\nlisten = 1\n"), []string{"This is an INI"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Load(tt.path, nil)
			if err == nil {
				t.Fatal("no mistake")
			}
			// A path with spaces in it may be wrapped.
			got := err.Error()
			for _, want := range tt.want {
				if !strings.Contains(got, want) && !strings.Contains(strings.Join(strings.Fields(got), " "), want) {
					t.Errorf("got:\n%s\nwant in it: %s", got, want)
				}
			}
		})
	}
}

func TestLoad_SaysThatAFileMayNotBeRead(t *testing.T) {
	t.Parallel()
	path := write(t, "node_name = \"web01\"\n")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Open(path); err == nil {
		f.Close()
		t.Skip("this user may read everything")
	}
	_, err := Load(path, nil)
	if err == nil || !strings.Contains(err.Error(), "may not be read by this user") {
		t.Errorf("got %v", err)
	}
}

func TestLoad_RefusesAddresses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                          `has no port`,
		"127.0.0.1":                 `has no port`,
		"localhost":                 `has no port`,
		"42424":                     `has no port`,
		"::1":                       `has no port`,
		"[::1]":                     `has no port`,
		"::1:42424":                 `Did you mean "[::1]:42424"?`,
		"fe80::1:4242":              `Did you mean "[fe80::1]:4242"?`,
		":42424":                    `write "0.0.0.0:42424"`,
		"*:42424":                   `write "0.0.0.0:42424"`,
		"127.0.0.1:":                `is not a number from 0 to 65535`,
		"127.0.0.1:http":            `is not a number from 0 to 65535`,
		"127.0.0.1:65536":           `is not a number from 0 to 65535`,
		"127.0.0.1:-1":              `is not a number from 0 to 65535`,
		"http://127.0.0.1:42480/":   `Did you mean "127.0.0.1:42480"?`,
		"tcpip=10.0.0.5:42424":      `Did you mean "10.0.0.5:42424"?`,
		"10.0.0.300:42424":          `neither an IP address nor a host's name`,
		"web 01:42424":              `neither an IP address nor a host's name`,
		"a:b:c":                     `is not host:port`,
		"127.0.0.1:42424,127.0.0.2": `is not a number from 0 to 65535`,
	} {
		_, err := Load("", map[string]string{"status-addr": text})
		if err == nil {
			t.Errorf("%q was accepted", text)
			continue
		}
		if got := err.Error(); !strings.Contains(got, want) || !strings.Contains(got, "--status-addr") || !strings.Contains(got, `host:port, such as "127.0.0.1:42480"`) {
			t.Errorf("%q: got %s\nwant in it: %s", text, got, want)
		}
	}
	for _, text := range []string{"127.0.0.1:0", "0.0.0.0:42480", "[::]:42480", "[::1]:1", "[fe80::1%eth0]:1", "localhost:1", "web-01.example.com:65535", "WEB_01:1"} {
		c, err := Load("", map[string]string{"status-addr": text})
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if c.Status.Listen != text {
			t.Errorf("got %q, want %q", c.Status.Listen, text)
		}
	}
}

func TestLoad_FindsTwoListenersOnOneAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b  string
		clash bool
	}{
		{"127.0.0.1:1", "127.0.0.1:1", true},
		{"127.0.0.1:1", "127.0.0.1:2", false},
		{"127.0.0.1:0", "127.0.0.1:0", false},
		{"127.0.0.1:1", "127.0.0.2:1", false},
		{"0.0.0.0:1", "10.0.0.5:1", true},
		{"10.0.0.5:1", "[::]:1", true},
		{"0.0.0.0:1", "[::1]:1", true},
		{"localhost:1", "127.0.0.1:1", true},
		{"web01:1", "web01:1", true},
		{"web01:1", "web02:1", false},
		{"web01:1", "0.0.0.0:1", true},
	} {
		_, err := Load("", map[string]string{"state-addr": tt.a, "status-addr": tt.b})
		if got := err != nil; got != tt.clash {
			t.Errorf("%s and %s: got %v, want a clash: %v", tt.a, tt.b, err, tt.clash)
		}
	}

	_, err := Load(write(t, "status {\n  listen = \"127.0.0.1:7\"\n}\n"), map[string]string{"state-addr": "127.0.0.1:7"})
	if err == nil || !strings.Contains(err.Error(), "--state-addr (127.0.0.1:7) and status.listen (127.0.0.1:7)") {
		t.Errorf("flag against file: got %v", err)
	}
}

func TestLoad_TakesValuesAsOperatorsWriteThem(t *testing.T) {
	t.Parallel()
	path := write(t, `
		node_name = "Büro-3_x.local"
		state {
			aspnet_version  = "2.0.50727"
			status_line     = "HTTP/1.1"
			max_head        = "64 KiB"
			max_body        = "1.5MiB"
			max_connections = 1000
			idle_timeout    = "1h30m"
			request_timeout = "2m"
			lock_wait       = "none"
		}
		cluster {
			listen        = "10.0.0.5:1"
			advertise     = "192.0.2.5:1"
			transfer      = "[2001:db8::5]:2"
			join          = ["10.0.0.6", "web03:7", "2001:db8::6", "[2001:db8::7]:8"]
			key_file      = "keys/cluster.key"
			name          = "farm-1"
			query_timeout = "1.5s"
			drain_timeout = "5m"
			backups       = 0

			expect_members = 5
		}
		sessions {
			max_memory   = "8 gib"
			max_waiting  = "7"
			snapshot_dir = "/var/lib/statemesh"
		}
		status {
			listen    = "0.0.0.0:8080"
			long_lock = "5m"
		}
		log {
			level  = "WARN"
			format = null
		}
	`)
	got, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		NodeName: "Büro-3_x.local",
		State: State{
			Listen: "127.0.0.1:42424", ASPNetVersion: "2.0.50727", StatusLine: "http/1.1", MaxHead: 64 << 10, MaxBody: 3 << 19,
			MaxConnections: 1000, IdleTimeout: 90 * time.Minute, RequestTimeout: 2 * time.Minute,
		},
		Cluster: Cluster{
			Listen: "10.0.0.5:1", Advertise: "192.0.2.5:1", Transfer: "[2001:db8::5]:2",
			Join: Hosts{"10.0.0.6", "web03:7", "2001:db8::6", "[2001:db8::7]:8"}, KeyFile: filepath.Join(filepath.Dir(path), "keys", "cluster.key"),
			Name: "farm-1", QueryTimeout: 1500 * time.Millisecond, DrainTimeout: 5 * time.Minute, ExpectMembers: 5,
		},
		Sessions: Sessions{MaxMemory: Memory{Bytes: 8 << 30}, MaxWaiting: 7, SnapshotDir: got.Sessions.SnapshotDir},
		Status:   Status{Listen: "0.0.0.0:8080", LongLock: 5 * time.Minute},
		Log:      Log{Level: "warn", Format: "text"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if dir := got.Sessions.SnapshotDir; !filepath.IsAbs(dir) || !strings.HasSuffix(filepath.ToSlash(dir), "/var/lib/statemesh") {
		t.Errorf("snapshot_dir: got %s", dir) // with a drive before it, on Windows
	}
}

func TestLoad_FlagsOverrideFileOverridesDefaults(t *testing.T) {
	t.Parallel()
	path := write(t, "sessions {\n  max_memory = \"50%\"\n  max_waiting = 10\n}\n")
	c, err := Load(path, map[string]string{"max-waiting": "20", "log-level": "debug"})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Sessions.MaxWaiting; got != 20 {
		t.Errorf("in file and flags: got %d, want the flag's 20", got)
	}
	if got := c.Sessions.MaxMemory.Percent; got != 50 {
		t.Errorf("in the file: got %d, want 50", got)
	}
	if got := c.Log.Level; got != "debug" {
		t.Errorf("in flags: got %s, want debug", got)
	}
	if got := c.State.Listen; got != Default().State.Listen {
		t.Errorf("nowhere: got %s, want the default", got)
	}

	_, err = Load(write(t, "log {\n  level = \"debg\"\n}\n"), map[string]string{"max-waiting": "0", "log-format": "xml", "log-level": "info"})
	var mistakes *Mistakes
	if !errors.As(err, &mistakes) || mistakes.Len() != 3 {
		t.Fatalf("got %v, want three mistakes", err)
	}
	const want = `Error: Invalid value for --max-waiting: 0 is out of range. It takes a number from 1 to 65536.

Error: Invalid value for --log-format: "xml" is not one of the choices. It takes "text" or "json".`
	if got := err.Error(); !strings.HasSuffix(got, want) {
		t.Errorf("got:\n%s\nwant at its end:\n%s", got, want)
	}
}

func TestMistakes_ColourTheOffendingValue(t *testing.T) {
	t.Parallel()
	_, err := Load(write(t, "log {\n  level = \"debg\"\n}\n"), nil)
	var mistakes *Mistakes
	if !errors.As(err, &mistakes) {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := mistakes.Write(&b, true); err != nil {
		t.Fatal(err)
	}
	if want := "level = \x1b[1;4m\"debg\"\x1b[0m"; !strings.Contains(b.String(), want) {
		t.Errorf("got %q, want %q in it", b.String(), want)
	}
}

// TestExample_HoldsEveryDefault keeps testdata/example.hcl, which the documentation shows, true.
func TestExample_HoldsEveryDefault(t *testing.T) {
	t.Parallel()
	const path = "testdata/example.hcl"
	c, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, Default()) {
		t.Errorf("got  %+v\nwant %+v", c, Default())
	}

	// Every setting stands there, commented out or not, with its default.
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block := ""
	there := map[string]string{}
	for line := range strings.Lines(string(src)) {
		if m := assignment.FindStringSubmatch(strings.TrimPrefix(strings.TrimSpace(line), "# ")); m != nil {
			there[block+"."+m[1]] = m[2]
		}
		if name, ok := strings.CutSuffix(strings.TrimSpace(line), " {"); ok {
			block = name
		}
		if strings.TrimSpace(line) == "}" {
			block = ""
		}
	}
	for _, s := range Default().Settings() {
		got, ok := there[s.Block+"."+s.Name]
		if !ok {
			t.Errorf("%s is missing", s.Path())
		} else if s.Name != "node_name" && got != literal(s) {
			t.Errorf("%s: got %s, want %s", s.Path(), got, literal(s))
		}
	}
}

func TestWrite_IsReadBackAndWrittenAlike(t *testing.T) {
	t.Parallel()
	changed := Default()
	changed.NodeName = "Büro-3"
	changed.State = State{"[fe80::1%eth0]:1", "2.0.50727", "http/1.1", 1<<10 + 1, 3 << 19, 7, 90 * time.Second, time.Hour, 10 * time.Millisecond}
	changed.Cluster = Cluster{"10.0.0.5:1", "192.0.2.5:1", "10.0.0.5:2", Hosts{"a", "b:1"}, filepath.Join(t.TempDir(), "${key}"),
		filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "a.pem"), filepath.Join(t.TempDir(), "a.key"), false, "farm1",
		3300 * time.Millisecond, time.Second, 0, 7}
	changed.Sessions = Sessions{Memory{Bytes: 5 << 30}, 1, t.TempDir()}
	changed.Status.Listen = "localhost:0"
	changed.Log = Log{"error", "json"}
	for name, c := range map[string]*Config{"defaults": Default(), "changed": changed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var first, second bytes.Buffer
			if err := c.Write(&first, 24<<30); err != nil {
				t.Fatal(err)
			}
			back, err := Load(write(t, first.String()), nil)
			if err != nil {
				t.Fatalf("%v\n%s", err, &first)
			}
			if !reflect.DeepEqual(back, c) {
				t.Errorf("got  %+v\nwant %+v", back, c)
			}
			if err := back.Write(&second, 24<<30); err != nil {
				t.Fatal(err)
			}
			if first.String() != second.String() {
				t.Errorf("first:\n%s\nsecond:\n%s", &first, &second)
			}
		})
	}
}

func TestWrite_SaysWhatAShareComesTo(t *testing.T) {
	t.Parallel()
	c := Default()
	c.NodeName = "web01"
	c.Sessions.MaxWaiting = 10
	c.Cluster.Listen, c.Cluster.Transfer = "10.0.0.5:42425", "10.0.0.5:42426"
	c.Cluster.Join, c.Cluster.InsecurePlaintext = Hosts{"10.0.0.6", "web03:42425"}, true
	var b strings.Builder
	if err := c.Write(&b, 24<<30); err != nil {
		t.Fatal(err)
	}
	const want = `node_name = "web01"

state {
  listen          = "127.0.0.1:42424" # default
  aspnet_version  = "4.0.30319"       # default
  status_line     = "bare"            # default
  max_head        = "16KiB"           # default
  max_body        = "64MiB"           # default
  max_connections = "none"            # default
  idle_timeout    = "none"            # default
  request_timeout = "30s"             # default
  lock_wait       = "500ms"           # default
}

cluster {
  listen             = "10.0.0.5:42425"
  advertise          = "" # default
  transfer           = "10.0.0.5:42426"
  join               = ["10.0.0.6", "web03:42425"]
  key_file           = "" # default
  ca_file            = "" # default
  cert_file          = "" # default
  cert_key_file      = "" # default
  insecure_plaintext = true
  name               = "default" # default
  query_timeout      = "2s"      # default
  drain_timeout      = "1m"      # default
  backups            = 0         # default
  expect_members     = 0         # default
}

sessions {
  max_memory   = "75%" # default: 18.0 GiB of 24.0 GiB
  max_waiting  = 10
  snapshot_dir = "" # default
}

status {
  listen           = "127.0.0.1:42480" # default
  allowed_hosts    = []                # default
  username         = ""                # default
  password_file    = ""                # default
  token_file       = ""                # default
  admin_token_file = ""                # default
  cert_file        = ""                # default
  key_file         = ""                # default
  long_lock        = "1m50s"           # default
}

log {
  level  = "info" # default
  format = "text" # default
}
`
	if got := b.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// TestSettings_AreTheFieldsOfConfig finds a field that cannot be set and a name or flag that is there twice.
func TestSettings_AreTheFieldsOfConfig(t *testing.T) {
	t.Parallel()
	c := Default()
	fields := map[any]string{}
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		for i := range v.NumField() {
			f, name := v.Field(i), path+v.Type().Field(i).Name
			if f.Kind() == reflect.Struct && f.Type() != reflect.TypeFor[Memory]() {
				walk(f, name+".")
			} else {
				fields[f.Addr().Interface()] = name
			}
		}
	}
	walk(reflect.ValueOf(c).Elem(), "")

	paths, flags := map[string]bool{}, map[string]bool{}
	for _, s := range c.Settings() {
		field := reflect.ValueOf(s.value).FieldByName("to")
		found := false
		for at := range fields {
			if reflect.ValueOf(at).Pointer() == field.Pointer() {
				found = true
				delete(fields, at)
				break
			}
		}
		if !found {
			t.Errorf("%s sets no field, or one that another sets", s.Path())
		}
		if s.Name == "" || s.Flag == "" || s.Help == "" || paths[s.Path()] || flags[s.Flag] {
			t.Errorf("%s: a name is missing or is there twice", s.Path())
		}
		paths[s.Path()], flags[s.Flag] = true, true
		if problem := s.value.set(s.Value()); problem != "" {
			t.Errorf("%s: its default is refused: %s", s.Path(), problem)
		}
	}
	for _, name := range fields {
		t.Errorf("field %s cannot be set", name)
	}
	if !reflect.DeepEqual(c, Default()) {
		t.Errorf("setting every default anew changed something: %+v", c)
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"trace", "debug", "info", "warn", "error", "max_memory"}
	for given, want := range map[string]string{
		"debg": "debug", "DEBUG": "debug", "inf": "info", "information": "info", "warning": "warn", "err": "error",
		"max-memory": "max_memory", "MaxMemory": "max_memory", "max": "max_memory", "loud": "", "": "", "x": "", "zzz": "",
	} {
		if got := Nearest(given, known); got != want {
			t.Errorf("%q: got %q, want %q", given, got, want)
		}
	}
}

func TestMachineMemory(t *testing.T) {
	t.Parallel()
	start := time.Now()
	n, err := MachineMemory()
	if err != nil {
		t.Fatal(err)
	}
	if n < 64*mib || n > 64*tib {
		t.Errorf("got %d bytes", n)
	}
	t.Logf("%s on %s, in %v", humanSize(n), runtime.GOOS, time.Since(start))

	if got := (Memory{Percent: 75}).Of(1000); got != 750 {
		t.Errorf("75%% of 1000: got %d", got)
	}
	if got := (Memory{Bytes: 5}).Of(1000); got != 5 {
		t.Errorf("5 bytes of 1000: got %d", got)
	}
}

// FuzzLoad: whatever stands in a file, Load ends and does not panic, and what it accepts survives Write.
func FuzzLoad(f *testing.F) {
	files, _ := filepath.Glob("testdata/mistakes/*.hcl")
	for _, file := range append(files, "testdata/example.hcl") {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		path := filepath.Join(t.TempDir(), "f.hcl")
		if err := os.WriteFile(path, src, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(path, nil)
		if err != nil {
			if err.Error() == "" {
				t.Error("a mistake without words")
			}
			return
		}
		var b strings.Builder
		if err := c.Write(&b, 1<<30); err != nil {
			t.Fatal(err)
		}
		back, err := Load(write(t, b.String()), nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, &b)
		}
		if !reflect.DeepEqual(back, c) {
			t.Errorf("got  %+v\nwant %+v", back, c)
		}
	})
}

// write puts src into a file of its own.
func write(t testing.TB, src string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "statemesh.hcl")
	if err := os.WriteFile(path, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
