package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bunq_exporter/bunq"
)

// panel has the keys of Grafana's schema that the dashboards use. A key that is not here is probably a mistake, as
// exemplars are: they hide the lines.
type panel struct {
	ID                                                int
	Type, Title, Description, PluginVersion, Interval string
	Collapsed                                         bool
	Panels                                            []panel // of a row
	Datasource                                        map[string]string
	GridPos                                           struct{ X, Y, W, H int }
	Targets                                           []target
	Transformations                                   []transformation
	FieldConfig                                       fieldConfig
	Options                                           any
}

type target struct {
	RefID, Expr, LegendFormat, Format string
	Instant, Range                    bool
}

type transformation struct {
	ID      string
	Options struct {
		ExcludeByName map[string]bool
		IndexByName   map[string]int
		RenameByName  map[string]string
	}
}

type fieldConfig struct {
	Defaults struct {
		Unit, NoValue      string
		Min, Max, Decimals *float64
		Color              struct{ Mode, FixedColor string }
		Thresholds         thresholds
		Mappings           mappings
		Links              []map[string]any
		Custom             any
	}
	Overrides []struct {
		Matcher    struct{ ID, Options string }
		Properties []struct {
			ID    string
			Value json.RawMessage
		}
	}
}

type thresholds struct {
	Mode  string
	Steps []struct {
		Color string
		Value *float64
	}
}

type mappings []struct {
	Type    string
	Options json.RawMessage
}

type mapped struct {
	Text, Color string
	Index       int
}

// values returns what the mappings of single values show.
func (m mappings) values(t *testing.T) map[string]mapped {
	t.Helper()
	all := map[string]mapped{}
	for _, mapping := range m {
		if mapping.Type == "value" {
			if err := decodeStrictly(mapping.Options, &all); err != nil {
				t.Error(err)
			}
		}
	}
	return all
}

func (p *panel) UnmarshalJSON(text []byte) error {
	type plain panel // without this method
	return decodeStrictly(text, (*plain)(p))
}

// property decodes a property of the override for a name.
func (p panel) property(name, property string, into any) {
	for _, o := range p.FieldConfig.Overrides {
		for _, candidate := range o.Properties {
			if o.Matcher.Options == name && candidate.ID == property {
				_ = json.Unmarshal(candidate.Value, into) // checkOverrides reports what is wrong
			}
		}
	}
}

// The options of each type of panel, and its custom ones.
const (
	tile      = `{"colorMode":"background","graphMode":"none","textMode":"value"} null`
	namedTile = `{"colorMode":"background","graphMode":"none","textMode":"value_and_name"} null`
	sorted    = `{"showHeader":true,"sortBy":[{"desc":false,"displayName":"Severity"},` +
		`{"desc":false,"displayName":"%s"}]} {"align":"left"}`
	states = `{"alignValue":"left","legend":{"displayMode":"list","placement":"bottom","showLegend":false},` +
		`"mergeValues":true,"perPage":20,"rowHeight":0.9,"showValue":"auto",` +
		`"tooltip":{"mode":"single","sort":"none"}} {"fillOpacity":80,"lineWidth":0}`
	plot = `{"legend":{"calcs":[%s],"displayMode":"%s","placement":"bottom","showLegend":true},` +
		`"tooltip":{"mode":"multi","sort":"desc"}} %s`
	// Without a soft maximum, the axis of what is 0 ends at 100. The lines of stacked zeros would be visible.
	stackedBars = `{"axisSoftMax":1,"drawStyle":"bars","fillOpacity":80,"lineWidth":0,` +
		`"stacking":{"group":"A","mode":"normal"}}`
)

var (
	// Severity is first, and nothing changes its place with each refresh.
	bySince = fmt.Sprintf(sorted, "Since")
	byID    = fmt.Sprintf(sorted, "Device server")

	share = fmt.Sprintf(plot, `"mean"`, "table", "null") // its maximum is 1
	lines = fmt.Sprintf(plot, "", "list", `{"axisSoftMax":0.1}`)
	bars  = fmt.Sprintf(plot, `"sum"`, "table", stackedBars)
)

