package test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// expectData runs every query of the dashboards as Grafana would, and those of the runbooks, with shortened
// durations. Where a panel has several queries, one of them must return data: the others may be for what did not
// happen, or for the day before.
func expectData(t *testing.T, prometheus *process) {
	t.Helper()
	variables := strings.NewReplacer("$__rate_interval", "6m", "$__range", "20m", "$__interval", "6m",
		"$account", "company")
	returnsData := func(text string) bool {
		text = strings.TrimSuffix(text, " > 0") // without it, series show what did not happen, too
		return len(prometheus.query(t, shorten(variables.Replace(text)))) > 0
	}
	for _, d := range readDashboards(t) {
		for _, p := range d.Panels {
			found := false
			for _, q := range p.Targets {
				found = returnsData(q.Expr) || found
			}
			if !found {
				t.Errorf("%s: no data for panel %d, %s: %+v", d.UID, p.ID, p.Title, p.Targets)
			}
		}
		for _, a := range d.Annotations.List {
			if !returnsData(a.Expr) {
				t.Errorf("%s: no data for %s", d.UID, a.Expr)
			}
		}
		for expression := range names(d.text, regexp.MustCompile(`"query": "label_values\((\w+), \w+\)"`)) {
			if !returnsData(expression) {
				t.Errorf("%s: no data for %s", d.UID, expression)
			}
		}
	}
	for queries := range names(readFile(t, "../docs/runbooks.md"), regexp.MustCompile("(?s)```promql\n(.+?)\n```")) {
		for query := range strings.SplitSeq(queries, "\n") {
			prometheus.query(t, query) // it is valid at least
		}
	}
}

var (
	bucketQuery  = regexp.MustCompile(`histogram_quantile\([^\n]*_bucket[^\n]*`)
	recordedName = regexp.MustCompile(`(?:unless on \(\) )?\b[a-z_]+:\w+:\w+`)
)

func TestDashboardQueries(t *testing.T) {
	const seen = "job_instance:bunq_up:seen"
	if !strings.Contains(readFile(t, "../alerts/bunq.rules.yml"), "- record: "+seen+"\n") {
		t.Errorf("there is no rule that records %s", seen)
	}
	eachPanel(t, func(t *testing.T, p panel) {
		for _, q := range p.Targets {
			if name := recordedName.FindString(q.Expr); name != "" && name != "unless on () "+seen {
				t.Errorf("requires that the rules are loaded: %s", name)
			}
			// Prometheus may be configured to scrape native histograms alone.
			for _, query := range bucketQuery.FindAllString(q.Expr, -1) {
				native := strings.NewReplacer("_bucket", "", "(le, ", "(", ", le)", ")").Replace(query)
				if !strings.Contains(q.Expr, "\nor "+native) {
					t.Errorf("no data where only native histograms are scraped: %s", query)
				}
			}
		}
	})
}

// What the panels show while something is wrong.
func TestDashboardStates(t *testing.T) {
	t.Parallel()
	variables := strings.NewReplacer("$__rate_interval", "4m", "$__range", "30m", "$__interval", "10m",
		"$account", "company")
	queries := map[string]string{}
	for _, d := range readDashboards(t) {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				queries[d.UID+"/"+p.Title+"/"+q.RefID] = variables.Replace(q.Expr)
			}
		}
	}
	text := regexp.MustCompile(`expr: .+`).ReplaceAllStringFunc(readFile(t, "testdata/dashboards.test.yml"),
		func(line string) string {
			query, found := queries[strings.TrimPrefix(line, "expr: ")]
			if !found {
				t.Errorf("there is no query of that name: %s", line)
			}
			quoted, _ := json.Marshal(query) // as in YAML
			return "expr: " + string(quoted)
		})
	folder := t.TempDir()
	run(t, folder, tool(t, "promtool", getPrometheus), "test", "rules", writeFile(t, folder, "test.yml", text))
}
