package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"statemesh/config"
	"statemesh/service"
)

// binary is the real thing, for the tests that need a process.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "statemesh-test")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "statemesh")
		if runtime.GOOS == "windows" {
			binary += ".exe"
		}
		if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build statemesh: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// runHere runs the command inside the test.
func runHere(args ...string) (status int, stdout, stderr string) {
	var out, err bytes.Buffer
	if args == nil {
		args = []string{} // cobra takes nil for os.Args
	}
	status = run(args, &out, &err)
	return status, out.String(), err.String()
}

// write puts src into a file of its own.
func write(t *testing.T, src string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "statemesh.hcl")
	if err := os.WriteFile(path, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRun_WordsWrongUsage(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"serv":                            "statemesh: there is no command \"serv\"; did you mean \"serve\"?\nFor help: statemesh --help\n",
		"help serv":                       "statemesh: there is no command \"serv\"; did you mean \"serve\"?\nFor help: statemesh --help\n",
		"help completion tcsh":            "statemesh: there is no command \"tcsh\"\nFor help: statemesh --help\n",
		"members x":                       "statemesh: members takes no argument, but got \"x\"; if that is the configuration file: --config x\nFor help: statemesh members --help\n",
		"status --config=":                "statemesh: wrong usage: --config names no file\nFor help: statemesh status --help\n",
		"drain --status-addr 127.0.0.1:0": "statemesh: wrong usage: port 0 is another one at each start of the node: its log names it, for --status-addr\nFor help: statemesh drain --help\n",
		"start":                           "statemesh: there is no command \"start\"; did you mean \"serve\"?\nFor help: statemesh --help\n",
		"validate x.hcl":                  "statemesh: there is no command \"validate\"; did you mean \"check\"?\nFor help: statemesh --help\n",
		"xyzzy":                           "statemesh: there is no command \"xyzzy\"\nFor help: statemesh --help\n",
		"serv --config x":                 "statemesh: there is no command \"serv\"; did you mean \"serve\"?\nFor help: statemesh --help\n",
		"--log-level debug":               "statemesh: --log-level is a flag of a command: statemesh serve --log-level\nFor help: statemesh --help\n",
		"serve --stat-addr 127.0.0.1:0":   "statemesh: there is no flag --stat-addr; did you mean --state-addr?\nFor help: statemesh serve --help\n",
		"serve --xyzzy":                   "statemesh: there is no flag --xyzzy\nFor help: statemesh serve --help\n",
		"serve -v":                        "statemesh: there is no flag -v\nFor help: statemesh serve --help\n",
		"serve -confg x":                  "statemesh: there is no flag -confg; did you mean --config?\nFor help: statemesh serve --help\n",
		"serve -config x":                 "statemesh: a flag begins with two dashes: --config\nFor help: statemesh serve --help\n",
		"serve -config=x":                 "statemesh: a flag begins with two dashes: --config\nFor help: statemesh serve --help\n",
		"serve --log-level":               "statemesh: flag needs an argument: --log-level\nFor help: statemesh serve --help\n",
		"serve --config=":                 "statemesh: wrong usage: --config names no file\nFor help: statemesh serve --help\n",
		"serve x.hcl":                     "statemesh: serve takes no argument, but got \"x.hcl\"; if that is the configuration file: --config x.hcl\nFor help: statemesh serve --help\n",
		"check":                           "statemesh: check needs the name of the configuration file\nFor help: statemesh check --help\n",
		"check a b":                       "statemesh: check takes one file, but got 2 arguments; a name with spaces needs quotes\nFor help: statemesh check --help\n",
		"bench x":                         "statemesh: bench takes no argument, but got \"x\"\nFor help: statemesh bench --help\n",
		"version x":                       "statemesh: version takes no argument, but got \"x\"\nFor help: statemesh version --help\n",
		"completion tcsh":                 "statemesh: there is no command \"tcsh\"\nFor help: statemesh completion --help\n",
		"serve --log-level loud":          "Error: Invalid value for --log-level: \"loud\" is not one of the choices. It takes \"trace\", \"debug\", \"info\", \"warn\" or \"error\".\n\n1 mistake. For help: statemesh serve --help\n",
		"serve --max-head 1 --max-body=2": "Error: Invalid value for --max-head: \"1\" has no unit, such as KiB, MiB or GiB. It takes a size from 1KiB to 1MiB, such as \"16KiB\".\n\nError: Invalid value for --max-body: \"2\" has no unit, such as KiB, MiB or GiB. It takes a size from 1KiB to 2047MiB, such as \"64MiB\".\n\n2 mistakes. For help: statemesh serve --help\n",
	} {
		status, _, stderr := runHere(strings.Fields(line)...)
		if status != exitUsage || stderr != want {
			t.Errorf("statemesh %s: status %d\n%s\nwant status %d\n%s", line, status, stderr, exitUsage, want)
		}
	}
	if status, stdout, _ := runHere("bench", "--mix", "nonsense"); status != exitUsage || stdout != "" {
		t.Errorf("bench: status %d, stdout %q", status, stdout)
	}
}

