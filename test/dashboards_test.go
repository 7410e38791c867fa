package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/session"
)

// set is a set of names.
type set map[string]bool

func setOf[T ~string](items ...T) set {
	s := set{}
	for _, item := range items {
		s[string(item)] = true
	}
	return s
}

func loginStates() set {
	s := set{}
	for _, state := range session.LoginStates {
		s[state.Name] = true
	}
	return s
}

type dashboard struct {
	file, text    string
	UID           string
	ID            *int
	SchemaVersion int
	Panels        []panel
	Templating    struct{ List []struct{ Name string } }
}

type panel struct {
	text                     string
	ID                       int
	Type, Title, Description string
	Targets                  []struct {
		Expr, Format   string
		Instant, Range bool
	}
	FieldConfig struct {
		Defaults struct {
			Unit, NoValue string
			Thresholds    struct{ Steps []struct{ Color string } }
		}
	}
}

func (p *panel) UnmarshalJSON(text []byte) error {
	type plain panel // without this method
	p.text = string(text)
	return json.Unmarshal(text, (*plain)(p))
}

func readDashboards(t *testing.T) (all []dashboard) {
	t.Helper()
	files, err := filepath.Glob("../dashboards/*.json")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d dashboards, %v", len(files), err)
	}
	for _, file := range files {
		d := dashboard{file: file, text: readFile(t, file)}
		if err := json.Unmarshal([]byte(d.text), &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		d.Panels = slices.DeleteFunc(d.Panels, func(p panel) bool { return p.Type == "row" })
		all = append(all, d)
	}
	return all
}

var (
	exprPattern = regexp.MustCompile(`"expr": "((?:[^"\\]|\\.)+)"`)
	labelValues = regexp.MustCompile(`"query": "label_values\(((?:[^"\\]|\\.)+), \w+\)"`)
)

// queries returns the queries of a dashboard: of its panels, annotations and variables.
func (d dashboard) queries() set {
	unquoted := strings.NewReplacer(`\"`, `"`, `\n`, "\n", `\\`, `\`)
	all := set{}
	for _, pattern := range []*regexp.Regexp{exprPattern, labelValues} {
		for text := range names(d.text, pattern) {
			all[unquoted.Replace(text)] = true
		}
	}
	return all
}

func TestDashboardsCanBeImported(t *testing.T) {
	t.Parallel()
	for _, d := range readDashboards(t) {
		if d.UID+".json" != filepath.Base(d.file) || d.ID != nil || d.SchemaVersion != 37 ||
			strings.Contains(d.text, "__inputs") {
			t.Errorf("%s: uid %q, id %v, schema %d: Grafana 9.2 cannot import it", d.file, d.UID, d.ID, d.SchemaVersion)
		}
		uids := names(d.text, regexp.MustCompile(`"uid": "([^"]*)"`))
		if diff := cmp.Diff(setOf(d.UID, "${datasource}"), uids); diff != "" {
			t.Errorf("%s: uids of the dashboard and its data sources, -want +got:\n%s", d.UID, diff)
		}
		variables := set{}
		for _, v := range d.Templating.List {
			variables[v.Name] = true
		}
		if diff := cmp.Diff(variables, names(d.text, regexp.MustCompile(`\$\{?([a-z]\w*)`))); diff != "" {
			t.Errorf("%s: variables, -defined +used:\n%s", d.UID, diff)
		}
		if otherRange.MatchString(d.text) {
			t.Errorf("%s: a rate or an increase over another range than $__rate_interval", d.UID)
		}
	}
}

var otherRange = regexp.MustCompile(`(?:rate|increase)\([^\[]*\[[^$][^\]]*\]`)

var linkPattern = regexp.MustCompile(`"url": "([^"]*)"`)

func TestDashboardLinks(t *testing.T) {
	t.Parallel()
	pages := setOf("${exporter:raw}/status", "${exporter:raw}/docs/runbooks.md",
		"${exporter:raw}/docs/runbooks.md#${__value.text}") // the last is in the table of alerts
	for section := range readRunbooks(t) {
		pages["${exporter:raw}/docs/runbooks.md#"+section] = true
	}
	all := readDashboards(t)
	for _, d := range all {
		pages["/d/"+d.UID] = true
	}
	for _, d := range all {
		for link := range names(d.text, linkPattern) {
			if page, _, _ := strings.Cut(link, "?"); !pages[page] {
				t.Errorf("%s: there is no page %s", d.UID, link)
			}
		}
		for _, other := range all {
			if other.UID != d.UID && !strings.Contains(d.text, `"url": "/d/`+other.UID) {
				t.Errorf("%s has no link to %s", d.UID, other.UID)
			}
		}
	}
}

