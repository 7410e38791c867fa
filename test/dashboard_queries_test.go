package test

import (
	"encoding/json"
	"fmt"
	"maps"
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

// Series of one account for each minute, in promtool's notation. Until minute 10 all is well, but device server 12 is
// BLOCKED, 20 is unexpected until it is configured in minute 5, and 30 is unexpected.
const (
	exporterSeries = `
up{TARGET} %[1]s
bunq_up{account="company",TARGET} %[2]s
bunq_device_server_list_complete{account="company",TARGET} %[2]s
bunq_last_success_timestamp_seconds{account="company",TARGET} 0+60x10 %[3]s
bunq_api_request_errors_total{account="company",reason="maintenance"} %[4]s
bunq_api_request_errors_total{account="company",reason="timeout"} 0x30
bunq_device_server_up{account="company",id="11",TARGET} %[2]s
bunq_device_server_up{account="company",id="12",TARGET} %[2]s
bunq_device_server_up{account="company",id="20",TARGET} _x5 %[5]s
`
	deviceServerSeries = `
bunq_device_server_status{account="company",id="11",status="ACTIVE"} 1x10 stale
bunq_device_server_status{account="company",id="11",status="BLOCKED"} 0x10 stale
bunq_device_server_status{account="company",id="12",status="ACTIVE"} 1x3 0x6 stale
bunq_device_server_status{account="company",id="12",status="BLOCKED"} 0x3 1x6 stale
bunq_device_server_status{account="company",id="20",status="ACTIVE"} _x5 1x5 stale
bunq_device_server_status{account="company",id="20",status="BLOCKED"} _x5 0x5 stale
bunq_device_server_info{account="company",id="11",description="payouts",ip="192.0.2.1"} 1x10 stale
bunq_device_server_info{account="company",id="12",description="bookkeeping",ip="192.0.2.2"} 1x10 stale
bunq_device_server_info{account="company",id="20",description="webshop",ip="192.0.2.3"} _x5 1x5 stale
bunq_device_server_updated_timestamp_seconds{account="company",id="12"} 240x10 stale
bunq_unexpected_device_server_info{account="company",id="20",description="webshop",status="ACTIVE"} 1x4 stale
bunq_unexpected_device_server_info{account="company",id="30",description="old",status="ACTIVE"} 1x10 stale
bunq_unexpected_device_server_created_timestamp_seconds{account="company",id="20"} 60x4 stale
bunq_unexpected_device_server_created_timestamp_seconds{account="company",id="30"} 120x10 stale
`
	// Device server 13 was configured until minute 5.
	removedSeries = `
bunq_device_server_up{account="company",id="13",TARGET} 1x4 stale
bunq_device_server_status{account="company",id="13",status="BLOCKED"} 1x4 stale
bunq_device_server_updated_timestamp_seconds{account="company",id="13"} 240x4 stale
`
	alertSeries = `
job_instance:bunq_up:seen{TARGET} 1x30
ALERTS{alertname="BunqDeviceServerBlocked",alertstate="firing",severity="critical",account="company",id="12"} 1x30
ALERTS_FOR_STATE{alertname="BunqDeviceServerBlocked",severity="critical",account="company",id="12"} 240x30
ALERTS{alertname="BunqExporterGone",alertstate="firing",severity="critical",TARGET} 1x30
ALERTS_FOR_STATE{alertname="BunqExporterGone",severity="critical",TARGET} 660x30
`
)

// inOutage adds what the panels show in every outage: what was known, with its age.
func inOutage(want map[string]string) map[string]string {
	maps.Copy(want, map[string]string{
		"bunq-overview/Accounts/A":                 "",
		"bunq-overview/Accounts/B":                 "{} 1",
		"bunq-overview/Time since last answer/A":   "{} 1200",
		"bunq-overview/Device servers/A":           "{} 2",
		"bunq-overview/Device servers/B":           "{} 1",
		"bunq-overview/Not in the configuration/A": "{} 1",
		"bunq-account/Device servers/A": `
{severity="3",status="ACTIVE",id="11",description="payouts",ip="192.0.2.1"} 1200
{severity="1",status="BLOCKED",id="12",description="bookkeeping",ip="192.0.2.2"} 1200
{severity="3",status="ACTIVE",id="20",description="webshop",ip="192.0.2.3"} 1200`,
	})
	return want
}

// dashboardStates are the series of a situation, and what the queries of the panels return in a minute of it.
var dashboardStates = []struct {
	name, series string
	minute       int
	want         map[string]string
}{
	{"all well",
		fmt.Sprintf(exporterSeries, "1x30", "1x30", "660+60x20", "0x30", "1x24") + deviceServerSeries + removedSeries,
		10, map[string]string{
			"bunq-overview/Exporters/A":                "{} 1",
			"bunq-overview/Exporters/B":                "",
			"bunq-overview/Accounts/A":                 "{} 1",
			"bunq-overview/Accounts/B":                 "",
			"bunq-overview/Time since last answer/A":   "{} 0",
			"bunq-overview/Device servers/A":           "{} 2",
			"bunq-overview/Device servers/B":           "{} 1",
			"bunq-overview/Not in the configuration/A": "{} 1",
			"bunq-overview/Failed calls by reason/A":   "",
			"bunq-account/Account/A":                   "{} 1",
			// Prometheus sorts by labels, so the worst is first.
			"bunq-overview/Status of device servers/A": `
{_order="0",account="company",id="12",description="bookkeeping"} 5
{_order="2",account="company",id="11",description="payouts"} 1
{_order="2",account="company",id="20",description="webshop"} 1`,
		}},
	{"rules not loaded", fmt.Sprintf(exporterSeries, "1x30", "1x30", "660+60x20", "0x30", "1x24") + deviceServerSeries,
		10, map[string]string{
			"bunq-overview/Firing alerts/A": `{alertname="The alert rules are not loaded"} 600000`,
			"bunq-account/Firing alerts/A":  `{alertname="The alert rules are not loaded"} 600000`,
		}},
	// What bunq's errors were is counted once.
	{"maintenance", fmt.Sprintf(exporterSeries, "1x30", "1x10 0x19", "600x19", "0x10 0+1x19", "1x5 0x19") +
		deviceServerSeries + removedSeries,
		30, inOutage(map[string]string{
			"bunq-overview/Exporters/A":              "{} 1",
			"bunq-overview/Failed calls by reason/A": `{reason="maintenance"} 10`,
			"bunq-account/Account/A":                 "{} 0",
			"bunq-account/Device servers/B": `
{severity="2",status="ACTIVE, unexpected",id="30",description="old"} 600`,
			"bunq-account/Device servers/C": `
{id="12"} 240000
{id="30"} 120000`,
		})},
	{"exporter down", fmt.Sprintf(exporterSeries, "1x10 0x19", "1x10 stale", "stale", "0x10 stale", "1x5 stale") +
		deviceServerSeries + alertSeries,
		30, inOutage(map[string]string{
			"bunq-overview/Exporters/A":             "",
			"bunq-overview/Exporters/B":             "{} 1",
			"bunq-account/Account/A":                "{} -1",
			"bunq-account/Time since last answer/A": "{} 1200",
			"bunq-overview/Firing alerts/A": `
{severity="critical",ALERT="BunqDeviceServerBlocked",account="company",id="12",description="bookkeeping"} 240000
{severity="critical",ALERT="BunqExporterGone",instance="exporter:10059",description="exporter:10059"} 660000`,
		})},
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
	for _, state := range dashboardStates {
		t.Run(state.name, func(t *testing.T) {
			var input, queryTests []any
			for _, line := range seriesLines(state.series) {
				input = append(input, map[string]string{"series": line[1], "values": line[2]})
			}
			for name, want := range state.want {
				if queries[name] == "" {
					t.Errorf("there is no query %s", name)
				}
				samples := []any{}
				for _, line := range seriesLines(want) {
					samples = append(samples, map[string]any{"labels": line[1], "value": json.Number(line[2])})
				}
				queryTests = append(queryTests, map[string]any{
					"expr": queries[name], "eval_time": fmt.Sprintf("%dm", state.minute), "exp_samples": samples,
				})
			}
			test := map[string]any{"interval": "1m", "input_series": input, "promql_expr_test": queryTests}
			text, err := json.Marshal(map[string]any{"evaluation_interval": "1m", "tests": []any{test}})
			if err != nil {
				t.Fatal(err)
			}
			folder := t.TempDir()
			writeFile(t, folder, "test.yml", string(text)) // JSON is YAML
			run(t, folder, tool(t, "promtool", getPrometheus), "test", "rules", "test.yml")
		})
	}
}

var (
	seriesLine   = regexp.MustCompile(`(?m)^(\S*\{.*\}) (.+)$`)
	seriesLabels = strings.NewReplacer("TARGET", `job="bunq",instance="exporter:10059"`)
	bothLabels   = regexp.MustCompile(`ALERT="(\w+)"`)
)

// seriesLines returns the lines of a text, each also split into a series and its values.
func seriesLines(text string) [][]string {
	text = bothLabels.ReplaceAllString(seriesLabels.Replace(text), `alertname="$1",runbook="$1"`)
	return seriesLine.FindAllStringSubmatch(text, -1)
}
