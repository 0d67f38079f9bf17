package cluster

import (
	"context"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"statemesh/session"
)

// What Go makes the version of a commit without a tag is longer than gossip has room for.
func TestStart_WithALongVersion(t *testing.T) {
	t.Parallel()
	store, err := session.New(session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	n, err := New(Options{
		Name: "a", Version: strings.Repeat("v", 200), Store: store, Gossip: "127.0.0.1:0", Transfer: "127.0.0.1:0", Insecure: true,
		Log: hclog.NewNullLogger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Error(err)
	}
	if err := n.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}