func TestRun_HelpsOperators(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"--help"}, {"help"}} {
		status, stdout, stderr := runHere(args...)
		if status != exitDone || stderr != "" {
			t.Errorf("%v: status %d, stderr %q", args, status, stderr)
		}
		for _, want := range []string{"stateConnectionString", "statemesh serve --config statemesh.hcl", "check", "bench", "version", "completion"} {
			if !strings.Contains(stdout, want) {
				t.Errorf("%v: no %q in:\n%s", args, want, stdout)
			}
		}
	}
	for _, command := range []string{"serve", "check", "version", "bench", "keygen", "members", "status", "drain"} {
		status, stdout, stderr := runHere(command, "--help")
		if status != exitDone || stderr != "" || !strings.Contains(stdout, "statemesh "+command) {
			t.Errorf("%s: status %d, stderr %q, stdout %q", command, status, stderr, stdout)
		}
	}
	if _, stdout, _ := runHere("serve", "--help"); !strings.Contains(stdout, "(default 127.0.0.1:42424)") || !strings.Contains(stdout, "--log-format text|json") {
		t.Errorf("serve --help shows no defaults or no choices:\n%s", stdout)
	}
}

func TestServe_HasAFlagForEverySetting(t *testing.T) {
	t.Parallel()
	cmd := newServeCmd()
	own := map[string]bool{"config": true, "addr-file": true} // settings of a call, not of a node
	for _, s := range config.Default().Settings() {
		if cmd.Flags().Lookup(s.Flag) == nil {
			t.Errorf("no flag --%s for %s", s.Flag, s.Path())
		}
		own[s.Flag] = true
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !own[f.Name] {
			t.Errorf("--%s is no setting", f.Name)
		}
	})
	// Scripts rely on these.
	for _, name := range []string{"config", "node-name", "state-addr", "gossip-addr", "transfer-addr", "status-addr", "join", "key-file", "backups",
		"snapshot-dir", "log-level", "log-format", "addr-file"} {
		if cmd.Flags().Lookup(name) == nil {
			t.Errorf("no flag --%s", name)
		}
	}
}

