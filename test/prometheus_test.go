package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
)

// startService starts a real Prometheus or Alertmanager, and waits until it is ready.
func startService(t *testing.T, program string, args ...string) *process {
	t.Helper()
	args = append(args, "--web.listen-address=127.0.0.1:0")
	p := launchProgram(t, "", tool(t, program, "apt-get install "+program), args...)
	p.findURL()
	eventually(t, program+" is ready", func() bool {
		status, _, _ := call(t.Context(), http.MethodGet, p.url+"/-/ready")
		return status == http.StatusOK
	})
	return p
}

// startPrometheus starts a real Prometheus with a configuration.
func startPrometheus(t *testing.T, config string) *process {
	t.Helper()
	folder := t.TempDir()
	return startService(t, "prometheus", "--config.file="+writeFile(t, folder, "prometheus.yml", config),
		"--storage.tsdb.path="+folder+"/data", "--enable-feature=exemplar-storage")
}

// query returns the values of the series of an expression in Prometheus.
func (p *process) query(t *testing.T, expression string) (values []string) {
	t.Helper()
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } } // the time and the value
	}
	body := get(t, p.url+"/api/v1/query?query="+url.QueryEscape(expression))
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(err)
	}
	for _, series := range answer.Data.Result {
		values = append(values, fmt.Sprint(series.Value[1]))
	}
	return values
}

func TestPrometheusScrapes(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.setIntercept(func(_ http.ResponseWriter, r *http.Request) bool {
		_, _ = io.ReadAll(r.Body)
		<-r.Context().Done() // never answers
		return true
	})
	demo := start(t, "--demo")
	hanging, _ := watch(t, a, 4711)
	p := startPrometheus(t, fmt.Sprintf(`
global: {scrape_interval: 4s, scrape_timeout: 3s}
scrape_configs:
  - job_name: demo
    static_configs: [{targets: [%[1]q]}]
  - job_name: hanging
    static_configs: [{targets: [%[2]q]}]
  - job_name: probe
    scrape_interval: 7s
    http_sd_configs: [{url: "http://%[1]s/sd"}]
`, demo.address(), hanging.address()))
	for expression, want := range map[string]string{
		`up{job="demo"}`:                                                                            "1",
		`count(up{job="probe"} == 1)`:                                                               "2",
		`bunq_up{job="probe",account="demo"}`:                                                       "1",
		`count(bunq_device_server_status{job="demo",id=~"471."} == 1)`:                              "5",
		`bunq_device_server_status{job="demo",id="4712",status="BLOCKED"}`:                          "1",
		`count(bunq_unexpected_device_server_info{job="demo",id="4720"})`:                           "1",
		`count(bunq_api_request_duration_seconds_count{job="demo",endpoint=~".*-server"}) > bool 1`: "1",
		`min_over_time(up{job="hanging"}[1m])`:                                                      "1",
		`max_over_time(scrape_duration_seconds{job="hanging"}[1m]) < bool 3`:                        "1",
		`bunq_up{account="company"}`:                                                                "0",
	} {
		eventually(t, expression+" is "+want, func() bool { return slices.Contains(p.query(t, expression), want) })
	}
	// An exemplar comes some time after its sample.
	ids := regexp.MustCompile(`"labels":\{"request_id":"[^"]+","response_id":"[^"]+"\}`)
	query := fmt.Sprintf("%s/api/v1/query_exemplars?query=bunq_api_request_duration_seconds_bucket&start=%d&end=%d", p.url,
		time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix())
	eventually(t, "an exemplar has both ids", func() bool { return ids.MatchString(get(t, query)) })
}

var promDuration = regexp.MustCompile(`\b(\d+)([smhd])\b`)

// minute is how long a minute of the rules takes in the test. With less, a busy machine would miss scrapes.
const minute = 2 * time.Second

// shorten makes the durations of rules, routes and queries as short as that.
func shorten(text string) string {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}
	return promDuration.ReplaceAllStringFunc(text, func(found string) string {
		n, _ := strconv.Atoi(found[:len(found)-1])
		duration := time.Duration(n) * units[found[len(found)-1]] / (time.Minute / minute)
		return strconv.FormatInt(duration.Milliseconds(), 10) + "ms"
	})
}

