package config

import "fmt"

// checkStatus finds settings of the status address that are half of something.
func (l *loader) checkStatus(c *Config) {
	for _, pair := range []struct{ a, b, is string }{
		{"status.username", "status.password_file", "A name and a password"},
		{"status.cert_file", "status.key_file", "A certificate and its private key"},
	} {
		given, missing := pair.a, pair.b
		if c.value(given) == "" {
			given, missing = missing, given
		}
		if c.value(given) != "" && c.value(missing) == "" {
			l.add(l.place(given), fmt.Sprintf("%s without %s", l.called(given), missing), fmt.Sprintf("%s belong together: set %s, too.", pair.is, missing))
		}
	}
	if c.Status.TokenFile != "" && c.Status.TokenFile == c.Status.AdminTokenFile {
		l.add(l.place("status.admin_token_file"), "One token for two things",
			fmt.Sprintf("Who has the token of %s may read, who has that of %s may drain the node: give them files of their own. "+
				"Who has the latter may read, too.", l.called("status.token_file"), l.called("status.admin_token_file")))
	}
}

// value is a setting's, by its path.
func (c *Config) value(path string) string {
	for _, s := range c.Settings() {
		if s.Path() == path {
			return s.Value()
		}
	}
	panic("no setting " + path)
}
