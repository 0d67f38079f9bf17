//go:build linux

package browser

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The judges: not ours, not embedded, fetched when they are needed.
var (
	// axe-core (MPL 2.0) looks for what keeps people from using a page.
	axe = judge{
		pack: "axe-core@4.14.1", file: "package/axe.min.js",
		sum: "1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5",
	}
	// vnu (MIT) is the W3C's Nu HTML checker.
	vnu = judge{
		pack: "vnu-jar@26.9.27", file: "package/build/dist/vnu.jar",
		sum: "4e441de4315f39a582f5e6edbe8cd3b2b1f655aa1dde3620faface791133217c417b12f3f7ead2d8336d8e7efe44f5226618258b44a0860057e9125135e6b428",
	}
)

// judge is a file of a package of npm's.
type judge struct {
	pack, file string
	sum        string // SHA-512 of the package
}

// get returns where the file is. It is fetched once for a machine; where that cannot be the test is skipped, except in CI.
func (j judge) get(t *testing.T) string {
	t.Helper()
	file, err := j.fetch(t)
	if err != nil {
		missing(t, fmt.Sprintf("no %s: %v", j.pack, err))
	}
	return file
}

// missing skips a test that lacks something; CI has everything.
func missing(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func (j judge) fetch(t *testing.T) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	kept := filepath.Join(cache, "statemesh-tests", j.sum[:16]+"-"+filepath.Base(j.file))
	if _, err := os.Stat(kept); err == nil {
		return kept, nil
	}
	dir := t.TempDir()
	npm := exec.CommandContext(t.Context(), "npm", "pack", "--silent", j.pack)
	npm.Dir = dir
	out, err := npm.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("npm pack: %w\n%s", err, out)
	}
	packs, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(packs) != 1 {
		return "", fmt.Errorf("npm pack made %v", packs)
	}
	pack, err := os.ReadFile(packs[0])
	if err != nil {
		return "", err
	}
	if sum := sha512.Sum512(pack); hex.EncodeToString(sum[:]) != j.sum {
		return "", errors.New("it is not the package that it was")
	}
	content, err := unpack(pack, j.file)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(kept), 0o755); err != nil {
		return "", err
	}
	fresh := filepath.Join(dir, "fresh")
	if err := os.WriteFile(fresh, content, 0o644); err != nil {
		return "", err
	}
	if err := os.Rename(fresh, kept); err != nil { // another file system
		return fresh, nil
	}
	return kept, nil
}

// unpack finds a file in a .tgz.
func unpack(pack []byte, name string) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(pack))
	if err != nil {
		return nil, err
	}
	archive := tar.NewReader(z)
	for {
		h, err := archive.Next()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if h.Name == name {
			return io.ReadAll(archive)
		}
	}
}
