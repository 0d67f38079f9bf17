package config

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Load builds a configuration from the defaults, the file at path (none if path is empty) and flags: the text that
// each used flag was given, by Setting.Flag. Its error, if any, is a *[Mistakes].
func Load(path string, flags map[string]string) (*Config, error) {
	c := Default()
	l := &loader{settings: c.Settings(), setAt: map[string]origin{}, wrong: map[string]bool{}}
	if path != "" {
		l.loadFile(path)
	}
	l.applyFlags(flags)
	l.checkListeners(c)
	if len(l.diags) == 0 { // else what is missing may be what is wrong
		l.checkCluster(c)
		l.checkStatus(c)
	}
	if len(l.diags) > 0 {
		return nil, &Mistakes{diags: l.diags, files: l.files}
	}
	return c, nil
}

// loader is one Load under way.
type loader struct {
	settings []Setting
	setAt    map[string]origin // where each setting that was set was set, by Path
	wrong    map[string]bool   // settings that somebody tried to set and that are now not what they meant, by Path
	diags    hcl.Diagnostics
	files    map[string]*hcl.File
}

// origin is where a setting's value comes from: a place in the file, or a flag.
type origin struct {
	at   *hcl.Range
	flag string
}

func (l *loader) add(at *hcl.Range, summary, detail string) {
	l.diags = append(l.diags, mistake(at, summary, detail))
}

func (l *loader) loadFile(path string) {
	src, diag := readFile(path)
	if diag != nil {
		l.diags = append(l.diags, diag)
		return
	}
	src, diag = repairEncoding(src, path)
	if diag != nil {
		l.diags = append(l.diags, diag)
	}
	parsed := parse(src, path)
	l.diags = append(l.diags, parsed.diags...)
	l.files = map[string]*hcl.File{path: parsed.file}

	l.decode(parsed.body, parsed.upTo)
	sort.SliceStable(l.diags, func(i, j int) bool {
		return l.diags[i].Subject.Start.Byte < l.diags[j].Subject.Start.Byte
	})
}

// decode sets what the file sets, up to line upTo.
func (l *loader) decode(body *hclsyntax.Body, upTo int) {
	l.decodeSettings("", body, upTo)

	names := blocks(l.settings)
	first := map[string]*hclsyntax.Block{}
	for _, b := range body.Blocks {
		if b.TypeRange.Start.Line >= upTo {
			continue
		}
		if !slices.Contains(names, b.Type) {
			l.unknownBlock(b)
			continue
		}
		if before := first[b.Type]; before != nil {
			l.add(&b.TypeRange, fmt.Sprintf("Second block %q", b.Type),
				fmt.Sprintf("There is one on line %d already: put all settings of %s into it.", before.TypeRange.Start.Line, b.Type))
		} else {
			first[b.Type] = b
		}
		if len(b.Labels) > 0 {
			l.add(&b.LabelRanges[0], fmt.Sprintf("Extra word after %q", b.Type),
				fmt.Sprintf("A block here has no name besides its own: write just %s {", b.Type))
		}
		l.decodeSettings(b.Type, b.Body, upTo)
		for _, inner := range b.Body.Blocks {
			if inner.TypeRange.Start.Line < upTo {
				l.misplacedBlock(b, inner)
			}
		}
	}
}

func (l *loader) unknownBlock(b *hclsyntax.Block) {
	if i := l.index("", b.Type); i >= 0 {
		l.add(&b.TypeRange, fmt.Sprintf("%q is not a block", b.Type), settingForm(l.settings[i]))
		return
	}
	names := blocks(l.settings)
	l.add(&b.TypeRange, fmt.Sprintf("Unknown block %q", b.Type),
		sentences(didYouMean(b.Type, names), fmt.Sprintf("The blocks are %s.", list(names, "and", plain))))
}

