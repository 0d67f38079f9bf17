package snapshot

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The names in a folder.
const (
	fileName     = "sessions.snapshot"
	tmpName      = fileName + ".tmp"
	adoptingName = fileName + ".adopting"
	unreadName   = fileName + ".unread-"
	keyName      = "snapshot.key"
)

// Dir is a folder with a node's snapshot. It is the node's alone: two that share one would overwrite each other's sessions.
type Dir struct {
	path string
	lock *os.File
	// Swept are the files that an earlier process had left half-way, and that were removed: for the log.
	Swept []string

	at func(step string) // for tests: called when a step is on disk
}

// Use makes the folder if need be, and finds out now whether a snapshot can be written there, as it would be too late to hear of it when the node
// stops. Close ends the use.
func Use(path string) (*Dir, error) {
	d, err := use(path)
	if err != nil {
		return nil, fmt.Errorf("snapshot folder: %w", err)
	}
	return d, nil
}

func use(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockDir(path)
	if err != nil {
		return nil, err
	}
	d := &Dir{path: path, lock: lock, at: func(string) {}}
	if err := d.prepare(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (d *Dir) prepare() error {
	for _, name := range []string{tmpName, adoptingName} {
		switch err := os.Remove(d.file(name)); {
		case err == nil:
			d.Swept = append(d.Swept, d.file(name))
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	if _, err := d.ownSecret(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	probe, err := createPrivate(d.file(tmpName))
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(d.file(tmpName)))
}

// Close ends the use of the folder.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Close()
}

// File is where the folder's snapshot is, if there is one.
func (d *Dir) File() string { return d.file(fileName) }

func (d *Dir) file(name string) string { return filepath.Join(d.path, name) }

// ownSecret reads the secret of a node that has no cluster key.
func (d *Dir) ownSecret() ([]byte, error) {
	text, err := os.ReadFile(d.file(keyName))
	if err != nil {
		return nil, err
	}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(secret) != 32 {
		return nil, fmt.Errorf("%s is damaged: remove it, and the snapshot, which nothing else can read", d.file(keyName))
	}
	return secret, nil
}

// makeOwnSecret reads it, or makes one.
func (d *Dir) makeOwnSecret() ([]byte, error) {
	if secret, err := d.ownSecret(); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails, see crypto/rand
	f, err := createPrivate(d.file(tmpName))
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(secret) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = d.rename(tmpName, keyName)
	}
	if err != nil {
		_ = os.Remove(d.file(tmpName))
		return nil, err
	}
	d.at("own key")
	return secret, nil
}

// rename gives a file another name in the folder, in place of another file if need be, and returns when that is on disk.
func (d *Dir) rename(from, to string) error {
	if err := renameDurably(d.file(from), d.file(to)); err != nil {
		return err
	}
	return syncDir(d.path)
}