// webhook collects notifications of Alertmanager as "receiver status" and the summary and anchor of each alert.
type webhook struct {
	mu       sync.Mutex
	received []string
}

func (w *webhook) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var n struct {
		Receiver, Status string
		Alerts           []struct {
			Annotations struct {
				Summary string
				Runbook string `json:"runbook_url"`
			}
		}
	}
	err := json.NewDecoder(r.Body).Decode(&n)
	w.mu.Lock()
	defer w.mu.Unlock()
	text := fmt.Sprint(n.Receiver, " ", n.Status)
	for _, alert := range n.Alerts {
		text += fmt.Sprintf("; %s; %s", alert.Annotations.Summary, path.Base(alert.Annotations.Runbook))
	}
	w.received = append(w.received, text)
	if err != nil {
		w.received = append(w.received, err.Error())
	}
}

// take returns what has been received since the last call.
func (w *webhook) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	received := w.received
	w.received = nil
	return received
}

// expect waits for notifications, which must be these, in any order.
func (w *webhook) expect(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	eventually(t, strings.Join(want, ", "), func() bool {
		got = append(got, w.take()...)
		return len(got) >= len(want)
	})
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("-want +got:\n%s", diff)
	}
}

// startAlerting starts a real Prometheus with the project's rules and a real Alertmanager with its routes, with
// shortened durations. Every receiver is the webhook.
func startAlerting(t *testing.T, e *process) (w *webhook, prometheus *process) {
	t.Helper()
	w = &webhook{}
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	folder := t.TempDir()
	receiver := "$0\n    webhook_configs: [{url: \"" + server.URL + "\"}]"
	routes := shorten(readFile(t, "../alerts/alertmanager.yml"))
	routes = regexp.MustCompile(`  - name: \w+`).ReplaceAllString(routes, receiver)
	alertmanager := startService(t, "prometheus-alertmanager", "--cluster.listen-address=", "--storage.path="+folder,
		"--config.file="+writeFile(t, folder, "alertmanager.yml", routes))
	rules := writeFile(t, folder, "bunq.rules.yml", shorten(readFile(t, "../alerts/bunq.rules.yml")))
	return w, startPrometheus(t, fmt.Sprintf(`
global: {scrape_interval: 3s, scrape_timeout: 2s, evaluation_interval: 1s}
rule_files: [%q]
alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}
scrape_configs: [{job_name: exporters, static_configs: [{targets: [%q]}]}]
`, rules, alertmanager.address(), e.address()))
}

func TestAlertNotifications(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for id, description := range map[int64]string{4712: "bookkeeping", 4713: "payouts", 4714: "archive", 4720: "unknown"} {
		a.add(id, description)
	}
	e, _ := watch(t, a, 4711, 4712, 4713, 4714)
	pager, prometheus := startAlerting(t, e)
	const (
		blocked     = "runbooks.md#bunqdeviceserverblocked"
		blocked4712 = `; Device server 4712 of account company is BLOCKED ("bookkeeping"); ` + blocked
		blocked4713 = `; Device server 4713 of account company is BLOCKED ("payouts"); ` + blocked
		down        = "; The bunq API does not answer for account company; runbooks.md#bunqapidown"
	)
	pager.expect(t, `pager firing; Unexpected device server 4720 on account company with address 192.0.2.8 ("unknown")`+
		"; runbooks.md#bunqunexpecteddeviceserver")
	a.SetStatus(4712, bunq.StatusBlocked)
	pager.expect(t, "pager firing"+blocked4712)
	t.Run("dashboards", func(t *testing.T) { expectData(t, prometheus) })
	a.SetStatus(4712, bunq.StatusActive)
	pager.expect(t, "pager resolved"+blocked4712)

	a.SetStatus(4713, bunq.StatusBlocked)
	pager.expect(t, "pager firing"+blocked4713)
	a.setIntercept(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }) // breaks the connection
	pager.expect(t, "pager firing"+down)
	a.SetStatus(4713, bunq.StatusActive)
	time.Sleep(30 * minute) // longer than the ranges of the rules: only time shows that nothing more is sent
	if got := pager.take(); got != nil {
		t.Fatalf("more than one notification while the API is down: %+v", got)
	}
	a.setIntercept(nil)
	pager.expect(t, "pager resolved"+down, "pager resolved"+blocked4713)
}
