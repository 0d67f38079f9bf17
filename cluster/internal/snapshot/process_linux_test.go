package snapshot

import (
	"bufio"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// child runs one of this file's helpers in a process of its own, in the folder.
func child(helper, folder string) *exec.Cmd {
	c := exec.Command("/proc/self/exe", "-test.run=^"+helper+"$", "-test.v", "-test.timeout=100s")
	c.Env = append(os.Environ(), "SNAPSHOT_TEST_FOLDER="+folder)
	c.Stderr = os.Stderr
	return c
}

// folder is the one that this process was started for, as a helper.
func folder(t *testing.T) string {
	f := os.Getenv("SNAPSHOT_TEST_FOLDER")
	if f == "" {
		t.Skip("it is run by another test")
	}
	return f
}

// TestDiskFull_KeepsWhatWasThere fills a small disk, which only a process in a namespace of its own can mount.
func TestDiskFull_KeepsWhatWasThere(t *testing.T) {
	t.Parallel()
	c := child("TestHelper_FillDisk", t.TempDir())
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := c.Output()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || strings.Contains(string(out), "no mounting here") {
		t.Skipf("this system allows no namespaces to this user: %v", err)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: TestHelper_FillDisk") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestHelper_FillDisk(t *testing.T) {
	path := folder(t)
	if err := unix.Mount("none", path, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatalf("no mounting here: %v", err)
	}
	d := inUse(t, path)
	all := sessions(40, 20_000)
	d.save(t, secret, all)

	w, err := d.Create(secret)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	r := Record{Key: []byte("k"), TimeLeft: time.Hour}
	for n := 0; err == nil && n < 10<<20; n += 50_000 {
		err = w.Add(&r, make([]byte, 50_000))
	}
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), path) {
		t.Errorf("adding more than fits: %v; want that there is no space, and where", err)
	}
	if _, err := w.Commit(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("committing it: %v", err)
	}
	if left := names(t, path); len(left) != 1 || left[0] != fileName {
		t.Errorf("%v is left", left)
	}
	got, err := d.load(secret)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, all)
}

// TestKill9_AllOrNothing kills a process that writes and adopts snapshots without a pause, at any moment, and does what the next start would. Each
// snapshot holds its number in each session, so that a half one, or one that was adopted before, would show.
func TestKill9_AllOrNothing(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	last, found := 0, 0
	for kills := 0; kills < 8 || found == 0 && kills < 60; kills++ {
		c := child("TestHelper_WriteAndAdopt", path)
		c.Env = append(c.Env, "SNAPSHOT_TEST_FROM="+strconv.Itoa(last+1))
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		adopted := 0
		lines := bufio.NewScanner(out)
		hear := func() bool {
			more := lines.Scan()
			what, number, _ := strings.Cut(lines.Text(), " ")
			if n, err := strconv.Atoi(number); err == nil {
				last = max(last, n)
				if what == "adopted" {
					adopted = n
				}
			}
			return more
		}
		for n := rand.IntN(6); n > 0 && hear(); n-- {
		}
		_ = c.Process.Signal(unix.SIGKILL)
		for hear() { // what it had said before
		}
		_ = c.Wait()

		d, err := Use(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.load(secret)
		if err != nil && !isNone(err) {
			t.Fatal(err)
		}
		if len(got) > 0 {
			found++
			n := int(got[0].Epoch)
			if len(got) != manySessions || n <= adopted || n > last+1 {
				t.Fatalf("%d sessions of snapshot %d; the last one adopted is %d, the last one written %d", len(got), n, adopted, last)
			}
			for _, e := range got {
				if int(e.Epoch) != n {
					t.Fatalf("sessions of snapshots %d and %d in one", n, e.Epoch)
				}
			}
			last = max(last, n)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Error("no kill ever left a snapshot")
	}
}

const manySessions = 3000

func TestHelper_WriteAndAdopt(t *testing.T) {
	d := inUse(t, folder(t))
	n, err := strconv.Atoi(os.Getenv("SNAPSHOT_TEST_FROM"))
	if err != nil {
		t.Fatal(err)
	}
	say := func(what string) { _, _ = os.Stdout.WriteString(what + " " + strconv.Itoa(n) + "\n") }
	all := sessions(manySessions, 1000)
	for ; ; n++ {
		for i := range all {
			all[i].Epoch = uint64(n)
		}
		d.save(t, secret, all)
		say("written")
		d.at = func(step string) {
			if step == "consumed" {
				say("adopted")
			}
		}
		if _, err := d.load(secret); err != nil {
			t.Fatal(err)
		}
		d.at = func(string) {}
	}
}
