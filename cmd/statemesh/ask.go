package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"statemesh/config"
	"statemesh/service/api"
)

// asker is a command that asks a running node at its status address.
type asker struct {
	statusAddr, file string
	shows            credentials
	trusts           trust
	https            bool
	client           http.Client
}

// asks gives cmd the flags by which a node is found.
func asks(cmd *cobra.Command) *asker {
	a := &asker{client: http.Client{Timeout: answerWithin}}
	f := cmd.Flags()
	f.StringVar(&a.statusAddr, "status-addr", "", "`host:port` of the node's status address, or https://host:port (default "+config.Default().Status.Listen+")")
	f.StringVar(&a.file, "config", "", "take that, and what the node asks for, from its configuration `FILE`")
	a.shows.addFlags(cmd)
	a.trusts.addFlags(cmd)
	_ = cmd.MarkFlagFilename("config", "hcl")
	_ = cmd.RegisterFlagCompletionFunc("status-addr", cobra.NoFileCompletions)
	return a
}

// shows makes cmd ask a node for the document at path, and print it: with --json as it came, else as write does.
func shows[T any](cmd *cobra.Command, path string, write func(io.Writer, T) error) {
	a := asks(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print a JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := a.find(cmd); err != nil {
			return err
		}
		var document T
		text, err := a.ask(cmd.Context(), http.MethodGet, path, &document)
		if err != nil {
			return err
		}
		if *asJSON {
			_, err = cmd.OutOrStdout().Write(text)
			return err
		}
		return write(cmd.OutOrStdout(), document)
	}
}

// answerWithin is far more than a node needs.
const answerWithin = 10 * time.Second

// find settles which node is asked, and what is shown to it: flags override the environment, and that the file.
func (a *asker) find(cmd *cobra.Command) error {
	if cmd.Flags().Changed("config") && a.file == "" {
		return fmt.Errorf("%w: --config names no file", errUsage)
	}
	flags := map[string]string{}
	if cmd.Flags().Changed("status-addr") {
		bare, https := strings.CutPrefix(a.statusAddr, "https://")
		if https {
			bare = strings.TrimSuffix(bare, "/")
		}
		a.https = https
		flags["status-addr"] = bare
	}
	cfg, err := config.Load(a.file, flags)
	if err != nil {
		return err
	}
	if err := a.shows.settle(cfg.Status); err != nil {
		return err
	}
	trusted, err := a.trusts.settle(cfg.Status)
	if err != nil {
		return err
	}
	a.https = a.https || trusted.given || cfg.Status.CertFile != ""
	a.client.Transport = &http.Transport{
		DisableKeepAlives: true,
		Proxy:             nil, // a node is never behind one
		TLSClientConfig:   trusted.config,
	}
	a.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // it would take the token along
	a.statusAddr = reachable(cfg.Status.Listen)
	if _, port, _ := net.SplitHostPort(a.statusAddr); port == "0" {
		return fmt.Errorf("%w: port 0 is another one at each start of the node: its log names it, for --status-addr", errUsage)
	}
	return nil
}

// reachable is where to connect to what listens at addr: every address is this machine's loopback address, too.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip, ipErr := netip.ParseAddr(host); err != nil || ipErr != nil || !ip.IsUnspecified() {
		return addr
	} else if ip.Is6() {
		return net.JoinHostPort("::1", port)
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// ask sends a request and reads the JSON of its answer into to, and returns that JSON.
func (a *asker) ask(ctx context.Context, method, path string, to any) ([]byte, error) {
	scheme := "http://"
	if a.https {
		scheme = "https://"
	}
	req, err := http.NewRequestWithContext(ctx, method, scheme+a.statusAddr+path, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", a.statusAddr, err)
	}
	a.shows.to(req)
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, a.noAnswer(ctx, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, a.noAnswer(ctx, err)
	}
	if resp.StatusCode >= 300 {
		var p api.Problem
		if json.Unmarshal(text, &p) == nil && p.Problem != "" {
			hint := ""
			if resp.StatusCode == http.StatusUnauthorized {
				hint = ": " + a.shows.hint()
			}
			return nil, fmt.Errorf("the node at %s refuses: %s%s", a.statusAddr, p.Problem, hint)
		}
		return nil, a.stranger(resp.Status)
	}
	if err := json.Unmarshal(text, to); err != nil {
		return nil, a.stranger("an answer that is not JSON")
	}
	return text, nil
}

const maxAnswer = 16 << 20

// errNobody: no node answers.
var errNobody = errors.New("no node answers")

func (a *asker) noAnswer(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the URL, which says the same twice
	}
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) || errors.Is(err, errOtherCertificate) {
		return fmt.Errorf("the certificate that is shown at %s is not trusted: name its CA with --ca-file, or the node's own configuration with --config (%w)", a.statusAddr, err)
	}
	where := ""
	if a.file == "" && a.statusAddr == config.Default().Status.Listen {
		where = " If its status address is another, say so with --status-addr or --config."
	}
	return fmt.Errorf("%w at %s. Is it running?%s (%w)", errNobody, a.statusAddr, where, err)
}

func (a *asker) stranger(what string) error {
	return fmt.Errorf("what answers at %s is not a node's status address, or one of a version without this command: %s", a.statusAddr, strings.TrimSpace(what))
}
