package test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// evaluateAlerts lets promtool evaluate the rules on what the scrapes of the rows showed. Rows that showed the same
// are one account.
func evaluateAlerts(t *testing.T, rows []*row) {
	t.Helper()
	accounts, input := map[string]set{}, []map[string]string{}
	for _, r := range rows {
		text, _ := json.Marshal(r.series.values)
		if r.alerts = accounts[string(text)]; r.alerts != nil {
			continue
		}
		r.alerts = set{}
		account := fmt.Sprint("account", len(accounts))
		accounts[string(text)], accounts[account] = r.alerts, r.alerts
		for name, values := range r.series.values {
			name = strings.Replace(name, `account="company"`, `account="`+account+`",job="bunq",instance="bunq"`, 1)
			input = append(input, map[string]string{"series": name, "values": strings.Join(values, " ")})
		}
	}
	end := fmt.Sprint(alertScrapes+3, "m")
	input = append(input, map[string]string{"series": `up{job="bunq",instance="bunq"}`, "values": "1x100"})
	rules, _ := filepath.Abs("../alerts/bunq.rules.yml")
	file, _ := json.Marshal(map[string]any{ // JSON is YAML
		"rule_files": []string{rules}, "evaluation_interval": "2m", "group_eval_order": []string{"bunq-slow", "bunq"},
		"tests": []any{map[string]any{"interval": "1m", "input_series": input, "promql_expr_test": []any{
			map[string]string{"eval_time": end, "expr": "count by (account, alertname) (" +
				`max_over_time(ALERTS{alertstate="firing"}[` + end + `]))`},
		}}},
	})
	path := writeFile(t, t.TempDir(), "rules.yml", string(file))
	// Nothing is expected of the expression, so that promtool prints what it is.
	promtool := exec.CommandContext(t.Context(), tool(t, "promtool", getPrometheus), "test", "rules", path)
	output, _ := promtool.CombinedOutput()
	if !strings.Contains(string(output), "alertname") {
		t.Errorf("promtool does not evaluate the rules:\n%.1000s", output)
	}
	firing := regexp.MustCompile(`account="(\w+)", alertname="Bunq(\w+)"`)
	for _, firing := range firing.FindAllStringSubmatch(string(output), -1) {
		accounts[firing[1]][firing[2]] = true
	}
}

// list returns the names of a set.
func (s set) list(none string) string {
	return cmp.Or(strings.Join(slices.Sorted(maps.Keys(s)), ", "), none)
}

var ruleMetrics = set{}

// logKinds are the short forms of log messages.
var logKinds = map[string]string{
	"Failed to read device servers":                      "read fails",
	"Device servers can be read again":                   "read again",
	"API context file is not up to date":                 "file",
	"API context file is up to date again":               "file again",
	"Registered a device server":                         "registered",
	"Found the device server of an earlier registration": "adopted",
	"Found device server":                                "found",
	"Unexpected device server":                           "unexpected",
	"Status of device server changed":                    "status",
	"Device server is not on the account":                "missing",
}

var (
	logMessage = regexp.MustCompile(`msg="([^"]+)"`)
	logState   = regexp.MustCompile(`login_state=(\w+)`)
)

// summary returns the kinds of the lines that were logged, each with its number.
func (r *row) summary() string {
	count, kinds := map[string]int{}, set{}
	for _, line := range r.logged {
		count[kindOf(line)]++
	}
	for kind, n := range count {
		if n > 1 {
			kind = fmt.Sprintf("%s ×%d", kind, n)
		}
		kinds[kind] = true
	}
	return kinds.list("-")
}

// kindOf returns the short form of a line of the log: the login state that it is about, or that of its message.
func kindOf(line string) string {
	if state := logState.FindStringSubmatch(line); state != nil {
		return state[1]
	}
	return logKinds[logMessage.FindStringSubmatch(line)[1]]
}

// results returns the generated part of docs/reliability.md.
func results(rows []*row) string {
	lost := 0
	tables := map[string]string{}
	for _, r := range rows {
		if len(r.lost) > 0 {
			lost++
		}
		up := map[bool]int{true: 1}[r.up]
		tables[r.call] += fmt.Sprintf("| %s | %d | %d | %s | %s | %s | %s | %d | %d |\n", r.name, up, r.read, r.login,
			r.reasons.list("-"), r.summary(), r.alerts.list("-"), r.again, r.well)
	}
	text := fmt.Sprintf("%d rows tried, %d survived, %d lost.\n", len(rows), len(rows)-lost, lost)
	for _, call := range slices.Sorted(maps.Keys(tables)) {
		text += "\n### " + call + "\n\n" +
			"| fault | up | read | login state | reasons | logged | alerts | again | well |\n" +
			"|---|---|---|---|---|---|---|---|---|\n" + tables[call]
	}
	return text
}
