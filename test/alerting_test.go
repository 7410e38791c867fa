package test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

var promDuration = regexp.MustCompile(`\b\d+[smhd]\b`)

// minute is how long a minute of the rules takes in the test. With less, a busy machine would miss scrapes.
const minute = 2 * time.Second

// shorten makes the durations of rules, routes and queries as short as that.
func shorten(text string) string {
	return promDuration.ReplaceAllStringFunc(text, func(found string) string {
		duration, _ := model.ParseDuration(found)
		return (duration / model.Duration(time.Minute/minute)).String()
	})
}

// webhook receives notifications of Alertmanager as "receiver status" and the summary and anchor of each alert.
type webhook chan string

func (w webhook) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
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
	text := fmt.Sprint(n.Receiver, " ", n.Status)
	for _, alert := range n.Alerts {
		text += fmt.Sprintf("; %s; %s", alert.Annotations.Summary, path.Base(alert.Annotations.Runbook))
	}
	if err != nil {
		text = err.Error()
	}
	w <- text
}

// expect waits for notifications, which must be these, in any order.
func (w webhook) expect(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for range want {
		select {
		case text := <-w:
			got = append(got, text)
		case <-time.After(2 * time.Minute):
			t.Fatalf("received only %q, want %q", got, want)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("-want +got:\n%s", diff)
	}
}

// expectNone wants that nothing is received in a time. Only time shows that.
func (w webhook) expectNone(t *testing.T, duration time.Duration) {
	t.Helper()
	select {
	case text := <-w:
		t.Fatalf("more notifications than one for each cause: %q", text)
	case <-time.After(duration):
	}
}

// startAlerting starts a real Prometheus with the project's rules and a real Alertmanager with its routes, both
// edited. Every receiver is the webhook.
func startAlerting(t *testing.T, edit func(string) string, scrapes string) (w webhook, prometheus *process) {
	t.Helper()
	w = make(webhook, 1000) // nobody waits for a test
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	folder := t.TempDir()
	receiver := "$0\n    webhook_configs: [{url: \"" + server.URL + "\"}]"
	routes := edit(readFile(t, "../alerts/alertmanager.yml"))
	routes = regexp.MustCompile(`  - name: \w+`).ReplaceAllString(routes, receiver)
	alertmanager := startService(t, "prometheus-alertmanager", "--cluster.listen-address=", "--storage.path="+folder,
		"--config.file="+writeFile(t, folder, "alertmanager.yml", routes))
	rules := writeFile(t, folder, "bunq.rules.yml", edit(readFile(t, "../alerts/bunq.rules.yml")))
	return w, startPrometheus(t, fmt.Sprintf(`
rule_files: [%q]
alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}
%s
`, rules, alertmanager.address(), scrapes))
}

const productionKey = "5ecretsecretsecret5ecretsecretsecret5ecretsecretsecret5ecretsec"

// watchProduction starts the program for an account of the production environment: alerts of a sandbox are warnings.
func watchProduction(t *testing.T, a *api, ids ...int64) (e *process, folder string) {
	t.Helper()
	a.AddUser(bunqtest.User{ID: 1, Kind: "UserPerson", APIKey: productionKey, SessionTimeout: time.Hour})
	folder = t.TempDir()
	config := writeConfig(t, folder, a.url, ids...)
	writeFile(t, folder, "api_key", productionKey)
	writeFile(t, folder, "config.yml", strings.Replace(readFile(t, config), "sandbox", "production", 1))
	return start(t, "--config.file="+config, "--web.enable-lifecycle"), folder
}

// hang answers when nobody waits for it any more, the slowest way to fail.
func hang(_ http.ResponseWriter, r *http.Request) bool {
	_, _ = io.ReadAll(r.Body) // or the end of the connection is not noticed
	<-r.Context().Done()
	return true
}

// A first hour and what may follow: each cause is one notification, and each is resolved once.
func TestAlertNotifications(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.add(4712, "bookkeeping")
	old := time.Now().AddDate(0, 0, -10)
	for id := int64(1); id <= 10; id++ {
		a.AddDeviceServer(1, bunq.DeviceServer{
			ID: id, Created: old, Updated: old, Description: "budget import", IP: "192.0.2.9", Status: bunq.StatusActive,
		})
	}
	e, folder := watchProduction(t, a, 4711, 4712)
	pager, prometheus := startAlerting(t, shorten, fmt.Sprintf(`
global: {scrape_interval: 2s, scrape_timeout: 2s}
scrape_configs: [{job_name: exporters, static_configs: [{targets: [%q]}]}]
`, e.address()))
	notListed := "; 10 of the device servers on account company are not listed in the configuration" +
		"; runbooks.md#bunqdeviceserversnotlisted"
	pager.expect(t, "team firing"+notListed)

	blocked := `; Device server 4712 of account company is BLOCKED ("bookkeeping"); runbooks.md#bunqdeviceserverblocked`
	a.SetStatus(4712, bunq.StatusBlocked)
	pager.expect(t, "pager firing"+blocked)
	t.Run("dashboards", func(t *testing.T) { expectData(t, prometheus) })

	down := "; The bunq API does not answer for account company; runbooks.md#bunqapidown"
	a.setIntercept(hang)
	pager.expect(t, "pager firing"+down)
	pager.expectNone(t, 15*minute) // longer than the ranges of most rules
	a.setIntercept(nil)
	pager.expect(t, "pager resolved"+down)

	gone := "; Prometheus cannot scrape bunq_exporter at " + e.address() + "; runbooks.md#bunqexportergone"
	e.stop()
	pager.expect(t, "pager firing"+gone)
	pager.expectNone(t, 15*minute)
	e = launch(t, "--config.file="+folder+"/config.yml", "--web.enable-lifecycle", "--web.listen-address="+e.address())
	e.findURL()
	pager.expect(t, "pager resolved"+gone)

	stranger := `; New, unexpected device server 4720 on account company with address 192.0.2.8 ("unknown")` +
		"; runbooks.md#bunqunexpecteddeviceserver"
	a.add(4720, "unknown")
	pager.expect(t, "pager firing"+stranger)

	known := "    known_device_servers: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 4720]\n"
	writeFile(t, folder, "config.yml", readFile(t, folder+"/config.yml")+known)
	if status, body, err := call(t.Context(), http.MethodPost, e.url+"/-/reload"); status != http.StatusOK {
		t.Fatal(status, body, err)
	}
	a.SetStatus(4712, bunq.StatusActive)
	pager.expect(t, "team resolved"+notListed, "pager resolved"+stranger, "pager resolved"+blocked)
	pager.expectNone(t, 5*minute)
}

// The measurements of docs/alerting.md: from the event to the webhook, with the rules and routes as they are. Events
// happen at any time between two scrapes.
func TestAlertLatency(t *testing.T) {
	if os.Getenv("LATENCY") == "" {
		t.Skip("takes half an hour: make latency")
	}
	for _, interval := range []time.Duration{15 * time.Second, time.Minute} {
		for _, path := range []string{"/metrics", "/sd"} {
			t.Run(fmt.Sprint(interval, path), func(t *testing.T) {
				t.Parallel()
				measureLatency(t, interval, path)
			})
		}
	}
}

func measureLatency(t *testing.T, interval time.Duration, path string) {
	a := newAPI(t)
	for id := int64(4712); id <= 4715; id++ {
		a.add(id, "bookkeeping")
	}
	e, _ := watchProduction(t, a, 4712, 4713, 4714, 4715)
	targets := fmt.Sprintf("static_configs: [{targets: [%q]}]", e.address())
	if path == "/sd" {
		targets = fmt.Sprintf("http_sd_configs: [{url: %q}]", e.url+path)
	}
	w, prometheus := startAlerting(t, func(text string) string { return text },
		fmt.Sprintf("global: {scrape_interval: %s}\nscrape_configs: [{job_name: bunq, %s}]", interval, targets))
	measure := func(alert string, event func()) {
		time.Sleep(time.Minute + rand.N(interval)) // the event before is over
		for len(w) > 0 {
			<-w
		}
		begin := time.Now()
		event()
		for text := range w {
			if strings.HasPrefix(text, "pager firing") && strings.HasSuffix(text, "#"+anchor(alert)) {
				break
			}
		}
		t.Log(interval, path, alert, time.Since(begin).Round(time.Second))
	}
	eventually(t, "bunq is up", func() bool { return len(prometheus.query(t, "bunq_up == 1")) == 1 })
	for id := int64(4712); id <= 4715; id++ {
		measure("BunqDeviceServerBlocked", func() { a.SetStatus(id, bunq.StatusBlocked) })
	}
	own := a.DeviceServers()[0].ID
	measure("BunqLoginRefused", func() { a.SetStatus(own, bunq.StatusNeedsConfirmation) })
	a.SetStatus(own, bunq.StatusActive)
	measure("BunqAPIDown", func() { a.setIntercept(hang) })
	a.setIntercept(nil)
	measure("BunqExporterGone", func() { e.stop() })
}
