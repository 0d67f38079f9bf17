package service

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// certificate is the status address's, read from two files, and again when they have changed: whoever renews certificates writes files and
// tells nobody.
type certificate struct {
	certFile, keyFile string
	log               hclog.Logger
	notice            *notice

	mu    sync.Mutex // guards the rest
	pair  *tls.Certificate
	stamp fileStamp // of the files that pair was read from
}

// fileStamp tells whether the files are as they were. Two writes within the clock's resolution that leave the sizes alike would be missed.
type fileStamp struct {
	certTime, keyTime time.Time
	certSize, keySize int64
}

func newCertificate(certFile, keyFile string, log hclog.Logger) (*certificate, error) {
	if certFile == "" || keyFile == "" {
		return nil, errors.New("cert_file and key_file belong together")
	}
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, notice: &notice{log: log, interval: time.Minute}}
	stamp, err := c.look()
	if err != nil {
		return nil, err
	}
	if c.pair, err = c.read(); err != nil {
		return nil, err
	}
	c.stamp = stamp
	if left := time.Until(c.pair.Leaf.NotAfter); left < 0 {
		log.Warn("the status address's certificate has expired", "file", certFile, "at", c.pair.Leaf.NotAfter)
	}
	return c, nil
}

func (c *certificate) read() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile) // its errors name no more of the key than its kind
	if err != nil {
		return nil, fmt.Errorf("cert_file and key_file: %w", err)
	}
	return &pair, nil
}

func (c *certificate) look() (s fileStamp, err error) {
	cert, err := os.Stat(c.certFile)
	if err != nil {
		return s, fmt.Errorf("cert_file: %w", err)
	}
	key, err := os.Stat(c.keyFile)
	if err != nil {
		return s, fmt.Errorf("key_file: %w", err)
	}
	return fileStamp{cert.ModTime(), key.ModTime(), cert.Size(), key.Size()}, nil
}

// config is how the status address speaks TLS.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(), nil },
	}
}

// current is the certificate in the files. While they cannot be read, or only one has been replaced, it is the one before.
func (c *certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	stamp, err := c.look()
	if err == nil && stamp == c.stamp {
		return c.pair
	}
	var pair *tls.Certificate
	if err == nil {
		pair, err = c.read()
	}
	if err != nil {
		c.notice.warn("the status address keeps its certificate: the new one cannot be used", "error", err)
		return c.pair
	}
	c.pair, c.stamp = pair, stamp
	c.log.Info("the status address has a new certificate", "file", c.certFile, "until", pair.Leaf.NotAfter)
	return pair
}
