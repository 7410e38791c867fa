package test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"bunq_exporter/bunq"
)

// names returns the first groups of the matches in a text.
func names(text string, pattern *regexp.Regexp) set {
	found := set{}
	for _, match := range pattern.FindAllStringSubmatch(text, -1) {
		found[match[1]] = true
	}
	return found
}

// section returns the section of a document from its heading to the next one of the same level.
func section(t *testing.T, path, heading string) string {
	t.Helper()
	_, text, found := strings.Cut(readFile(t, "../docs/"+path), "\n"+heading+"\n")
	if !found {
		t.Errorf("%s: no heading %s", path, heading)
	}
	level, _, _ := strings.Cut(heading, " ")
	text, _, _ = strings.Cut(text, "\n"+level+" ")
	return text
}

// Each document names what the program has, and nothing else.
func TestDocumentsAreComplete(t *testing.T) {
	t.Parallel()
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")
	flag := regexp.MustCompile("`--([a-z.-]+)`")
	_, help := runToEnd(t, "--help")
	for _, test := range []struct {
		name                string
		program, documented set
	}{
		{"metrics", names(start(t, "--demo").scrape(), regexp.MustCompile(`(?m)^# TYPE (bunq_\S+)`)),
			names(readFile(t, "../docs/metrics.md"), row)},
		{"reasons", setOf(bunq.Reasons...), names(section(t, "troubleshooting.md", "## Reasons"), row)},
		{"login states", loginStates(),
			names(section(t, "troubleshooting.md", "## Login states"), regexp.MustCompile(`(?m)^### (\w+)`))},
		// A test of the package config holds the example against the code.
		{"keys", names(readFile(t, "../config.yml.example"), regexp.MustCompile(`(?m)^ +(?:- |# )?([a-z_]+): \S`)),
			names(section(t, "configuration.md", "## Configuration file"), row)},
		{"flags", names(help, helpFlag), names(section(t, "configuration.md", "## Flags"), flag)},
	} {
		if diff := cmp.Diff(test.program, test.documented); diff != "" {
			t.Errorf("%s, -program +document:\n%s", test.name, diff)
		}
	}
}

const getPrometheus = "apt-get install prometheus"

type rule struct {
	Alert               string // empty for a recording rule
	Labels, Annotations map[string]string
}

func readRules(t *testing.T) (all []rule) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	check(t, yaml.Unmarshal([]byte(readFile(t, "../alerts/bunq.rules.yml")), &file))
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	return all
}

// severities are those of the labels in the rules. Alerts of a sandbox are warnings.
var severities = map[string]string{
	"critical": "critical",
	"warning":  "warning",
	`{{ if eq $labels.environment "sandbox" }}warning{{ else }}critical{{ end }}`: "critical",
}

// anchor returns the anchor of an alert's section in the runbooks.
func anchor(alert string) string { return strings.ToLower(alert) }

// readRunbooks returns the anchors of the sections of docs/runbooks.md.
func readRunbooks(t *testing.T) set {
	t.Helper()
	return names(strings.ToLower(readFile(t, "../docs/runbooks.md")), regexp.MustCompile(`(?m)^## (.+)$`))
}

var alertRow = regexp.MustCompile("(?m)^\\| `(Bunq\\w+)` \\|.*\\| (critical|warning) \\|[^|]+\\|$")

// Promtool tests the expressions and texts.
func TestAlertsAreComplete(t *testing.T) {
	t.Parallel()
	alerts, links, documented := set{}, set{}, map[string]string{}
	for _, row := range alertRow.FindAllStringSubmatch(readFile(t, "../docs/alerting.md"), -1) {
		documented[row[1]] = row[2]
	}
	for _, r := range readRules(t) {
		if r.Alert == "" {
			continue
		}
		alerts[anchor(r.Alert)] = true
		// The dashboards select alerts whose names begin with Bunq.
		if !strings.HasPrefix(r.Alert, "Bunq") || severities[r.Labels["severity"]] != documented[r.Alert] ||
			r.Annotations["summary"] == "" || r.Annotations["description"] == "" ||
			!strings.HasSuffix(r.Annotations["runbook_url"], "/docs/runbooks.md#"+anchor(r.Alert)) {
			t.Errorf("%s: the name is wrong, or one of %v", r.Alert, r)
		}
		links[r.Alert+`": { "text": "`+anchor(r.Alert)] = true
	}
	// Grafana cannot make the name of an alert lower case, as the anchor of its runbook is.
	for _, d := range readDashboards(t) {
		if diff := cmp.Diff(links, names(d.text, regexp.MustCompile(`"(Bunq\w+": { "text": "\w+)"`))); diff != "" {
			t.Errorf("%s: anchors of the alerts, -want +got:\n%s", d.UID, diff)
		}
	}
	if diff := cmp.Diff(alerts, readRunbooks(t)); diff != "" {
		t.Errorf("runbooks, -alerts +sections:\n%s", diff)
	}
	if len(documented) != len(alerts) {
		t.Errorf("alerting.md has %d alerts, want %d", len(documented), len(alerts))
	}
}

// No other alert says that nothing is read.
func TestAccountNotReadIsNotMuted(t *testing.T) {
	t.Parallel()
	muted := regexp.MustCompile(`target_matchers: \[alertname=~?"([^"]+)"`)
	for alerts := range names(readFile(t, "../alerts/alertmanager.yml"), muted) {
		if regexp.MustCompile("^(" + alerts + ")$").MatchString("BunqAccountNotRead") {
			t.Errorf("BunqAccountNotRead is muted with %s", alerts)
		}
	}
}

var (
	metricName = regexp.MustCompile(`\b(bunq_[a-z_]+?)(?:_bucket|_count|_sum)?\b[^a-z_:]`)
	labelValue = regexp.MustCompile(`\b(?:status|state|reason|endpoint|method)[=!~]+\\?"([^"\\]+)`)
)

// Rules, dashboards and runbooks use metrics and values of labels that the exporter has.
func TestMetricNamesExist(t *testing.T) {
	t.Parallel()
	metrics := start(t, "--demo").scrape()
	for _, pattern := range []string{
		"../alerts/bunq.rules.yml", "../dashboards/*.json", "../docs/runbooks.md", "../docs/alerting.md",
	} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			text := readFile(t, file)
			for name := range names(text, metricName) {
				if !strings.Contains(metrics, "# TYPE "+name) { // commands in the runbooks search for prefixes
					t.Errorf("%s: there is no metric %s", file, name)
				}
			}
			for values := range names(text, labelValue) {
				for value := range strings.SplitSeq(values, "|") {
					if !regexp.MustCompile(`="` + value + `"`).MatchString(metrics) {
						t.Errorf("%s: no label has the value %s", file, value)
					}
				}
			}
		}
	}
}

func TestPromtool(t *testing.T) {
	t.Parallel()
	promtool := tool(t, "promtool", getPrometheus)
	run(t, "..", promtool, "check", "rules", "--lint=all", "--lint-fatal", "alerts/bunq.rules.yml")
	tests, _ := filepath.Glob("../alerts/tests/*.test.yml")
	run(t, ".", promtool, append([]string{"test", "rules"}, tests...)...)

	run(t, composeFolder, promtool, "check", "config", "prometheus.yml")
	folder := t.TempDir()
	writeFile(t, folder, "metrics.prom", start(t, "--demo").scrape())
	if findings := run(t, folder, "sh", "-c", promtool+" check metrics < metrics.prom"); findings != "" {
		t.Errorf("promtool check metrics: %s", findings)
	}
}
