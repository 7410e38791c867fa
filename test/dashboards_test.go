package test

import (
	"bytes"
	"encoding/json"
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
	Panels        []panel // without rows
	Annotations   struct{ List []annotation }
	Templating    struct{ List []variable }
}

type annotation struct {
	Name, Expr, UseValueForTime string
	Enable                      bool
}

type variable struct {
	Name, Type string
	Query      any
	Current    struct{ Text, Value any }
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
		var panels []panel
		for _, p := range d.Panels {
			panels = append(append(panels, p), p.Panels...)
		}
		d.Panels = slices.DeleteFunc(panels, func(p panel) bool { return p.Type == "row" })
		all = append(all, d)
	}
	return all
}

func TestDashboardsCanBeImported(t *testing.T) {
	t.Parallel()
	for _, d := range readDashboards(t) {
		if d.UID+".json" != filepath.Base(d.file) || d.ID != nil || d.SchemaVersion != 37 ||
			strings.Contains(d.text, "__inputs") {
			t.Errorf("%s: Grafana 9.2 cannot import %q, id %v, schema %d", d.file, d.UID, d.ID, d.SchemaVersion)
		}
		uids := names(d.text, regexp.MustCompile(`"uid": "([^"]*)"`))
		if diff := cmp.Diff(setOf(d.UID, "${datasource}"), uids); diff != "" {
			t.Errorf("%s: uids of the dashboard and its data sources, -want +got:\n%s", d.UID, diff)
		}
		variables := set{}
		for _, v := range d.Templating.List {
			variables[v.Name] = true
			// Without it, Grafana takes the first data source of the type.
			if v.Type == "datasource" && (v.Current.Text != "default" || v.Current.Value != "default") {
				t.Errorf("%s: the data source is not the default one but %+v", d.UID, v.Current)
			}
		}
		if diff := cmp.Diff(variables, names(d.text, regexp.MustCompile(`\$\{?([a-z]\w*)`))); diff != "" {
			t.Errorf("%s: variables, -defined +used:\n%s", d.UID, diff)
		}
	}
}

// The files are edited by hand.
func TestDashboardsAreFormatted(t *testing.T) {
	t.Parallel()
	for _, d := range readDashboards(t) {
		for i, line := range strings.Split(d.text, "\n") {
			text := strings.TrimLeft(line, " ")
			long := len(line) >= 120 && !regexp.MustCompile(`^"(?:expr|description|url)": `).MatchString(text)
			if long || (len(line)-len(text))%2 != 0 || text != strings.TrimRight(text, " \t") {
				t.Errorf("%s:%d: longer than 119 characters, or wrong spaces: %s", d.file, i+1, line)
			}
		}
	}
}

// An annotation over the whole life of an alert would color all time series.
func TestDashboardAnnotations(t *testing.T) {
	t.Parallel()
	for _, d := range readDashboards(t) {
		for _, a := range d.Annotations.List {
			if a.Enable || a.UseValueForTime != "on" || !strings.HasPrefix(a.Expr, "1000 * max by ") ||
				!strings.Contains(a.Expr, "ALERTS_FOR_STATE{") {
				t.Errorf("%s: not the start of alerts, or on by default: %+v", d.UID, a)
			}
		}
	}
}

func TestDashboardLayout(t *testing.T) {
	t.Parallel()
	for _, d := range readDashboards(t) {
		if d.UID == "bunq-overview" && len(d.Panels) > 10 {
			t.Errorf("%s has %d panels", d.UID, len(d.Panels))
		}
		ids, titles, queries := map[int]bool{}, set{}, set{}
		alerts := false
		for _, p := range d.Panels {
			if ids[p.ID] || titles[p.Title] {
				t.Errorf("%s: the id or title of panel %d, %s, occurs twice", d.UID, p.ID, p.Title)
			}
			ids[p.ID], titles[p.Title] = true, true
			for _, q := range p.Targets {
				if queries[q.Expr] {
					t.Errorf("%s: panel %d, %s, shows what another one shows: %s", d.UID, p.ID, p.Title, q.Expr)
				}
				queries[q.Expr] = true
				alerts = alerts || p.Type == "table" && strings.Contains(q.Expr, "ALERTS{")
			}
			if p.GridPos.X+p.GridPos.W > 24 {
				t.Errorf("%s: panel %d, %s, is not within the 24 columns", d.UID, p.ID, p.Title)
			}
		}
		if above := heightAboveAlerts(d); !alerts || above > 17 { // a unit has 38 pixels, a phone 650 for panels
			t.Errorf("%s: on a phone the alerts are below %d units of other panels", d.UID, above)
		}
	}
}

// heightAboveAlerts returns the height of the panels that a phone shows above the table of alerts.
func heightAboveAlerts(d dashboard) (sum int) {
	for _, p := range d.Panels { // in this order
		if strings.Contains(p.Targets[0].Expr, "ALERTS{") {
			break
		}
		sum += p.GridPos.H
	}
	return sum
}

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

// number finds the numbers that a query returns for the values of a label.
var number = regexp.MustCompile(`(\d) \* bunq_(?:device_server_status|login_state)\{[^}]*\bstat(?:us|e)="(\w+)"\}`)

func TestDashboardMappings(t *testing.T) {
	t.Parallel()
	numbered := set{}
	for _, d := range readDashboards(t) {
		for _, p := range d.Panels {
			shown := p.FieldConfig.Defaults.Mappings.values(t)
			for _, q := range p.Targets {
				for _, match := range number.FindAllStringSubmatch(q.Expr, -1) {
					numbered[match[2]] = true
					if shown[match[1]].Text != match[2] {
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
}

// Grafana cannot make the name of an alert lower case, as the anchor of its runbook is.
func TestDashboardRunbooks(t *testing.T) {
	t.Parallel()
	want := map[string]string{}
	for _, r := range readRules(t) {
		if r.Alert != "" {
			want[r.Alert] = anchor(r.Alert)
		}
	}
	recorded := names(readFile(t, "../alerts/bunq.rules.yml"), regexp.MustCompile(`- record: (\S+)`))
	for _, d := range readDashboards(t) {
		tables := 0
		for _, p := range d.Panels {
			var anchors mappings
			p.property("Runbook", "mappings", &anchors)
			if anchors == nil {
				continue
			}
			tables++
			got := map[string]string{}
			for alert, result := range anchors.values(t) {
				got[alert] = result.Text
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, panel %d: anchors of the alerts, -want +got:\n%s", d.UID, p.ID, diff)
			}
		}
		if tables != 1 {
			t.Errorf("%s: %d tables link to the runbooks", d.UID, tables)
		}
		for name := range names(d.text, regexp.MustCompile(`\b([a-z_]+:\w+:\w+)\b`)) {
			if !recorded[name] {
				t.Errorf("%s: there is no rule that records %s", d.UID, name)
			}
		}
	}
}

// decodeStrictly fails for a key that the structure does not have.
func decodeStrictly(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}
