package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
)

// maxFile bounds a configuration file: many times what anybody writes, and less than what is named by mistake.
const maxFile = 1 << 20

// readFile returns the file's text, or why there is none. What an editor may have done to the text (a byte order
// mark, UTF-16) is dealt with here, before the parser sees it.
func readFile(path string) ([]byte, *hcl.Diagnostic) {
	src, err := readAtMost(path, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, mistake(nil, fmt.Sprintf(`There is no file "%s"`, path), missingHint(path))
	case errors.Is(err, fs.ErrPermission):
		return nil, mistake(nil, fmt.Sprintf(`The file "%s" may not be read by this user`, path),
			"Give the user that statemesh runs as the right to read it.")
	case errors.Is(err, errDirectory):
		return nil, mistake(nil, fmt.Sprintf(`"%s" is a folder`, path), "Name the configuration file in it.")
	case errors.Is(err, errTooLarge):
		return nil, mistake(nil, fmt.Sprintf(`The file "%s" is larger than %s`, path, sizeText(maxFile)), "It can hardly be a configuration file.")
	case err != nil:
		return nil, mistake(nil, fmt.Sprintf(`The file "%s" cannot be read`, path), err.Error())
	}

	const saveAs = "Save it as UTF-8: in Notepad, File > Save As, Encoding: UTF-8."
	switch {
	case bytes.HasPrefix(src, []byte{0xFF, 0xFE}), bytes.HasPrefix(src, []byte{0xFE, 0xFF}):
		return nil, mistake(nil, fmt.Sprintf(`The file "%s" is saved as UTF-16`, path),
			"Notepad and PowerShell call this encoding Unicode. "+saveAs)
	case bytes.IndexByte(src, 0) >= 0:
		return nil, mistake(nil, fmt.Sprintf(`The file "%s" is not a text file`, path),
			"There are zero bytes in it. If it is meant to be a configuration file, it is in an encoding other than UTF-8. "+saveAs)
	}
	return bytes.TrimPrefix(src, []byte("\uFEFF")), nil
}

var (
	errDirectory = errors.New("is a directory")
	errTooLarge  = errors.New("too large")
)

func readAtMost(path string, n int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		// Windows opens no directories, and does not say that it is one.
		if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
			return nil, errDirectory
		}
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, errDirectory
	}
	src, err := io.ReadAll(io.LimitReader(f, n+1))
	if err == nil && int64(len(src)) > n {
		err = errTooLarge
	}
	return src, err
}

// missingHint helps an operator to see why a file is not where they think: another working directory, or the .txt
// that Notepad appends and Explorer hides.
func missingHint(path string) string {
	if _, err := os.Stat(path + ".txt"); err == nil {
		return fmt.Sprintf(`There is "%s": Notepad appends .txt, and Explorer hides it. Rename the file.`, path+".txt")
	}
	abs, err := filepath.Abs(path)
	if err != nil || abs == path {
		return "Check the name, and the folder it is in."
	}
	return fmt.Sprintf("It was looked for as %s.", abs)
}

// repairEncoding replaces bytes that are not UTF-8, so that the rest of the file can be judged, and reports the first.
func repairEncoding(src []byte, path string) ([]byte, *hcl.Diagnostic) {
	if utf8.Valid(src) {
		return src, nil
	}
	repaired := make([]byte, len(src)) // of the same length, so that places in the file stay what they are
	first := -1
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n == 1 {
			repaired[i] = '?'
			if first < 0 {
				first = i
			}
		} else {
			copy(repaired[i:], src[i:i+n])
		}
		i += n
	}
	line := lineAt(repaired, path, bytes.Count(repaired[:first], []byte("\n"))+1)
	return repaired, mistake(&line, "Not UTF-8",
		"A character on this line (shown as ?), and maybe others, is in another encoding, such as ANSI. "+
			"Save the file as UTF-8: in Notepad, File > Save As, Encoding: UTF-8.")
}
