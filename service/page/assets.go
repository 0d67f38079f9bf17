package page

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"maps"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
)

// The files that the page loads. uPlot (MIT, assets/uplot.LICENSE) is version 1.6.32 as its makers ship it.
//
//go:embed assets
var files embed.FS

// assets are files under names that have a piece of their content's hash in them, so that browsers need never ask twice.
type assets struct {
	hashed map[string]string // "page.css" → "page.0f3a9c1d.css"
	named  map[string]asset  // by the hashed name
}

type asset struct {
	contentType string
	content     []byte
}

func newAssets() *assets {
	a := &assets{hashed: map[string]string{}, named: map[string]asset{}}
	list, err := fs.ReadDir(files, "assets")
	if err != nil { // what is embedded can be read
		panic(err)
	}
	for _, f := range list {
		content, err := files.ReadFile("assets/" + f.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(content)
		ext := path.Ext(f.Name())
		hashed := strings.TrimSuffix(f.Name(), ext) + "." + hex.EncodeToString(sum[:4]) + ext
		a.hashed[f.Name()] = hashed
		a.named[hashed] = asset{contentTypeOf(ext), content}
	}
	return a
}

// contentTypeOf does not ask the system, whose registry may say that scripts are text.
func contentTypeOf(ext string) string {
	switch ext {
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.FormatMediaType("text/plain", map[string]string{"charset": "utf-8"})
}

// sum tells these assets from those of another version.
func (a *assets) sum() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(a.named)) {
		h.Write([]byte(name))
	}
	return hex.EncodeToString(h.Sum(nil)[:4])
}

// path is where an asset is found.
func (a *assets) path(name string) string { return "/assets/" + a.hashed[name] }

// IsAsset tells whether that is the path of an asset: they are the same in every copy of this program.
func IsAsset(path string) bool {
	name, is := strings.CutPrefix(path, "/assets/")
	_, known := load().assets.named[name]
	return is && known
}

func (a *assets) serve(w http.ResponseWriter, r *http.Request) {
	f, ok := a.named[r.PathValue("file")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	header(w, f.contentType)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Write(f.content)
}
