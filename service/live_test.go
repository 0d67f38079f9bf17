package service_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"statemesh/service"
)

func TestLive_ReadersHearOfTheNodeUntilItStops(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(o *service.Options) { o.NodeName = "web<01>" })
	if status, text := n.status(t, "/"); status != 200 || !strings.Contains(text, "<h1>web&lt;01&gt;</h1>") || !strings.Contains(text, "Sessions are safe") {
		t.Fatalf("the page: %d %s", status, text)
	}
	resp := send(t, n.request(t, "GET", "/live"))
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for seen := 0; seen < 2; {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("after %d events: %v", seen, err)
		}
		if strings.HasPrefix(line, "event: page") {
			seen++
		}
	}
	began := time.Now()
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("with a reader, stopping took %v", took)
	}
	if _, err := io.Copy(io.Discard, lines); err != nil {
		t.Errorf("the reader was cut off: %v", err)
	}
}

func TestDrain_PeopleAreAnsweredWithAPage(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	req := n.request(t, "POST", "/api/v1/drain")
	req.Header.Set("Accept", "text/html,application/xhtml+xml")
	if status, text := do(t, req); status != http.StatusConflict || !strings.Contains(text, "<h1>That cannot be done</h1>") || !strings.Contains(text, "runs alone") {
		t.Errorf("%d %s", status, text)
	}
}