func (l *loader) misplacedBlock(outer, inner *hclsyntax.Block) {
	if i := l.index(outer.Type, inner.Type); i >= 0 {
		l.add(&inner.TypeRange, fmt.Sprintf("%q is not a block", inner.Type), settingForm(l.settings[i]))
		return
	}
	detail := fmt.Sprintf("There are no blocks inside %s.", outer.Type)
	if slices.Contains(blocks(l.settings), inner.Type) {
		detail = fmt.Sprintf("A block does not stand inside another: close %s with } before %s begins.", outer.Type, inner.Type)
	}
	l.add(&inner.TypeRange, fmt.Sprintf("Block %q inside %q", inner.Type, outer.Type), detail)
}

// settingForm shows how s is set.
func settingForm(s Setting) string {
	return fmt.Sprintf("It is a setting. Write it with an equals sign: %s = ...", s.Name)
}

func (l *loader) decodeSettings(block string, body *hclsyntax.Body, upTo int) {
	for name, attr := range body.Attributes {
		if attr.NameRange.Start.Line >= upTo {
			continue
		}
		if i := l.index(block, name); i >= 0 {
			l.decodeSetting(l.settings[i], attr)
		} else {
			l.unknownSetting(block, attr)
		}
	}
}

var number = regexp.MustCompile(`^[0-9.]+$`)

func (l *loader) decodeSetting(s Setting, attr *hclsyntax.Attribute) {
	at := attr.Expr.Range()
	invalid := func(problem string) {
		l.wrong[s.Path()] = true
		l.add(&at, "Invalid value for "+s.Path(), fmt.Sprintf("%s %s takes %s.", problem, s.Name, s.Allowed()))
	}
	if word := hcl.ExprAsKeyword(attr.Expr); word != "" && word != "null" && word != "true" && word != "false" {
		invalid(fmt.Sprintf("The value needs quotes: %s = %q.", s.Name, word))
		return
	}
	text, diags := decodeText(s, attr.Expr)
	if diags.HasErrors() {
		invalid(fmt.Sprintf("This is not a plain value: %s.", strings.TrimRight(diags[0].Detail, ".")))
		return
	}
	if text == nil { // null: as if it were not there
		return
	}
	if digits := string(at.SliceBytes(l.files[at.Filename].Bytes)); number.MatchString(digits) {
		text = &digits // what stands there, 4.0, rather than the number that it means, 4
	}
	if problem := s.value.set(*text); problem != "" {
		invalid(problem)
		return
	}
	if p, ok := s.value.(path); ok {
		p.fromFolderOf(at.Filename)
	}
	l.setAt[s.Path()] = origin{at: &at}
}

// decodeText is the expression as text, nil for null.
func decodeText(s Setting, expr hclsyntax.Expression) (*string, hcl.Diagnostics) {
	if _, is := s.value.(hosts); is {
		if _, diags := hcl.ExprList(expr); !diags.HasErrors() {
			var each []string
			diags := gohcl.DecodeExpression(expr, nil, &each)
			text := strings.Join(each, ",")
			return &text, diags
		}
	}
	var text *string
	diags := gohcl.DecodeExpression(expr, nil, &text)
	return text, diags
}

func (l *loader) unknownSetting(block string, attr *hclsyntax.Attribute) {
	names := namesIn(l.settings, block)
	detail := ""
	switch {
	case block == "" && slices.Contains(blocks(l.settings), attr.Name):
		l.add(&attr.NameRange, fmt.Sprintf("%q is a block", attr.Name),
			fmt.Sprintf("Write it without the equals sign, with its settings (%s) on lines of their own inside braces.",
				list(namesIn(l.settings, attr.Name), "and", plain)))
		return
	case Nearest(attr.Name, names) != "":
		detail = didYouMean(attr.Name, names)
	default:
		detail = l.elsewhere(attr.Name)
	}
	where := "outside of blocks"
	if block != "" {
		where = "of " + block
	}
	known := fmt.Sprintf("The settings %s are %s.", where, list(names, "and", plain))
	if len(names) == 1 {
		known = fmt.Sprintf("The only setting %s is %s.", where, names[0])
	}
	l.add(&attr.NameRange, fmt.Sprintf("Unknown setting %q", attr.Name), sentences(detail, known))
}

