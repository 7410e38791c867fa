package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

type dashboard struct {
	file, text    string
	UID           string
	ID            *int
	SchemaVersion int
	Panels        []panel
	Templating    struct{ List []variable }
	Annotations   struct{ List []query }
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               datasource
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []query
	FieldConfig              struct {
		Defaults struct {
			Unit, NoValue string
			Mappings      []mapping
			Thresholds    struct{ Steps []struct{ Color string } }
		}
		Overrides []override
	}
	Transformations []struct {
		ID      string
		Options struct {
			ExcludeByName map[string]bool
			IndexByName   map[string]int
			RenameByName  map[string]string
		}
	}
}

type override struct {
	Matcher    struct{ ID, Options string }
	Properties []struct {
		ID    string
		Value json.RawMessage
	}
}

type mapping struct {
	Options map[string]struct{ Text, Color string }
}

type query struct {
	Datasource          datasource
	RefID, Expr, Format string
	Instant, Range      bool
}

type variable struct {
	Name, Type string
	Datasource datasource
	Query      json.RawMessage
}

type datasource struct{ Type, UID string }

var anyDatasource = datasource{"prometheus", "${datasource}"}

func readDashboards(t *testing.T) (all []dashboard) {
	t.Helper()
	files, err := filepath.Glob("dashboards/*.json")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d dashboards, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d := dashboard{file: file, text: string(text)}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := yaml.Unmarshal(text, new(map[string]any)); err != nil { // JSON is YAML, whose reader refuses a key that is there twice
			t.Errorf("%s: %v", file, err)
		}
		all = append(all, d)
	}
	return all
}

// shown returns the panels that are not headings.
func (d dashboard) shown() []panel {
	return slices.DeleteFunc(slices.Clone(d.Panels), func(p panel) bool { return p.Type == "row" })
}

// rateInterval stands for $__rate_interval where nothing else could.
const rateInterval = 61 * time.Second

// plain is a query with Grafana's variables replaced.
var plain = strings.NewReplacer("$__rate_interval", rateInterval.String(), "$__range", "1h", "$__interval", "15s", "$account", "demo", "$id", "4711")

// queries returns every query of a dashboard by where it is.
func (d dashboard) queries(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, p := range d.shown() {
		for _, q := range p.Targets {
			all[fmt.Sprintf("panel %d %s", p.ID, q.RefID)] = q.Expr
		}
	}
	for i, a := range d.Annotations.List {
		all[fmt.Sprintf("annotation %d", i)] = a.Expr
	}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		var q struct{ Query string }
		if err := json.Unmarshal(v.Query, &q); err != nil {
			t.Fatal(err)
		}
		match := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`).FindStringSubmatch(q.Query)
		if match == nil {
			t.Fatalf("variable %s: %q", v.Name, q.Query)
		}
		all["variable "+v.Name] = fmt.Sprintf("count by (%s) (%s)", match[2], match[1])
	}
	return all
}

func TestDashboardsAskForWhatTheExporterShows(t *testing.T) {
	v := demoVocabulary(t)
	for _, d := range readDashboards(t) {
		for where, text := range d.queries(t) {
			t.Run(d.UID+"/"+where, func(t *testing.T) {
				text = plain.Replace(text)
				if left := regexp.MustCompile(`\$[{a-zA-Z_]\w*`).FindString(text); left != "" {
					t.Errorf("there is no variable %s", left)
				}
				_, problems := v.check(text)
				for _, problem := range problems {
					t.Error(problem)
				}
				for _, window := range windows(t, text) {
					if window != rateInterval {
						t.Errorf("%s: the window of an increase is %v, want $__rate_interval", text, window)
					}
				}
			})
		}
	}
}

func TestDashboardsCanBeImportedAnywhere(t *testing.T) {
	for _, d := range readDashboards(t) {
		if d.UID+".json" != filepath.Base(d.file) { // so that no two have the same
			t.Errorf("%s: uid %q, want the file's name", d.file, d.UID)
		}
		if d.ID != nil || d.SchemaVersion != 37 || strings.Contains(d.text, "__inputs") {
			t.Errorf("%s: id %v, schema %d: not what Grafana 9.2 imports as it is", d.UID, d.ID, d.SchemaVersion)
		}
		for _, a := range d.Annotations.List {
			if a.Datasource != anyDatasource {
				t.Errorf("%s: an annotation is of the data source %v", d.UID, a.Datasource)
			}
		}
		names := set{}
		for _, v := range d.Templating.List {
			names[v.Name] = true
			if v.Type == "query" && v.Datasource != anyDatasource {
				t.Errorf("%s: variable %s is of the data source %v", d.UID, v.Name, v.Datasource)
			}
		}
		if diff := cmp.Diff(setOf("datasource", "account", "id", "exporter"), names); diff != "" {
			t.Errorf("%s: variables, -want +got:\n%s", d.UID, diff)
		}
	}
}

var addressPattern = regexp.MustCompile(`"url": "([^"]*)"`)

func TestDashboardsLeadToPagesThatExist(t *testing.T) {
	pages := setOf("/status", "/docs/runbooks.md", "/docs/runbooks.md#${__value.text}") // the last is of the table of alerts
	for section := range readRunbooks(t) {
		pages["/docs/runbooks.md#"+section] = true
	}
	all := readDashboards(t)
	for _, d := range all {
		leads := set{}
		for _, match := range addressPattern.FindAllStringSubmatch(d.text, -1) {
			page, ofExporter := strings.CutPrefix(match[1], "${exporter:raw}")
			if uid, isDashboard := strings.CutPrefix(page, "/d/"); isDashboard {
				uid, _, _ = strings.Cut(uid, "?")
				leads[uid] = true
			} else if !ofExporter || !pages[page] {
				t.Errorf("%s: %s leads nowhere", d.UID, match[1])
			}
		}
		for _, other := range all {
			if other.UID != d.UID && !leads[other.UID] {
				t.Errorf("%s does not lead to %s", d.UID, other.UID)
			}
			delete(leads, other.UID)
		}
		for uid := range leads {
			t.Errorf("%s: there is no dashboard %s", d.UID, uid)
		}
	}
}

// The table of alerts makes its links of what it shows: Grafana cannot make the name of an alert lower case.
func TestTheTableOfAlertsLeadsToEveryRunbook(t *testing.T) {
	shown := map[string]string{}
	for _, d := range readDashboards(t) {
		for _, p := range d.shown() {
			for _, m := range p.mappings(t) {
				for from, to := range m.Options {
					shown[from] = to.Text
				}
			}
		}
	}
	for _, r := range readRules(t) {
		if r.Alert != "" && shown[r.Alert] != anchor(r.Alert) {
			t.Errorf("the runbook of %s is shown as %q, which is not its anchor", r.Alert, shown[r.Alert])
		}
	}
}
