package keys

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf16"
)

func TestGenerate_MakesAKeyThatLoads(t *testing.T) {
	t.Parallel()
	a, b := Generate(), Generate()
	if a == b || len(a) != 44 {
		t.Fatalf("two keys of %d characters, equal: %v; want 44, different", len(a), a == b)
	}
	keys, err := parse([]byte(a + "\n" + b + "\n"))
	if err != nil || len(keys) != 2 {
		t.Fatalf("%d keys, error %v; want 2", len(keys), err)
	}
}

func TestParse_TakesWhatEditorsAndShellsMakeOfAKeyFile(t *testing.T) {
	t.Parallel()
	key := Generate()
	for name, text := range map[string]string{
		"as printed":           key + "\n",
		"no line end":          key,
		"Windows line ends":    "# the farm's\r\n\r\n" + key + "\r\n",
		"comment behind":       "\t " + key + "  # since November\n",
		"no padding":           strings.TrimRight(key, "=") + "\n",
		"byte order mark":      "\xef\xbb\xbf" + key + "\n",
		"PowerShell 5":         inUTF16(binary.LittleEndian, key+"\r\n"),
		"UTF-16, the other":    inUTF16(binary.BigEndian, key+"\r\n"),
		"UTF-16, cut off":      inUTF16(binary.LittleEndian, key+"\r\n") + "\r",
		"everything commented": "# " + Generate() + "\n" + key,
	} {
		got, err := parse([]byte(text))
		if err != nil || len(got) != 1 || base64.StdEncoding.EncodeToString(got[0]) != key {
			t.Errorf("%s: %d keys, error %v; want the one", name, len(got), err)
		}
	}
}

func inUTF16(order binary.AppendByteOrder, s string) string {
	b := order.AppendUint16(nil, 0xfeff)
	for _, u := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, u)
	}
	return string(b)
}

func TestParse_ExplainsAMistakeAndShowsNothingOfIt(t *testing.T) {
	t.Parallel()
	key := Generate()
	base := base64.StdEncoding.EncodeToString
	for name, c := range map[string]struct{ text, line, want string }{
		"nothing":         {"", "", "holds no key"},
		"comments only":   {"# " + key + "\n\n", "", "holds no key"},
		"password":        {"\ncorrect horse battery staple\n", "line 2", "statemesh keygen"},
		"password, valid": {"correcthorsebatterystaple1234\n", "line 1", "32 random bytes"},
		"AES-128 key":     {"# no\n" + base([]byte("0123456789abcdef")) + "\n", "line 2", "wrong length"},
		"two in one":      {key + key[:43] + "\n", "line 1", "base64"},
		"a letter lost":   {key + "\n" + key[1:] + "\n", "line 2", "32 random bytes"},
		"encoded text":    {base([]byte("thisisthepasswordofourclusterfarm"[:32])) + "\n", "line 1", "a password"},
		"zeros":           {base(make([]byte, 32)) + "\n", "line 1", "a pattern"},
		"twice":           {key + "\n#\n" + strings.TrimRight(key, "=") + "\n", "line 3", "as in line 1"},
		"too many":        {manyKeys(17), "line 17", "more than 16"},
		"URL alphabet":    {strings.Repeat("_-", 21) + "A\n", "line 1", "no base64"},
		"other spelling":  {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\n", "line 1", "no base64"}, // the last bits are not zero
	} {
		_, err := parse([]byte(c.text))
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if !strings.Contains(err.Error(), c.line) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q; want %q and %q in it", name, err, c.line, c.want)
		}
		for _, line := range strings.Fields(c.text) {
			for i := 0; i+6 <= len(line); i++ { // any six characters in a row
				if part := line[i : i+6]; strings.Contains(err.Error(), part) && !strings.Contains("correct statemesh", part) {
					t.Errorf("%s: %q shows %q", name, err, part)
				}
			}
		}
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for range n {
		b.WriteString(Generate() + "\n")
	}
	return b.String()
}

func TestLoad_SaysHowToMakeAMissingFile(t *testing.T) {
	t.Parallel()
	_, err := Load(filepath.Join(t.TempDir(), "cluster.key"), "a-1")
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "statemesh keygen >") {
		t.Errorf("%v; want what to do", err)
	}
	if _, err = Load(t.TempDir(), "a-1"); err == nil {
		t.Error("a folder was loaded")
	}
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, []byte(strings.Repeat("# much\n", 10_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(large, "a-1"); err == nil || !strings.Contains(err.Error(), "larger than 64 KiB") {
		t.Errorf("%v; want that it is too large", err)
	}
}

func TestLoad_WarnsOfAFileThatOthersCanRead(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such modes")
	}
	for mode, want := range map[fs.FileMode]string{
		0o600: "", 0o400: "", 0o640: "",
		0o644: "every user of this machine", 0o604: "every user of this machine", 0o660: "can change",
	} {
		path := filepath.Join(t.TempDir(), "cluster.key")
		if err := os.WriteFile(path, []byte(Generate()), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		r, err := Load(path, "a-1")
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Warning(); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("mode %o: warning %q; want %q", mode, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(Generate() + "\n# x\r\n" + Generate()))
	f.Add([]byte(inUTF16(binary.LittleEndian, Generate())))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parse(text)
		if (err == nil) != (len(keys) > 0) {
			t.Fatalf("%d keys and error %v", len(keys), err)
		}
		for _, k := range keys {
			if len(k) != keySize {
				t.Fatalf("a key of %d bytes", len(k))
			}
		}
	})
}