// panelTypes have an instant query if they show the present: the last value of a range may be old.
var panelTypes = map[string]struct {
	format  string
	instant bool
	options []string
	check   func(*testing.T, panel)
}{
	"stat":           {"time_series", true, []string{tile, namedTile}, checkStat},
	"table":          {"table", true, []string{bySince, byID}, checkTable},
	"timeseries":     {"time_series", false, []string{share, lines, bars}, checkTimeSeries},
	"state-timeline": {"time_series", false, []string{states}, checkTimeline},
}

// knownUnits are units of Grafana 9.2 to 12: an unknown one would be shown as text.
var knownUnits = setOf("none", "short", "string", "s", "dateTimeFromNow", "percentunit")

func TestPanels(t *testing.T) {
	t.Parallel()
	for _, d := range readDashboards(t) {
		for _, p := range d.Panels {
			t.Run(fmt.Sprintf("%s/%d %s", d.UID, p.ID, p.Title), func(t *testing.T) {
				checkPanel(t, p)
				checkQueries(t, p)
				checkOverrides(t, p)
				panelTypes[p.Type].check(t, p)
			})
		}
	}
}

// options returns the options of a panel, and its custom ones.
func (p panel) options() string {
	options, _ := json.Marshal(p.Options) // with sorted keys
	custom, _ := json.Marshal(p.FieldConfig.Defaults.Custom)
	return string(options) + " " + string(custom)
}

func checkPanel(t *testing.T, p panel) {
	f := p.FieldConfig.Defaults
	// noValue is what an empty panel shows; the description is only seen with the mouse.
	if p.Title == "" || p.Description == "" || f.NoValue == "" || strings.Contains(p.Description, "Empty:") {
		t.Errorf("title %q, description %q, noValue %q", p.Title, p.Description, f.NoValue)
	}
	// Options of a version are migrated by newer ones.
	if !knownUnits[f.Unit] || p.PluginVersion != "9.2.0" {
		t.Errorf("unit %q, version %q", f.Unit, p.PluginVersion)
	}
	for _, mapping := range f.Mappings {
		if !setOf("value", "range")[mapping.Type] {
			t.Errorf("mapping of type %q", mapping.Type)
		}
	}
	if known := panelTypes[p.Type].options; !slices.Contains(known, p.options()) {
		t.Errorf("options of a %s:\n%s, want one of\n%s", p.Type, p.options(), strings.Join(known, "\n"))
	}
}

var (
	otherRange = regexp.MustCompile(
		`\brate\([^\[]*\[(?:[^$1]|\$__interval|\$__range)|\bincrease\([^\[]*\[(?:[^$]|\$__rate)`)
	sampleTime   = regexp.MustCompile(`timestamp\([^()]*\}\)`)
	bucketQuery  = regexp.MustCompile(`histogram_quantile\([^\n]*_bucket[^\n]*`)
	recordedName = regexp.MustCompile(`(?:unless on \(\) )?\b[a-z_]+:\w+:\w+`)
)

