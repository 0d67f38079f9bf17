package service

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// credentials are what the status address asks for, in files of the operator's. Those are read again when one has changed: like a certificate, a
// password is changed by whoever writes the file, and tells nobody.
type credentials struct {
	access Access
	log    hclog.Logger
	notice *notice

	mu      sync.Mutex // guards the rest
	secrets secrets
	stamps  [3]secretStamp // of the files that secrets was read from
	looked  time.Time
}

// secrets are those that are set.
type secrets struct{ password, token, admin secret }

// secretStamp tells whether a file is as it was; the zero one is of a file that cannot be looked at.
type secretStamp struct {
	changed time.Time
	size    int64
}

// lookEvery is how long a change may go unnoticed. Who tries out passwords does not have the files looked at each time.
const lookEvery = time.Second

func newCredentials(a Access, log hclog.Logger) (*credentials, error) {
	c := &credentials{access: a, log: log, notice: &notice{log: log, interval: time.Minute}}
	c.stamps, c.looked = c.look(), time.Now()
	fresh, err := c.read()
	c.secrets = fresh
	for _, path := range c.files() {
		if warning := exposed(path); err == nil && path != "" && warning != "" {
			log.Warn(warning, "file", path)
		}
	}
	return c, err
}

// files are the paths, "" where there is none.
func (c *credentials) files() [3]string {
	return [3]string{c.access.PasswordFile, c.access.TokenFile, c.access.AdminTokenFile}
}

func (c *credentials) look() (stamps [3]secretStamp) {
	for i, path := range c.files() {
		if info, err := os.Stat(path); path != "" && err == nil {
			stamps[i] = secretStamp{info.ModTime(), info.Size()}
		}
	}
	return stamps
}

func (c *credentials) read() (s secrets, err error) {
	var errs []error
	to := [3]*secret{&s.password, &s.token, &s.admin}
	for i, path := range c.files() {
		if path == "" {
			continue
		}
		text, err := ReadSecret(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", [3]string{"password_file", "token_file", "admin_token_file"}[i], err))
			continue
		}
		*to[i] = newSecret(text)
	}
	for _, other := range []secret{s.token, s.password} {
		if s.admin.set && other == s.admin {
			errs = append(errs, errors.New("admin_token_file: the same as token_file or password_file, so that whoever may read may change things, too"))
		}
	}
	return s, errors.Join(errs...)
}

// current are the secrets in the files. While one of these cannot be used, or is not there any more, they are those before: nobody gets in by
// taking a file away.
func (c *credentials) current() secrets {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.looked) < lookEvery {
		return c.secrets
	}
	c.looked = now
	stamps := c.look()
	if stamps == c.stamps {
		return c.secrets
	}
	fresh, err := c.read()
	if err != nil {
		c.notice.warn("the status address keeps its passwords and tokens: the new ones cannot be used", "error", err)
		return c.secrets
	}
	c.secrets, c.stamps = fresh, stamps
	c.log.Info("the status address has new passwords or tokens")
	return c.secrets
}
