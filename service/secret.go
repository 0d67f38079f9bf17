package service

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// secret is a password or a token, as a hash: it is compared in the same time whatever is shown, and stands in no dump of this struct.
type secret struct {
	sum [sha256.Size]byte
	set bool // else nothing is this secret
}

func newSecret(text string) secret { return secret{sha256.Sum256([]byte(text)), true} }

func (s secret) is(shown string) bool {
	sum := sha256.Sum256([]byte(shown))
	return subtle.ConstantTimeCompare(sum[:], s.sum[:]) == 1 && s.set
}

const (
	minSecret     = 12 // bytes: what is shorter can be tried out
	maxSecretFile = 4 << 10
)

// ReadSecret reads a password or a token: the only line of a file, without what is around it. No error quotes it.
func ReadSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err // names the file
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(decodeText(raw))
	wrong := ""
	switch {
	case len(raw) > maxSecretFile:
		wrong = fmt.Sprintf("larger than %d KiB", maxSecretFile>>10)
	case text == "":
		wrong = "empty"
	case strings.ContainsAny(text, "\r\n"):
		wrong = "more than one line"
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		wrong = "not text"
	case len(text) < minSecret:
		wrong = fmt.Sprintf("shorter than %d characters, so that it can be guessed; `statemesh keygen` prints a good one", minSecret)
	}
	if wrong != "" {
		return "", fmt.Errorf("%s: %w", path, errors.New(wrong))
	}
	return text, nil
}

// exposed warns of a file that every user of the machine can read. On Windows the mode says nothing.
func exposed(path string) string {
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&0o007 == 0 {
		return ""
	}
	return fmt.Sprintf("every user of this machine can read a password or token, mode %#o: chmod 600 it", info.Mode().Perm())
}

// decodeText is text without a byte order mark, and as UTF-8: what `> FILE` writes in Windows PowerShell 5 is UTF-16.
func decodeText(text []byte) string {
	decoded, _, err := transform.Bytes(unicode.BOMOverride(transform.Nop), text)
	if err != nil {
		return string(text) // whoever reads it finds nothing that makes sense
	}
	return string(decoded)
}
