package config

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
)

// Write writes the configuration as a file that Load reads back to the same configuration. Comments say what is a
// default and what a share of the machine's memory (0 if it is not known) comes to.
func (c *Config) Write(w io.Writer, machine int64) error {
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	defaults := Default().Settings()
	block, indent := "", ""
	for i, s := range c.Settings() {
		if s.Block != block {
			if block != "" {
				fmt.Fprintln(t, "}")
			}
			block, indent = s.Block, "  "
			fmt.Fprintf(t, "\n%s {\n", block)
		}
		fmt.Fprintf(t, "%s%s\t= %s%s\n", indent, s.Name, literal(s), remark(s, s.Value() == defaults[i].Value(), machine))
	}
	fmt.Fprintln(t, "}")
	return t.Flush()
}

var noTemplate = strings.NewReplacer("${", "$${", "%{", "%%{")

// literal writes the setting's value as the file has it.
func literal(s Setting) string {
	switch v := s.value.(type) {
	case count:
		if v.text() != none {
			return v.text()
		}
	case truth, backups:
		return s.Value()
	case hosts:
		var all []string
		for _, h := range *v.to {
			all = append(all, quoted(h))
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	return quoted(s.Value())
}

func quoted(text string) string {
	return noTemplate.Replace(strconv.Quote(text))
}

// remark is a comment, with the tab before it that lines comments up.
func remark(s Setting, isDefault bool, machine int64) string {
	var remarks []string
	if isDefault {
		remarks = append(remarks, "default")
	}
	if v, ok := s.value.(memory); ok && machine > 0 {
		if v.to.Percent == 0 {
			remarks = append(remarks, fmt.Sprintf("this machine has %s", humanSize(machine)))
		} else {
			remarks = append(remarks, fmt.Sprintf("%s of %s", humanSize(v.to.Of(machine)), humanSize(machine)))
		}
	}
	if len(remarks) == 0 {
		return ""
	}
	return "\t# " + strings.Join(remarks, ": ")
}

// humanSize writes a number of bytes in three digits, "17.6 GiB".
func humanSize(n int64) string { return humanize.IBytesN(uint64(n), 3) }