var (
	// number finds the numbers that a query returns for the values of a label.
	number = regexp.MustCompile(`(\d) \* bunq_(?:device_server_status|login_state)\{[^}]*\bstat(?:us|e)="(\w+)"\}`)
	// shown finds the value mappings of a panel.
	shown = regexp.MustCompile(`"(\w+)": \{(?:\s*"color": "[^"]+",)?(?:\s*"index": \d+,)?\s*"text": "(\w+)"`)
)

func TestDashboardMappings(t *testing.T) {
	t.Parallel()
	texts, numbered := map[string]string{}, set{}
	for _, d := range readDashboards(t) {
		for _, p := range d.Panels {
			mapped := set{}
			for _, match := range shown.FindAllStringSubmatch(p.text, -1) {
				mapped[match[1]+match[2]] = true
				texts[match[1]] = match[2]
			}
			for _, q := range p.Targets {
				for _, match := range number.FindAllStringSubmatch(q.Expr, -1) {
					numbered[match[2]] = true
					if !mapped[match[1]+match[2]] {
						t.Errorf("%s, panel %d: %s is not shown as %s", d.UID, p.ID, match[1], match[2])
					}
				}
			}
		}
	}
	want := setOf(bunq.Statuses()...)
	maps.Copy(want, loginStates())
	if diff := cmp.Diff(want, numbered); diff != "" {
		t.Errorf("statuses and login states with a number, -want +got:\n%s", diff)
	}
	// The table of alerts links to what it shows: Grafana cannot make the name of an alert lower case.
	for _, r := range readRules(t) {
		if r.Alert != "" && texts[r.Alert] != anchor(r.Alert) {
			t.Errorf("%s is shown as %q, not as its anchor", r.Alert, texts[r.Alert])
		}
	}
}

const grey = "#808080"

// knownUnits are units of Grafana 9.2: an unknown one would be shown as text.
var knownUnits = setOf("none", "short", "string", "s", "dtdurations", "dateTimeAsIso", "percentunit", "reqps")

// formats are the query formats of each type of panel. Those that show the present use instant queries: the last
// value of a range may be old.
var formats = map[string]struct {
	format  string
	instant bool
}{
	"stat":           {"time_series", true},
	"bargauge":       {"time_series", true},
	"table":          {"table", true},
	"timeseries":     {"time_series", false},
	"state-timeline": {"time_series", false},
	"heatmap":        {"heatmap", false},
}

func TestPanels(t *testing.T) {
	t.Parallel()
	for _, d := range readDashboards(t) {
		ids := map[int]bool{}
		for _, p := range d.Panels {
			t.Run(fmt.Sprintf("%s/%d %s", d.UID, p.ID, p.Title), func(t *testing.T) { checkPanel(t, p) })
			if ids[p.ID] {
				t.Errorf("%s: id %d occurs twice", d.UID, p.ID)
			}
			ids[p.ID] = true
		}
	}
}

func checkPanel(t *testing.T, p panel) {
	f := p.FieldConfig.Defaults
	if p.Title == "" || f.NoValue == "" || !knownUnits[f.Unit] {
		t.Errorf("title %q, noValue %q, unit %q", p.Title, f.NoValue, f.Unit)
	}
	if text, empty, _ := strings.Cut(p.Description, "\n\nEmpty: "); text == "" || empty == "" {
		t.Errorf("the description does not explain the panel, or what an empty one means: %q", p.Description)
	}
	if p.Type == "table" && f.Unit != "string" {
		t.Errorf("unit %q would format ids as numbers", f.Unit)
	}
	if p.Type == "stat" && f.Thresholds.Steps[0].Color != grey {
		t.Error("the lowest color is also that of no data, and must be grey")
	}
	want, known := formats[p.Type]
	if !known || len(p.Targets) == 0 {
		t.Errorf("panel %s with %d queries", p.Type, len(p.Targets))
	}
	for _, q := range p.Targets {
		if q.Format != want.format || q.Instant != want.instant || q.Range == q.Instant {
			t.Errorf("query %+v, want %+v", q, want)
		}
	}
}
