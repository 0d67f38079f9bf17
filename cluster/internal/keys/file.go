package keys

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// keySize is a key's, in bytes.
const keySize = 32

// maxKeys bounds a key file. A rotation needs two; each further one costs a try for every packet that cannot be read.
const maxKeys = 16

// maxFile bounds the file before it is read: whoever gives the wrong one may give a large one.
const maxFile = 64 << 10

// Generate makes a key, as a line of a key file without its end.
func Generate() string {
	k := make([]byte, keySize)
	_, _ = rand.Read(k) // never fails, see crypto/rand
	return base64.StdEncoding.EncodeToString(k)
}

// readFile reads the keys of a file, and says what an operator should know about it though it can be used.
func readFile(path string) (keys [][]byte, warning string, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("key file: %w (one node makes it, `statemesh keygen > %s`, and all others get a copy)", err, path)
	}
	if err != nil {
		return nil, "", fmt.Errorf("key file: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil {
		warning = exposed(path, info.Mode())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, "", fmt.Errorf("key file: %w", err)
	}
	if len(text) > maxFile {
		return nil, "", fmt.Errorf("key file %s: larger than %d KiB, so hardly a key file", path, maxFile>>10)
	}
	if keys, err = parse(text); err != nil {
		return nil, "", fmt.Errorf("key file %s: %w", path, err)
	}
	return keys, warning, nil
}

// exposed warns of a file that others may read or change. On Windows the mode says nothing: who may read a file is inherited from
// its folder, and docs/security.md says how to look.
func exposed(path string, mode fs.FileMode) string {
	switch {
	case runtime.GOOS == "windows":
		return ""
	case mode.Perm()&0o007 != 0:
		return fmt.Sprintf("every user of this machine can read the key file, mode %#o: chmod 600 %s", mode.Perm(), path)
	case mode.Perm()&0o020 != 0:
		return fmt.Sprintf("not only its owner can change the key file, mode %#o: chmod 600 %s", mode.Perm(), path)
	}
	return ""
}

// parse reads a key file's text: a key a line, in base64; what follows a # is a comment. No error quotes the text, since it may be a
// key with one letter missing, or somebody's password.
func parse(text []byte) ([][]byte, error) {
	var keys [][]byte
	lines := map[string]int{} // key: the line it stands in
	for i, line := range strings.Split(decodeText(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		key, err := parseKey(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if first, again := lines[string(key)]; again {
			return nil, fmt.Errorf("line %d: the same key as in line %d; remove one of them", i+1, first)
		}
		lines[string(key)] = i + 1
		if keys = append(keys, key); len(keys) > maxKeys {
			return nil, fmt.Errorf("line %d: more than %d keys; remove those no longer used", i+1, maxKeys)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("holds no key; `statemesh keygen` makes one")
	}
	return keys, nil
}

const wanted = "wanted are %d random bytes in base64, which are %d characters, as `statemesh keygen` prints them"

// parseKey reads one key.
func parseKey(line string) ([]byte, error) {
	want := fmt.Sprintf(wanted, keySize, base64.StdEncoding.EncodedLen(keySize))
	key, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(line, "="))
	switch {
	case err != nil: // it would quote a character of the line
		return nil, errors.New("no base64: " + want)
	case len(key) != keySize:
		return nil, errors.New("a key of the wrong length: " + want)
	case !random(key):
		return nil, errors.New("a password, or a pattern: with either, whoever records a connection can guess the key; " + want)
	}
	return key, nil
}

// random tells whether a key might have been drawn by chance. 32 random bytes are all printable once in 10^13 times, and hold fewer than 16
// different ones less often than that.
func random(key []byte) bool {
	var seen [256]bool
	distinct, printable := 0, true
	for _, b := range key {
		if !seen[b] {
			seen[b] = true
			distinct++
		}
		printable = printable && b >= ' ' && b <= '~'
	}
	return distinct >= 16 && !printable
}

// decodeText is text without a byte order mark, and as UTF-8: what `statemesh keygen > FILE` writes in Windows PowerShell 5 is UTF-16.
func decodeText(text []byte) string {
	decoded, _, err := transform.Bytes(unicode.BOMOverride(transform.Nop), text)
	if err != nil {
		return string(text) // whoever reads it finds nothing that makes sense
	}
	return strings.TrimSuffix(string(decoded), "\uFFFD") // half a character, of a file that was cut off behind its last line
}
