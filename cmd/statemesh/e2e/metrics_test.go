//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"statemesh/cmd/internal/farm"
	"statemesh/service/findings"
)

const docs = "../../../docs/"

// exports are the metrics that nodes export: of each series' name, which values each of its labels has.
type exports map[string]map[string][]string

var (
	seriesLine = regexp.MustCompile(`(?m)^([a-z_]+)(?:\{(.*)\})? \S+$`)
	labelPair  = regexp.MustCompile(`([a-z_]+)="((?:[^"\\]|\\.)*)"`)
)

func (e exports) add(text string) {
	for _, m := range seriesLine.FindAllStringSubmatch(text, -1) {
		labels := e[m[1]]
		if labels == nil {
			labels = map[string][]string{"job": nil, "instance": nil} // which Prometheus adds
			e[m[1]] = labels
		}
		for _, pair := range labelPair.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(labels[pair[1]], pair[2]) {
				labels[pair[1]] = append(labels[pair[1]], pair[2])
			}
		}
	}
}

// The dashboard and the alerts look for nothing that a running node does not export, and nodes export nothing that is not documented.
func TestMetrics_AreWhatDashboardAndAlertsLookFor(t *testing.T) {
	c := cluster(t, farm.ClusterOptions{Nodes: 2})
	users := crowd(t, c.Nodes, farm.CrowdOptions{Users: 4})
	if err := users.Visit(soon(t)).Err(); err != nil {
		t.Error(err)
	}
	nc, err := net.Dial("tcp", c.Nodes[0].State) // bad_requests_total has a series for each reason that there has been
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Write([]byte("no request\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	exported := exports{"up": {"job": nil, "instance": nil}}
	for _, n := range c.Nodes {
		err := n.Poll(soon(t), "its figures of the other", func() bool {
			status, text, err := n.Get(t.Context(), "/metrics")
			exported.add(string(text))
			return err == nil && status == 200 && exported["statemesh_peer_connected"] != nil && exported["statemesh_bad_requests_total"] != nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(exported) < 60 || len(exported["statemesh_requests_total"]["op"]) < 6 {
		t.Fatalf("only %d metrics are exported: %v", len(exported), exported)
	}

	documented, err := os.ReadFile(docs + "metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range exported {
		family := regexp.MustCompile(`(_seconds)_(bucket|sum|count)$`).ReplaceAllString(name, "$1")
		if strings.HasPrefix(name, "statemesh_") && !strings.Contains(string(documented), "\n| `"+family+"` |") {
			t.Errorf("docs/metrics.md does not have %s", family)
		}
	}
	for where, expr := range expressions(t) {
		for _, problem := range exported.judge(expr) {
			t.Errorf("%s: %s\n\tin %s", where, problem, expr)
		}
	}
	for _, wrong := range []string{ // that this can fail
		`rate(statemesh_request_total[5m])`, `statemesh_sessions{node="x"}`, `statemesh_queries_total{outcome="lost"}`,
		`sum by (reason) (statemesh_requests_total)`, `statemesh_cluster_members{state=~"up|here"}`, `statemesh_request_duration_seconds > 1`,
	} {
		if len(exported.judge(wrong)) == 0 {
			t.Errorf("nothing is found wrong with %s", wrong)
		}
	}
}

// expressions are those of the dashboard and the alerts, with the labels that legends and texts show appended, by where they stand.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	text, err := os.ReadFile(docs + "grafana/statemesh.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		for i, target := range p.Targets {
			all[fmt.Sprintf("dashboard, %s, %d", p.Title, i+1)] = shown(target.Expr, target.LegendFormat, `{{(\w+)}}`)
		}
	}
	for _, v := range dashboard.Templating.List {
		if v.Definition != "" {
			all["dashboard, variable "+v.Name] = v.Definition
		}
	}
	text, err = os.ReadFile(docs + "prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	alerts := strings.Split(string(text), "- alert: ")[1:]
	for _, a := range alerts {
		name, _, _ := strings.Cut(a, "\n")
		_, expr, _ := strings.Cut(a, " expr: ")
		expr, rest, _ := strings.Cut(expr, "\n")
		all["alert "+name] = shown(expr, rest, `{{ \$labels\.(\w+) }}`)
		checkRunbook(t, name, rest)
	}
	if len(all) < 80 || len(alerts) < 15 {
		t.Fatalf("only %d expressions, of %d alerts, were found", len(all), len(alerts))
	}
	return all
}

// shown is an expression with what a text shows of its result.
func shown(expr, text, label string) string {
	for _, m := range regexp.MustCompile(label).FindAllStringSubmatch(text, -1) {
		expr += " by (" + m[1] + ")"
	}
	return expr
}

// checkRunbook follows an alert's link.
func checkRunbook(t *testing.T, alert, text string) {
	t.Helper()
	m := regexp.MustCompile(`runbook_url: "?docs/([a-z-]+\.md)#(.+?)"?\n`).FindStringSubmatch(text)
	if m == nil || !strings.Contains(text, "summary: ") || !strings.Contains(text, "severity: ") {
		t.Errorf("alert %s has no summary, severity or runbook", alert)
		return
	}
	anchors := []string{m[2]}
	if strings.Contains(m[2], "$labels.kind") {
		anchors = findings.Kinds
	}
	page, err := os.ReadFile(docs + m[1])
	if err != nil {
		t.Error(err)
		return
	}
	var headings []string
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(page), -1) {
		anchor := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		headings = append(headings, strings.ReplaceAll(anchor, " ", "-"))
	}
	for _, anchor := range anchors {
		if !slices.Contains(headings, anchor) {
			t.Errorf("alert %s: docs/%s has no heading %s", alert, m[1], anchor)
		}
	}
}

var (
	selector = regexp.MustCompile(`\b((?:statemesh|go|process)_[a-z_]+|up)\b(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)`)
	plain    = regexp.MustCompile(`^[A-Za-z0-9_|-]+$`)
)

// judge says what an expression looks for that is not exported.
func (e exports) judge(expr string) (problems []string) {
	var of []map[string][]string
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		labels, ok := e[m[1]]
		if !ok {
			problems = append(problems, "no metric "+m[1])
			continue
		}
		of = append(of, labels)
		for _, match := range matcher.FindAllStringSubmatch(m[2], -1) {
			values, ok := labels[match[1]]
			if !ok {
				problems = append(problems, fmt.Sprintf("%s has no label %s", m[1], match[1]))
				continue
			}
			if match[1] == "job" || match[1] == "instance" || !plain.MatchString(match[3]) {
				continue
			}
			for value := range strings.SplitSeq(match[3], "|") {
				if !slices.Contains(values, value) {
					problems = append(problems, fmt.Sprintf("%s has no %s %q", m[1], match[1], value))
				}
			}
		}
	}
	for _, group := range grouping.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(group[1], ",") {
			label = strings.TrimSpace(label)
			if !slices.ContainsFunc(of, func(labels map[string][]string) bool { _, ok := labels[label]; return ok }) {
				problems = append(problems, "nothing in it has a label "+label)
			}
		}
	}
	if len(of) == 0 && len(problems) == 0 {
		problems = []string{"it looks for nothing"}
	}
	return problems
}

// Prometheus' own tool reads every expression, and tries some of the alerts.
func TestMetrics_PrometheusTakesAlertsAndDashboard(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("there is no promtool, which is in Debian's package prometheus")
	}
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	variables := strings.NewReplacer("$job", ".+", "$instance", ".+", "$__rate_interval", "1m")
	for where, expr := range expressions(t) {
		if strings.HasPrefix(where, "dashboard") && !strings.Contains(where, "variable") {
			quoted, err := json.Marshal(variables.Replace(trimShown(expr)))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&rules, "  - record: dashboard:panel\n    labels: {panel: %q}\n    expr: %s\n", where, quoted)
		}
	}
	panels := filepath.Join(t.TempDir(), "panels.yml")
	if err := os.WriteFile(panels, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"check", "rules", "alerts.yml"}, {"check", "rules", panels}, {"test", "rules", "alerts_test.yml"},
	} {
		cmd := exec.CommandContext(soon(t), promtool, args...)
		cmd.Dir = docs + "prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// trimShown takes off what shown has appended.
func trimShown(expr string) string {
	return regexp.MustCompile(`( by \(\w+\))+$`).ReplaceAllString(expr, "")
}
