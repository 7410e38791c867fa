package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bunq_exporter/bunq"
)

// eachPanel tests every panel that is not a heading.
func eachPanel(t *testing.T, test func(t *testing.T, d dashboard, p panel)) {
	t.Helper()
	for _, d := range readDashboards(t) {
		for _, p := range d.shown() {
			t.Run(fmt.Sprintf("%s/%d %s", d.UID, p.ID, p.Title), func(t *testing.T) { test(t, d, p) })
		}
	}
}

// mappings returns all of the panel's value mappings.
func (p panel) mappings(t *testing.T) []mapping {
	t.Helper()
	all := slices.Clone(p.FieldConfig.Defaults.Mappings)
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			var more []mapping
			if property.ID != "mappings" {
				continue
			}
			if err := json.Unmarshal(property.Value, &more); err != nil {
				t.Fatal(err)
			}
			all = append(all, more...)
		}
	}
	return all
}

const grey = "#808080"

// knownUnits are units that Grafana 9.2 has: an unknown one would be shown as text.
var knownUnits = setOf("none", "short", "string", "s", "dtdurations", "dateTimeAsIso", "percentunit", "reqps")

func TestPanelsExplainThemselves(t *testing.T) {
	eachPanel(t, func(t *testing.T, _ dashboard, p panel) {
		f := p.FieldConfig.Defaults
		if p.Title == "" || f.NoValue == "" || !knownUnits[f.Unit] {
			t.Errorf("title %q, noValue %q, unit %q", p.Title, f.NoValue, f.Unit)
		}
		if shows, empty, _ := strings.Cut(p.Description, "\n\nEmpty: "); shows == "" || empty == "" {
			t.Errorf("the description does not say what it shows, and what it means when empty: %q", p.Description)
		}
		if p.Type == "table" && f.Unit != "string" {
			t.Errorf("unit %q is used for ids too, which look like numbers", f.Unit)
		}
		if p.Type == "stat" && f.Thresholds.Steps[0].Color != grey {
			t.Error("the lowest colour is that of no data too, so it must not look like an answer")
		}
	})
}

// formats are how each kind of panel asks. Those that show one moment ask for that: the last value of a range may be old.
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

func TestPanelsAskGrafanasWay(t *testing.T) {
	eachPanel(t, func(t *testing.T, _ dashboard, p panel) {
		want, known := formats[p.Type]
		if !known || p.Datasource != anyDatasource || len(p.Targets) == 0 {
			t.Errorf("panel %s of the data source %v, %d queries", p.Type, p.Datasource, len(p.Targets))
		}
		refs := set{}
		for _, q := range p.Targets {
			if refs[q.RefID] || q.Datasource != anyDatasource || q.Format != want.format || q.Instant != want.instant || q.Range == q.Instant {
				t.Errorf("query %+v, want %+v", q, want)
			}
			refs[q.RefID] = true
		}
	})
}

// fields returns the labels and values that a table gets from its queries.
func (p panel) fields(v vocabulary) set {
	fields := setOf("Time")
	for _, q := range p.Targets {
		labels, _ := v.check(plain.Replace(q.Expr))
		fields = fields.with(labels)
		if len(p.Targets) == 1 {
			fields["Value"] = true
		} else {
			fields["Value #"+q.RefID] = true
		}
	}
	return fields
}

func TestTablesShowColumnsThatExist(t *testing.T) {
	v := demoVocabulary(t)
	eachPanel(t, func(t *testing.T, _ dashboard, p panel) {
		if p.Type != "table" {
			return
		}
		last := len(p.Transformations) - 1
		if last < 0 || last > 1 || p.Transformations[0].ID != []string{"organize", "merge"}[last] || p.Transformations[last].ID != "organize" {
			t.Fatalf("transformations %+v, want merge for several queries, and organize", p.Transformations)
		}
		columns, fields, organize := set{}, p.fields(v), p.Transformations[last].Options
		for field := range fields {
			if _, placed := organize.IndexByName[field]; placed {
				columns[cmp.Or(organize.RenameByName[field], field)] = true
			} else if !organize.ExcludeByName[field] {
				t.Errorf("field %q has no place", field)
			}
		}
		for field := range organize.IndexByName {
			if !fields[field] {
				t.Errorf("there is no field %q", field)
			}
		}
		for _, o := range p.FieldConfig.Overrides {
			if !columns[o.Matcher.Options] {
				t.Errorf("there is no column %q", o.Matcher.Options)
			}
		}
	})
}

func TestPanelsFitAndDoNotOverlap(t *testing.T) {
	for _, d := range readDashboards(t) {
		ids, taken := map[int]bool{}, map[[2]int]int{}
		for _, p := range d.Panels {
			if p.ID < 1 || ids[p.ID] {
				t.Errorf("%s: id %d is there twice, or none", d.UID, p.ID)
			}
			ids[p.ID] = true
			g := p.GridPos
			if g.X < 0 || g.Y < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
				t.Errorf("%s: panel %d is outside the grid: %+v", d.UID, p.ID, g)
			}
			for i := range g.W * g.H {
				cell := [2]int{g.X + i%g.W, g.Y + i/g.W}
				if other, overlaps := taken[cell]; overlaps {
					t.Fatalf("%s: panels %d and %d overlap", d.UID, other, p.ID)
				}
				taken[cell] = p.ID
			}
		}
	}
}

// codes finds the numbers that a query gives to the values of a label.
var codes = map[string]*regexp.Regexp{
	"status": regexp.MustCompile(`(\d) \* bunq_device_server_status\{[^}]*\bstatus="(\w+)"\}`),
	"state":  regexp.MustCompile(`(\d) \* bunq_login_state\{[^}]*\bstate="(\w+)"\}`),
}

func TestNumbersStandForEveryStatusAndLoginState(t *testing.T) {
	want := map[string][]string{}
	for _, status := range bunq.Statuses() {
		want["status"] = append(want["status"], string(status))
	}
	for _, state := range bunq.LoginStates() {
		want["state"] = append(want["state"], string(state))
	}
	found := map[string]int{}
	eachPanel(t, func(t *testing.T, _ dashboard, p panel) {
		for _, q := range p.Targets {
			for label, pattern := range codes {
				numbers := map[string]string{}
				for _, match := range pattern.FindAllStringSubmatch(q.Expr, -1) {
					numbers[match[2]] = match[1]
				}
				if len(numbers) == 0 {
					continue
				}
				found[label]++
				for _, value := range want[label] {
					if !p.maps(t, numbers[value], value) {
						t.Errorf("%s %s is the number %q, which is not shown as such, with a colour", label, value, numbers[value])
					}
				}
			}
		}
	})
	if found["status"] != 3 || found["state"] != 2 {
		t.Errorf("%v queries make numbers, want 3 and 2", found)
	}
}

// maps says whether one of the panel's mappings shows the number as the text.
func (p panel) maps(t *testing.T, number, text string) bool {
	t.Helper()
	return slices.ContainsFunc(p.mappings(t), func(m mapping) bool {
		to, there := m.Options[number]
		return there && to.Text == text && to.Color != ""
	})
}
