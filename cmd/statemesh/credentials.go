package main

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"statemesh/config"
	"statemesh/service"
)

// The environment is asked for what no flag says. A password or a token is never a flag's value: every user of a machine sees those.
const (
	envTokenFile    = "STATEMESH_TOKEN_FILE"
	envToken        = "STATEMESH_TOKEN"
	envUser         = "STATEMESH_USER"
	envPasswordFile = "STATEMESH_PASSWORD_FILE"
	envPassword     = "STATEMESH_PASSWORD"
	envCAFile       = "STATEMESH_CA_FILE"
)

// credentials are what is shown to a node that asks for them.
type credentials struct {
	tokenFile, user, passwordFile string // flags

	token, password string // settled
}

func (c *credentials) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.tokenFile, "token-file", "", "show the token in `FILE`; else "+envTokenFile+", or the token itself in "+envToken)
	f.StringVar(&c.user, "user", "", "show this `name`, with a password; else "+envUser)
	f.StringVar(&c.passwordFile, "password-file", "", "the password is in `FILE`; else "+envPasswordFile+", or the password itself in "+envPassword)
}

// settle takes the first there is: flags, the environment, the node's own files. Of those it takes what the user may read.
func (c *credentials) settle(status config.Status) error {
	switch {
	case c.tokenFile != "":
		return c.readToken(c.tokenFile)
	case c.user != "":
		return c.readPassword()
	case os.Getenv(envTokenFile) != "":
		return c.readToken(os.Getenv(envTokenFile))
	case os.Getenv(envToken) != "":
		c.token = os.Getenv(envToken)
		return nil
	case os.Getenv(envUser) != "":
		c.user = os.Getenv(envUser)
		return c.readPassword()
	}
	for _, file := range []string{status.AdminTokenFile, status.TokenFile} {
		if file != "" && c.readToken(file) == nil {
			return nil
		}
	}
	if status.PasswordFile != "" {
		if password, err := service.ReadSecret(status.PasswordFile); err == nil {
			c.user, c.password = status.Username, password
		}
	}
	return nil
}

func (c *credentials) readToken(file string) (err error) {
	c.token, err = service.ReadSecret(file)
	if err != nil {
		return fmt.Errorf("%w: the token: %w", errUsage, err)
	}
	return nil
}

func (c *credentials) readPassword() (err error) {
	if file := cmp.Or(c.passwordFile, os.Getenv(envPasswordFile)); file != "" {
		if c.password, err = service.ReadSecret(file); err != nil {
			return fmt.Errorf("%w: the password: %w", errUsage, err)
		}
		return nil
	}
	if c.password = os.Getenv(envPassword); c.password == "" {
		return fmt.Errorf("%w: a name needs a password: --password-file FILE, or %s", errUsage, envPassword)
	}
	return nil
}

// to shows them with a request.
func (c *credentials) to(r *http.Request) {
	switch {
	case c.token != "":
		r.Header.Set("Authorization", "Bearer "+c.token)
	case c.user != "":
		r.SetBasicAuth(c.user, c.password)
	}
}

// hint is for whoever was refused for their credentials.
func (c *credentials) hint() string {
	if c.token == "" && c.user == "" {
		return "name it with --token-file, or take it from the node's configuration with --config"
	}
	return "what was shown is something else"
}

// trust is whose certificates are believed: those that the system believes, an operator's CA, or the very one that is in the node's
// configuration.
type trust struct {
	caFile   string
	insecure bool
}

func (t *trust) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.caFile, "ca-file", "", "ask by https, and trust the CA certificates in `FILE`; else "+envCAFile)
	f.BoolVar(&t.insecure, "insecure", false, "ask by https, and trust anybody: who is in between sees what is shown")
}

// trusted is trust, settled.
type trusted struct {
	config *tls.Config
	given  bool // by a flag: so it is to be https
}

func (t *trust) settle(status config.Status) (trusted, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	given := t.caFile != "" || t.insecure
	switch file := cmp.Or(t.caFile, os.Getenv(envCAFile)); {
	case t.insecure:
		c.InsecureSkipVerify = true
	case file != "":
		text, err := os.ReadFile(file)
		if err != nil {
			return trusted{}, fmt.Errorf("%w: the CA's certificates: %w", errUsage, err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return trusted{}, fmt.Errorf("%w: %s holds no certificate", errUsage, file)
		}
	case status.CertFile != "":
		return trusted{onlyThis(status.CertFile, c), given}, nil
	}
	return trusted{c, given}, nil
}

// onlyThis believes nobody but who has the certificate in the file: it is rarely made out for the address by which this machine asks itself.
func onlyThis(file string, c *tls.Config) *tls.Config {
	text, err := os.ReadFile(file)
	if err != nil {
		return c // then it is up to the system
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return c
	}
	c.InsecureSkipVerify = true // in favour of:
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 || !bytes.Equal(s.PeerCertificates[0].Raw, block.Bytes) {
			return errOtherCertificate
		}
		return nil
	}
	return c
}

var errOtherCertificate = errors.New("it is not the one that the configuration names")