func TestOptions_CarryEverySetting(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load("", map[string]string{
		"node-name": "web07", "state-addr": "10.0.0.5:1", "status-addr": "10.0.0.5:2", "aspnet-version": "2.0.50727",
		"status-line": "http/1.1", "max-head": "2KiB", "max-body": "3KiB", "max-connections": "4", "idle-timeout": "5s",
		"request-timeout": "6s", "max-memory": "50%", "max-waiting": "7", "lock-wait": "2s",
		"gossip-addr": "10.0.0.5:3", "advertise-addr": "10.0.0.5:4", "transfer-addr": "10.0.0.5:5", "join": "a,b:6", "key-file": "k",
		"cluster-name": "farm1", "query-timeout": "1s", "drain-timeout": "9s", "snapshot-dir": "d", "expect-members": "3",
	})
	if err != nil {
		t.Fatal(err)
	}
	got := options(cfg, 1<<30, "addrs.json", nil)
	want := got
	want.NodeName, want.StateAddr, want.StatusAddr, want.AddrFile = "web07", "10.0.0.5:1", "10.0.0.5:2", "addrs.json"
	want.AspNetVersion, want.StatusLine, want.MaxHead, want.MaxBody = "2.0.50727", "http/1.1", 2<<10, 3<<10
	want.MaxConnections, want.IdleTimeout, want.RequestTimeout = 4, 5e9, 6e9
	// In whole hundredths of the machine's memory.
	want.MaxMemory, want.MaxWaiting = (1<<30)/100*50, 7
	want.LockWait, want.SnapshotDir = 2e9, "d"
	want.Cluster = &service.Cluster{
		Name: "farm1", Gossip: "10.0.0.5:3", Advertise: "10.0.0.5:4", Transfer: "10.0.0.5:5", Join: []string{"a", "b:6"}, KeyFile: "k",
		QueryTimeout: 1e9, DrainTimeout: 9e9, ExpectMembers: 3,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if alone := options(config.Default(), 1<<30, "", nil); alone.Cluster != nil {
		t.Errorf("without settings of a cluster there is one: %+v", alone.Cluster)
	}
	insecure, err := config.Load("", map[string]string{"insecure-plaintext": "true"})
	if err != nil {
		t.Fatal(err)
	}
	if o := options(insecure, 1<<30, "", nil); o.Cluster == nil || !o.Cluster.Insecure {
		t.Errorf("insecure_plaintext: got %+v", o.Cluster)
	}
	if got.Version == "" || got.StopTimeout >= stopWithin {
		t.Errorf("version %q, stop timeout %v", got.Version, got.StopTimeout)
	}
}

// A setting that is not passed on is accepted and does nothing. The settings are the fields of Config: a test of package config says so.
func TestOptions_LeaveNoSettingOut(t *testing.T) {
	t.Parallel()
	elsewhere := map[string]bool{
		"Log.Level": true, "Log.Format": true, // the logger's
		"Cluster.Backups": true, // 0 is all there is
	}
	passedOn := func(change func(*config.Config)) service.Options {
		c := config.Default()
		c.Cluster.KeyFile = "cluster.key"
		change(c)
		return options(c, 1<<30, "", nil)
	}
	unchanged := passedOn(func(*config.Config) {})
	fields := 0
	eachField(reflect.TypeFor[config.Config](), "", nil, func(name string, index []int) {
		fields++
		got := passedOn(func(c *config.Config) { change(t, reflect.ValueOf(c).Elem().FieldByIndex(index)) })
		if same := reflect.DeepEqual(got, unchanged); same != elsewhere[name] {
			t.Errorf("%s: that it changes nothing is %v, want %v", name, same, elsewhere[name])
		}
	})
	if want := len(config.Default().Settings()); fields != want {
		t.Errorf("%d fields for %d settings", fields, want)
	}
}

// eachField calls do for what can be set in a Config.
func eachField(in reflect.Type, path string, index []int, do func(name string, index []int)) {
	for i := range in.NumField() {
		f := in.Field(i)
		at := append(slices.Clone(index), i)
		if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[config.Memory]() {
			eachField(f.Type, path+f.Name+".", at, do)
		} else {
			do(path+f.Name, at)
		}
	}
}

// change gives a field another value.
func change(t *testing.T, field reflect.Value) {
	switch field.Kind() {
	case reflect.String:
		field.SetString("another")
	case reflect.Bool:
		field.SetBool(!field.Bool())
	case reflect.Int, reflect.Int64:
		field.SetInt(field.Int() + 1)
	case reflect.Slice:
		field.Set(reflect.Append(field, reflect.ValueOf("another")))
	case reflect.Struct:
		field.Set(reflect.ValueOf(config.Memory{Percent: 50}))
	default:
		t.Fatalf("a field that is a %v", field.Kind())
	}
}

func TestCheck_PrintsWhatCheckAccepts(t *testing.T) {
	t.Parallel()
	status, first, stderr := runHere("check", write(t, "node_name = \"web01\"\nsessions {\n  max_memory = \"50%\"\n}\n"))
	if status != exitDone || !strings.HasSuffix(stderr, "statemesh.hcl is valid.\n") {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	for _, want := range []string{"node_name = \"web01\"\n", "max_memory   = \"50%\" # ", " of ", "listen          = \"127.0.0.1:42424\" # default\n"} {
		if !strings.Contains(first, want) {
			t.Errorf("no %q in:\n%s", want, first)
		}
	}
	status, second, stderr := runHere("check", write(t, first))
	if status != exitDone || second != first {
		t.Errorf("status %d, stderr %q, got:\n%s\nwant:\n%s", status, stderr, second, first)
	}
}

func TestCheck_ShowsMistakes(t *testing.T) {
	t.Parallel()
	path := write(t, "log {\n  level = \"debg\"\n  color = true\n}\n")
	status, stdout, stderr := runHere("check", path)
	if status != exitUsage || stdout != "" {
		t.Errorf("status %d, stdout %q, want %d and nothing", status, stdout, exitUsage)
	}
	for _, want := range []string{path + " line 2, in log:\n   2:   level = \"debg\"\n", "Did you mean \"debug\"?", "Unknown setting \"color\"", "\n2 mistakes. For help: statemesh check --help\n"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in:\n%s", want, stderr)
		}
	}

	if status, _, stderr := runHere("check", filepath.Join(t.TempDir(), "none.hcl")); status != exitUsage || !strings.Contains(stderr, "There is no file") {
		t.Errorf("missing file: status %d, stderr %q", status, stderr)
	}
}

func TestServe_ShowsMistakesOfFileAndFlagsAndStartsNothing(t *testing.T) {
	t.Parallel()
	addrs := filepath.Join(t.TempDir(), "addrs.json")
	status, _, stderr := runHere("serve", "--config", write(t, "clutter {\n}\n"), "--max-waiting", "0", "--addr-file", addrs)
	if status != exitUsage {
		t.Errorf("status %d, want %d", status, exitUsage)
	}
	for _, want := range []string{"Unknown block \"clutter\"", "Did you mean \"cluster\"?", "--max-waiting: 0 is out of range", "2 mistakes."} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in:\n%s", want, stderr)
		}
	}
	if _, err := os.Stat(addrs); err == nil {
		t.Error("it has listened")
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	want := "statemesh " + buildVersion() + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n"
	for _, args := range [][]string{{"version"}, {"--version"}} {
		if status, stdout, stderr := runHere(args...); status != exitDone || stdout != want || stderr != "" {
			t.Errorf("%v: status %d, %q, %q, want %q", args, status, stdout, stderr, want)
		}
	}
	_, stdout, _ := runHere("version", "--json")
	var got map[string]string
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || got["version"] != buildVersion() || got["os"] != runtime.GOOS {
		t.Errorf("%q: %v", stdout, err)
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if status, stdout, stderr := runHere("completion", shell); status != exitDone || !strings.Contains(stdout, "statemesh") {
			t.Errorf("%s: status %d, stderr %q", shell, status, stderr)
		}
	}
	for typed, want := range map[string]string{
		"serve --log-level ":  "debug\n",
		"serve --log-format ": "json\n",
		"serve --config ":     "hcl\n",
		"check ":              "hcl\n",
		"members --config ":   "hcl\n",
		"help dr":             "drain\t",
		"s":                   "serve\t",
	} {
		args := append([]string{"__complete"}, strings.Split(typed, " ")...)
		if _, stdout, _ := runHere(args...); !strings.Contains(stdout, want) {
			t.Errorf("%q: no %q in %q", typed, want, stdout)
		}
	}
}