func checkQueries(t *testing.T, p panel) {
	want := panelTypes[p.Type]
	for i, q := range p.Targets {
		if q.RefID != string(rune('A'+i)) || q.Format != want.format ||
			q.Instant != want.instant || q.Range == q.Instant {
			t.Errorf("query %+v, want %+v", q, want)
		}
		// The sum of increases over $__rate_interval, which is four intervals or more, counts events several times.
		if otherRange.MatchString(q.Expr) {
			t.Errorf("the range of a rate or an increase is wrong: %s", q.Expr)
		}
		if strings.Contains(q.Expr, "$__interval]") && p.Type == "timeseries" && p.Interval != "10m" {
			t.Errorf("an interval of %q may have less than two scrapes", p.Interval)
		}
		// What did not happen has no place in stacks and legends.
		if strings.Contains(q.Expr, "increase(") && !strings.HasSuffix(q.Expr, " > 0") {
			t.Errorf("series that are 0: %s", q.Expr)
		}
		// Prometheus may be configured to scrape native histograms alone.
		for _, query := range bucketQuery.FindAllString(q.Expr, -1) {
			native := strings.NewReplacer("_bucket", "", "(le, ", "(", ", le)", ")").Replace(query)
			if !strings.Contains(q.Expr, "\nor "+native) {
				t.Errorf("no data where only native histograms are scraped: %s", query)
			}
		}
		// In a subquery, timestamp() of a selector takes about ten times as long as that of a comparison.
		if sampleTime.MatchString(q.Expr) {
			t.Errorf("slow with many device servers: %s", q.Expr)
		}
		name := recordedName.FindString(q.Expr)
		if name != "" && name != "unless on () job_instance:bunq_up:seen" {
			t.Errorf("requires that the rules are loaded: %s", name)
		}
	}
}

// properties are those of overrides, with their values. Grafana 9.5 and later migrate displayMode to cellOptions.
var properties = map[string]*regexp.Regexp{
	"unit":               regexp.MustCompile(`^"(s|dateTimeFromNow)"$`),
	"noValue":            regexp.MustCompile(`^"–"$`),
	"color":              regexp.MustCompile(`^{"mode":"fixed","fixedColor":"[a-z-]+"}$`),
	"mappings":           regexp.MustCompile(`^\[{"type":"(value|special)","options":{`),
	"links":              regexp.MustCompile(`^\[{"title":"[^"]+","url":"[^"]+"`),
	"thresholds":         regexp.MustCompile(`^{"mode":"absolute","steps":\[{"color":"\w+","value":null}`),
	"custom.width":       regexp.MustCompile(`^\d+$`),
	"custom.displayMode": regexp.MustCompile(`^"color-(background|text)"$`),
	"custom.lineStyle":   regexp.MustCompile(`^{"fill":"dash","dash":\[10,10\]}$`),
}

// An override that matches nothing has no effect.
func checkOverrides(t *testing.T, p panel) {
	fields := p.fieldNames()
	for _, o := range p.FieldConfig.Overrides {
		pattern := "^" + regexp.QuoteMeta(o.Matcher.Options) + "$"
		if o.Matcher.ID == "byRegexp" {
			pattern = strings.Trim(o.Matcher.Options, "/")
		}
		matches, err := regexp.Compile(pattern)
		if err != nil || !slices.ContainsFunc(fields, matches.MatchString) {
			t.Errorf("no field matches %s %q: %q, %v", o.Matcher.ID, o.Matcher.Options, fields, err)
		}
		for _, property := range o.Properties {
			var value bytes.Buffer
			_ = json.Compact(&value, property.Value)
			if known := properties[property.ID]; known == nil || !known.Match(value.Bytes()) {
				t.Errorf("%s: %s is %s", o.Matcher.Options, property.ID, property.Value)
			}
		}
	}
}

// legendValues are values of the labels in legends.
var legendValues = map[string]set{
	"account": setOf("company"), "id": setOf("4711"), "description": setOf("payouts"), "method": setOf("GET"),
	"endpoint": setOf("device-server"), "code": setOf("200", "404", "429", "503", "none"),
	"reason": setOf(bunq.Reasons()...),
}

// fieldNames returns the names that a panel shows: its columns, or its legends with values of their labels.
func (p panel) fieldNames() (fields []string) {
	for _, transformation := range p.Transformations {
		for _, name := range transformation.Options.RenameByName {
			fields = append(fields, name)
		}
	}
	for _, q := range p.Targets {
		legends := []string{q.LegendFormat}
		for label, values := range legendValues {
			var filled []string
			for value := range values {
				for _, legend := range legends {
					filled = append(filled, strings.ReplaceAll(legend, "{{"+label+"}}", value))
				}
			}
			legends = filled
		}
		fields = append(fields, legends...)
	}
	return fields
}