// elsewhere says in which block a setting of that name, or one much like it, belongs.
func (l *loader) elsewhere(name string) string {
	var in, all []string
	for _, s := range l.settings {
		all = append(all, s.Name)
	}
	nearest := Nearest(name, all)
	for _, s := range l.settings {
		if s.Name == nearest && s.Block != "" {
			in = append(in, s.Block)
		}
	}
	if len(in) == 0 {
		return ""
	}
	return fmt.Sprintf("%s belongs in block %s.", nearest, list(in, "or", plain))
}

// applyFlags sets what the flags set, in the order of the settings: several mistakes always come in the same order.
func (l *loader) applyFlags(flags map[string]string) {
	for _, s := range l.settings {
		text, used := flags[s.Flag]
		if !used {
			continue
		}
		if problem := s.value.set(text); problem != "" {
			l.wrong[s.Path()] = true
			l.add(nil, fmt.Sprintf("Invalid value for --%s: %s It takes %s.", s.Flag, problem, s.Allowed()), "")
			continue
		}
		l.setAt[s.Path()] = origin{flag: s.Flag}
	}
}

// checkListeners finds two settings that would listen on one address.
func (l *loader) checkListeners(c *Config) {
	var seen []Setting
	for _, s := range l.settings {
		if _, ok := s.value.(address); !ok || l.wrong[s.Path()] || s.Block == "cluster" && !c.Clustered() {
			continue
		}
		for _, other := range seen {
			if sameAddress(s.Value(), other.Value()) {
				l.sameListeners(other, s)
			}
		}
		seen = append(seen, s)
	}
}

func (l *loader) sameListeners(a, b Setting) {
	oa, ob := l.setAt[a.Path()], l.setAt[b.Path()]
	var at *hcl.Range
	switch {
	case oa.flag != "" || ob.flag != "": // shown without a line of the file: that line alone is not wrong
	case oa.at == nil || ob.at != nil && ob.at.Start.Byte > oa.at.Start.Byte:
		at = ob.at
	default:
		at = oa.at
	}
	described := func(s Setting, o origin) string {
		switch {
		case o.flag != "":
			return fmt.Sprintf("--%s (%s)", o.flag, s.Value())
		case o.at == nil:
			return fmt.Sprintf("%s (%s, the default)", s.Path(), s.Value())
		}
		return fmt.Sprintf("%s (%s)", s.Path(), s.Value())
	}
	l.add(at, "Two listeners on one address",
		fmt.Sprintf("%s and %s cannot both listen there: give one of them another port.", described(a, oa), described(b, ob)))
}

// sameAddress reports whether listening on a and on b would collide.
func sameAddress(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	if portA != portB || portA == "0" {
		return false
	}
	if hostA == "localhost" {
		hostA = "127.0.0.1"
	}
	if hostB == "localhost" {
		hostB = "127.0.0.1"
	}
	ipA, _ := netip.ParseAddr(hostA)
	ipB, _ := netip.ParseAddr(hostB)
	return hostA == hostB || ipA.IsValid() && ipA == ipB || isEverything(ipA) || isEverything(ipB)
}

// isEverything: of the two ways to write "every address", 0.0.0.0 and ::, Go's listeners take either for both kinds of IP.
func isEverything(ip netip.Addr) bool { return ip.IsValid() && ip.IsUnspecified() }

// index finds a setting, or returns -1.
func (l *loader) index(block, name string) int {
	return slices.IndexFunc(l.settings, func(s Setting) bool { return s.Block == block && s.Name == name })
}

// sentences joins a and b, either of which may be empty or begin with a space.
func sentences(a, b string) string {
	switch {
	case a == "":
		return b
	case a[0] == ' ':
		a = a[1:]
	}
	return a + " " + b
}
