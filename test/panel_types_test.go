package test

import (
	"regexp"
	"strings"
	"testing"
)

// A tile without data has the fixed color, or that of the lowest threshold. It must not look well.
func checkStat(t *testing.T, p panel) {
	f := p.FieldConfig.Defaults
	color := f.Color.FixedColor
	if f.Color.Mode == "thresholds" {
		color = f.Thresholds.Steps[0].Color
	}
	if color != "#808080" && color != "red" {
		t.Errorf("a tile without data is %q", color)
	}
	if named := p.options() == namedTile; named != (len(p.Targets) > 1) {
		t.Error("several values without their names, or one with it")
	}
}

// labels finds the labels that a query returns.
var labels = regexp.MustCompile(
	`(?:by|group_left) \(([^)]*)\)|label_replace\([^"]*"(\w+)"|"(\w+)", "[^"]*", "\w*", "[^"]*"`)

// columns returns the names of the columns before transformations.
func (p panel) columns() set {
	all := setOf("Time")
	for _, q := range p.Targets {
		if len(p.Targets) > 1 {
			all["Value #"+q.RefID] = true
		} else {
			all["Value"] = true
		}
		for _, match := range labels.FindAllStringSubmatch(q.Expr, -1) {
			for label := range strings.SplitSeq(strings.Join(match[1:], ""), ", ") {
				all[label] = true
			}
		}
	}
	return all
}

func checkTable(t *testing.T, p panel) {
	last := len(p.Transformations) - 1
	if p.Transformations[last].ID != "organize" ||
		(len(p.Targets) > 1) != (last == 1 && p.Transformations[0].ID == "merge") {
		t.Errorf("transformations %+v", p.Transformations)
	}
	organize := p.Transformations[last].Options
	columns, shown, width := p.columns(), set{}, 0
	for from, to := range organize.RenameByName {
		shown[to] = true
		if _, placed := organize.IndexByName[from]; !placed || !columns[from] || organize.ExcludeByName[from] {
			t.Errorf("column %s, %s, has no place or does not exist", to, from)
		}
		columnWidth := 150 // for those that take what is left
		p.property(to, "custom.width", &columnWidth)
		width += columnWidth
	}
	for name := range organize.ExcludeByName {
		if !columns[name] {
			t.Errorf("column %s does not exist", name)
		}
	}
	if limit := 1250 * p.GridPos.W / 24; width > limit { // a screen of 1600 pixels with the menu
		t.Errorf("columns of %d pixels, there are %d", width, limit)
	}
	var empty string
	p.property("/.*/", "noValue", &empty)
	if unit := p.FieldConfig.Defaults.Unit; unit != "string" || empty == "" {
		t.Errorf("unit %q would format ids as numbers, or empty cells have the text of an empty table", unit)
	}
	for _, column := range []string{"Description", "Since", "Runbook"} {
		if shown["Alert"] && !shown[column] {
			t.Errorf("alerts without %s", column)
		}
	}
}

func checkTimeSeries(t *testing.T, p panel) {
	f := p.FieldConfig.Defaults
	if f.Min == nil || *f.Min != 0 || (p.options() == share) != (f.Max != nil && *f.Max == 1) {
		t.Errorf("the axis begins at %v and ends at %v", f.Min, f.Max)
	}
	for _, q := range p.Targets {
		if q.LegendFormat == "" || (p.options() == bars) != strings.Contains(q.Expr, "increase(") {
			t.Errorf("legend %q, options %s of %s", q.LegendFormat, p.options(), q.Expr)
		}
		color := f.Color
		p.property("/^5/", "color", &color)
		if strings.Contains(q.LegendFormat, "{{code}}") && color.FixedColor != "red" ||
			strings.Contains(q.LegendFormat, "{{reason}}") && color.FixedColor == "" {
			t.Errorf("failures are %+v, or have the palette's colors, of which the first is green", color)
		}
	}
}

var firstNumber = regexp.MustCompile(`(?m)^\s*(?:or )?(\d) \* `)

// checkTimeline requires a color and a text for each number. With the color mode "thresholds", Grafana replaces values
// by thresholds when it merges them, and ignores the mappings.
func checkTimeline(t *testing.T, p panel) {
	f := p.FieldConfig.Defaults
	if f.Color.Mode != "continuous-GrYlRd" || f.Unit != "none" {
		t.Errorf("color mode %q, unit %q", f.Color.Mode, f.Unit)
	}
	shown, colors := f.Mappings.values(t), set{}
	for number := range names(p.Targets[0].Expr, firstNumber) {
		result := shown[number]
		if result.Text == "" || result.Color == "" || colors[result.Color] {
			t.Errorf("%s is shown as %+v, or looks like another one", number, result)
		}
		colors[result.Color] = true
		delete(shown, number)
	}
	if len(shown) > 0 || len(colors) == 0 {
		t.Errorf("mappings of what the query does not return: %v", shown)
	}
}
