package test

import (
	"encoding/json"
	"image"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
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

// dashboard has what the tests compare. The schema describes everything else.
type dashboard struct {
	file, text  string
	UID         string
	Panels      []panel // without rows
	Annotations struct{ List []struct{ Expr string } }
	Templating  struct{ List []struct{ Name string } }
}

type panel struct {
	ID              int
	Type, Title     string
	Panels          []panel // of a row
	GridPos         struct{ X, Y, W, H int }
	Targets         []struct{ RefID, Expr, LegendFormat string }
	Transformations []struct{ Options columns }
	FieldConfig     struct {
		Defaults struct {
			Mappings []struct {
				Type    string
				Options json.RawMessage
			}
		}
		Overrides []struct {
			Matcher    struct{ ID, Options string }
			Properties []struct{ Value any }
		}
	}
}

// columns are those of a table, by their names in the result of the query.
type columns struct {
	ExcludeByName map[string]bool
	IndexByName   map[string]int
	RenameByName  map[string]string
}

func (p panel) columns() (c columns) {
	for _, transformation := range p.Transformations {
		c = transformation.Options // of the last one
	}
	return c
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

// eachPanel calls a test with each panel of the dashboards.
func eachPanel(t *testing.T, test func(*testing.T, panel)) {
	t.Parallel()
	for _, d := range readDashboards(t) {
		for _, p := range d.Panels {
			t.Run(d.UID+"/"+p.Title, func(t *testing.T) { test(t, p) })
		}
	}
}

func TestDashboardSchema(t *testing.T) {
	t.Parallel()
	document, err := openapi3.NewLoader().LoadFromFile("testdata/dashboard.schema.yml")
	check(t, err)
	schema := document.Components.Schemas["dashboard"].Value
	for _, d := range readDashboards(t) {
		var content any
		_ = json.Unmarshal([]byte(d.text), &content) // readDashboards has done it
		if err := schema.VisitJSON(content, openapi3.EnableJSONSchema2020(), openapi3.MultiErrors()); err != nil {
			t.Errorf("%s: %v", d.file, err)
		}
		if d.UID+".json" != filepath.Base(d.file) {
			t.Errorf("%s has the uid %q", d.file, d.UID)
		}
		variables := set{}
		for _, v := range d.Templating.List {
			variables[v.Name] = true
		}
		if diff := cmp.Diff(variables, names(d.text, regexp.MustCompile(`\$\{?([a-z]\w*)`))); diff != "" {
			t.Errorf("%s: variables, -defined +used:\n%s", d.UID, diff)
		}
	}
}

func TestDashboardLayout(t *testing.T) {
	t.Parallel()
	for _, d := range readDashboards(t) {
		if d.UID == "bunq-overview" && len(d.Panels) > 10 {
			t.Errorf("%s has %d panels", d.UID, len(d.Panels))
		}
		ids, texts, areas, alertsAt, height := map[int]bool{}, set{}, []image.Rectangle{}, -1, 0
		for _, p := range d.Panels {
			g := p.GridPos
			area := image.Rect(g.X, g.Y, g.X+g.W, g.Y+g.H)
			if area.Max.X > 24 || slices.ContainsFunc(areas, area.Overlaps) {
				t.Errorf("%s: panel %d, %s, is not within the 24 columns, or above another one", d.UID, p.ID, p.Title)
			}
			areas = append(areas, area)
			if ids[p.ID] || texts[p.Title] {
				t.Errorf("%s: the id or title of panel %d, %s, occurs twice", d.UID, p.ID, p.Title)
			}
			ids[p.ID], texts[p.Title] = true, true
			for _, q := range p.Targets {
				if texts[q.Expr] {
					t.Errorf("%s: panel %d, %s, shows what another one shows: %s", d.UID, p.ID, p.Title, q.Expr)
				}
				texts[q.Expr] = true
			}
			if alertsAt < 0 && p.Type == "table" && strings.Contains(p.Targets[0].Expr, "ALERTS{") {
				alertsAt = height
			}
			height += g.H // on a phone, which shows the panels in this order
		}
		if alertsAt < 0 || alertsAt > 17 { // a unit has 38 pixels, a phone 650 for panels
			t.Errorf("%s: on a phone the alerts are missing, or below %d units of other panels", d.UID, alertsAt)
		}
	}
}

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
		for link := range names(d.text, regexp.MustCompile(`"url": "([^"]*)"`)) {
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

// number finds the numbers that a query returns, and the value of a label that each stands for.
var number = regexp.MustCompile(`(?m)^\s*(?:or )?(\d) \* \w+\{[^}]*?(?:(?:status|state)=\\?"(\w+)")?\}`)

// Each number of a timeline has a text and a color of its own.
func TestDashboardTimelines(t *testing.T) {
	numbered := set{}
	eachPanel(t, func(t *testing.T, p panel) {
		if p.Type != "state-timeline" {
			return
		}
		shown, colors := map[string]struct{ Text, Color string }{}, set{}
		_ = json.Unmarshal(p.FieldConfig.Defaults.Mappings[0].Options, &shown) // the schema describes it
		for _, match := range number.FindAllStringSubmatch(p.Targets[0].Expr, -1) {
			number, value := match[1], match[2]
			result := shown[number]
			if result.Text == "" || value != "" && value != result.Text || result.Color == "" || colors[result.Color] {
				t.Errorf("%s, %s, is shown as %+v, or looks like another one", number, value, result)
			}
			numbered[value], colors[result.Color] = true, true
			delete(shown, number)
		}
		if len(shown) > 0 {
			t.Errorf("mappings of what the query does not return: %v", shown)
		}
	})
	want := setOf(bunq.Statuses...)
	maps.Copy(want, loginStates())
	delete(numbered, "") // not read, and statuses that are not documented
	if diff := cmp.Diff(want, numbered); diff != "" {
		t.Errorf("statuses and login states with a number, -want +got:\n%s", diff)
	}
}

// returned finds the labels that a query returns.
var returned = regexp.MustCompile(
	`(?:by|group_left) \(([^)]*)\)|label_replace\([^"]*"(\w+)"|"(\w+)", "[^"]*", "\w*", "[^"]*"`)

func TestDashboardTables(t *testing.T) {
	eachPanel(t, func(t *testing.T, p panel) {
		if p.Type != "table" {
			return
		}
		returns, shown := setOf("Time"), set{}
		for _, q := range p.Targets {
			returns[map[bool]string{true: "Value", false: "Value #" + q.RefID}[len(p.Targets) == 1]] = true
			for _, match := range returned.FindAllStringSubmatch(q.Expr, -1) {
				maps.Copy(returns, setOf(strings.Split(strings.Join(match[1:], ""), ", ")...))
			}
		}
		c := p.columns()
		for from, to := range c.RenameByName {
			shown[to] = true
			if _, placed := c.IndexByName[from]; !placed || !returns[from] || c.ExcludeByName[from] {
				t.Errorf("column %s, %s, has no place or does not exist", to, from)
			}
		}
		for name := range c.ExcludeByName {
			if !returns[name] {
				t.Errorf("column %s does not exist", name)
			}
		}
		width := 150 * len(shown) // of columns that take what is left
		for _, o := range p.FieldConfig.Overrides {
			for _, property := range o.Properties {
				if pixels, ok := property.Value.(float64); ok { // no other property is a number
					width += int(pixels) - 150
				}
			}
		}
		if limit := 1250 * p.GridPos.W / 24; width > limit { // a screen of 1600 pixels with the menu
			t.Errorf("columns of %d pixels, there are %d", width, limit)
		}
	})
}
