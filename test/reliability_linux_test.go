package test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
)

const (
	faultScrapes = 13 // one a minute: until the session ends and pauses are longest, and five more
	alertScrapes = 50 // during which each alert fires
	// scrapeInterval is a minute, but no scrape happens at the time of a login, which is tried each 30 s.
	scrapeInterval = time.Minute + 137*time.Millisecond
	mostScrapes    = 8 // until all is well again: the pause after rejected logins is 5 minutes
)

// row is a fault of a call, and what comes of it.
type row struct {
	*fault
	call  string
	fresh bool // the exporter starts with the fault for the first time

	read    int  // scrapes during the fault that show the device server
	up      bool // bunq_up, at the end of the fault
	login   string
	reasons set
	logged  []string // during the fault
	alerts  set
	again   int // scrapes after the fault until the device server is shown
	well    int // scrapes after the fault until all is well
	lost    set
	series  series
}

// matrix returns the rows, without what comes of them.
func matrix(t *testing.T) (rows []*row) {
	t.Helper()
	for _, f := range slices.Concat(faults(t), fileFaults) {
		for _, call := range f.calls {
			first := call == bunq.CreateInstallation || call == bunq.CreateDeviceServer
			one := f
			one.calls = []bunq.Operation{call}
			rows = append(rows, &row{fault: &one, call: call.String(), fresh: first})
		}
		if f.calls == nil {
			rows = append(rows, &row{fault: &f, call: "Network and files"})
		}
		if f.calls == nil && !f.running {
			rows = append(rows, &row{fault: &f, call: "Network and files at the first start", fresh: true})
		}
	}
	return rows
}

// run runs the exporter before, during and after the fault.
func (r *row) run(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r.lost, r.series.values = set{}, map[string][]string{}
		e := r.newExporter(t)
		repair := func() {}
		fail := func() {
			if r.files != nil {
				repair = r.files(t, e.folder)
			}
			e.active.Store(r.fault)
		}
		if r.fresh {
			fail()
		}
		go e.account.Run(t.Context())
		if !r.fresh {
			for range 3 {
				time.Sleep(scrapeInterval)
				e.scrape()
				r.series.add(e.exposition)
			}
			if !e.isWell() {
				t.Errorf("not well before the fault:\n%s\n%s", e.exposition, e.log.take())
			}
			synctest.Wait() // for what is being logged
			_ = e.log.take()
			fail()
		}
		for range faultScrapes {
			time.Sleep(scrapeInterval)
			if e.scrape() {
				r.read++
			}
			r.series.add(e.exposition)
		}
		r.note(e)
		e.active.Store(nil)
		repair()
		for n := 1; n <= mostScrapes && r.well == 0; n++ {
			time.Sleep(scrapeInterval)
			if e.scrape() && r.again == 0 {
				r.again = n
			}
			if e.isWell() {
				r.well = n
			}
		}
		if r.well == 0 {
			r.lost["the exporter does not recover:\n"+e.exposition+e.log.take()] = true
		}
		if n := e.registered(); n != 1 {
			r.lost[fmt.Sprintf("%d device servers are registered", n)] = true
		}
	})
}

// note notes what is seen at the end of the fault.
func (r *row) note(e *exporter) {
	synctest.Wait()
	r.series.repeat(alertScrapes - faultScrapes)
	r.up = hasLine(e.exposition, `bunq_up{account="company"} 1`)
	for state := range names(e.exposition, regexp.MustCompile(`bunq_login_state{.*state="(\w+)"} 1\n`)) {
		r.login = state
	}
	r.reasons = names(e.exposition, regexp.MustCompile(`request_errors_total{.*reason="(\w+)"} [1-9]`))
	text := e.log.take()
	r.logged = slices.Collect(strings.Lines(text))
	if secret.MatchString(e.exposition + text) {
		r.lost["a secret is shown or logged"] = true
	}
}

var updateReliability = flag.Bool("update", false, "rewrite docs/reliability.md")

// docs/reliability.md says what comes of each fault.
func TestReliability(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		skip(t, "file systems cannot be mounted: run as root")
	}
	ruleMetrics = names(readFile(t, "../alerts/bunq.rules.yml"), metricName)
	rows := matrix(t)
	t.Run("rows", func(t *testing.T) {
		for _, r := range rows {
			t.Run(r.name+" "+r.call, func(t *testing.T) {
				t.Parallel()
				r.run(t)
			})
		}
	})
	for _, r := range rows {
		for what := range r.lost {
			t.Errorf("%s, %s: %s", r.name, r.call, what)
		}
	}
	evaluateAlerts(t, rows)
	const path, heading = "../docs/reliability.md", "## Results\n\n"
	text, before, _ := strings.Cut(readFile(t, path), heading)
	after := results(rows)
	if *updateReliability {
		writeFile(t, "../docs", "reliability.md", text+heading+after)
	} else if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(after, "\n")); diff != "" {
		t.Errorf("%s, -document +now (go test ./test -run Reliability -update rewrites it):\n%s", path, diff)
	}
}

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
	if len(s) == 0 {
		return none
	}
	return strings.Join(slices.Sorted(maps.Keys(s)), ", ")
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
