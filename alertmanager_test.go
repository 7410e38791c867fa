package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
)

var promDuration = regexp.MustCompile(`\b(\d+)([smhd])\b`)

// minute is how long one of the rules' minutes takes: not less, or a machine that is busy would miss scrapes.
const minute = 2 * time.Second

// hurried makes the minutes of rules, routes or queries as short as that.
func hurried(text string) string {
	return promDuration.ReplaceAllStringFunc(text, func(found string) string {
		n, _ := strconv.Atoi(found[:len(found)-1])
		unit := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[found[len(found)-1]]
		return strconv.FormatInt((time.Duration(n)*unit/(time.Minute/minute)).Milliseconds(), 10) + "ms"
	})
}

// hurriedFile writes a file of the project into the folder, with all its times hurried, and then changed.
func hurriedFile(t *testing.T, folder, path string, change func(string) string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, folder, filepath.Base(path), change(hurried(string(text))))
}

// notification is what Alertmanager posts to a webhook, as far as people see it.
type notification struct {
	Receiver string
	Status   string // firing or resolved
	Alerts   []alert
}

type alert struct {
	Status      string
	Labels      map[string]string
	Annotations struct {
		Summary string
		Runbook string `json:"runbook_url"`
	}
}

// inbox is a webhook.
type inbox struct {
	mu    sync.Mutex
	taken []notification
}

func (b *inbox) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var n notification
	if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
		n.Status = err.Error()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken = append(b.taken, n)
}

// all returns what has come since the last time.
func (b *inbox) all() []notification {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.taken
	b.taken = nil
	return all
}

// expect waits for notifications, which must be these, in any order.
func (b *inbox) expect(t *testing.T, want ...notification) {
	t.Helper()
	var got []notification
	eventually(t, fmt.Sprintf("%d notifications are there", len(want)), func() bool {
		got = append(got, b.all()...)
		return len(got) >= len(want)
	})
	order := func(a, b notification) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("-want +got:\n%s", diff)
	}
}

// page is a notification of one critical alert to whoever is woken.
func page(status, summary string, labels map[string]string) notification {
	a := alert{Status: status, Labels: labels}
	labels["account"], labels["severity"] = "company", "critical"
	a.Annotations.Summary = summary
	a.Annotations.Runbook = "http://localhost:10059/docs/runbooks.md#" + strings.ToLower(labels["alertname"])
	return notification{"pager", status, []alert{a}}
}

// startAlerting runs a real Prometheus with the project's rules and a real Alertmanager with its routes, hurried, over an
// exporter. Whoever is woken, or told in working hours, has the inbox.
func startAlerting(t *testing.T, e *exporter) (woken *inbox, p *service) {
	t.Helper()
	woken = &inbox{}
	webhook := httptest.NewServer(woken)
	t.Cleanup(webhook.Close)

	folder := t.TempDir()
	routes := hurriedFile(t, folder, "alerts/alertmanager.yml", func(text string) string {
		return regexp.MustCompile(`  - name: \w+`).ReplaceAllString(text, "$0\n    webhook_configs: [{url: \""+webhook.URL+"\"}]")
	})
	am := startService(t, tool(t, "prometheus-alertmanager", getAlertmanager), "--config.file="+routes, "--storage.path="+filepath.Join(folder, "alertmanager"), "--cluster.listen-address=")
	rules := hurriedFile(t, folder, "alerts/bunq.rules.yml", func(text string) string { return text })
	dayBefore(t, folder)
	return woken, startPrometheus(t, folder, fmt.Sprintf(`
global: {scrape_interval: 3s, scrape_timeout: 2s, evaluation_interval: 1s}
rule_files: [%q]
alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}
scrape_configs:
  - job_name: exporters
    static_configs: [{targets: [%q]}]
`, rules, am.address, strings.TrimPrefix(e.url, "http://")))
}

func TestWhoeverIsWokenIsToldOnceAndToldWhenItIsOver(t *testing.T) {
	t.Parallel()
	var dead atomic.Bool
	api, baseURL := newAPI(t, func(api http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if dead.Load() {
				panic(http.ErrAbortHandler) // the connection breaks
			}
			api.ServeHTTP(w, r)
		})
	})
	for id, description := range map[int64]string{4712: "bookkeeping", 4713: "payouts", 4714: "archive", 4720: "whose is this?"} {
		api.AddDeviceServer(1, bunq.DeviceServer{ID: id, Created: time.Now(), Updated: time.Now(), Description: description, IP: "192.0.2.8", Status: bunq.StatusActive})
	}
	e := start(t, "--config.file="+writeConfig(t, t.TempDir(), baseURL, 4711, 4712, 4713, 4714))
	woken, p := startAlerting(t, e)
	unexpected := page("firing", `Nobody expects device server 4720 on account company with address 192.0.2.8 ("whose is this?")`,
		map[string]string{"alertname": "BunqUnexpectedDeviceServer", "id": "4720"})
	blocked := func(status, id, description string) notification {
		return page(status, fmt.Sprintf(`Device server %s of account company is BLOCKED (%q)`, id, description),
			map[string]string{"alertname": "BunqDeviceServerBlocked", "id": id})
	}
	apiDown := func(status string) notification {
		return page(status, "bunq's API does not answer for account company", map[string]string{"alertname": "BunqAPIDown"})
	}
	woken.expect(t, unexpected)
	api.SetStatus(4712, bunq.StatusBlocked)
	woken.expect(t, blocked("firing", "4712", "bookkeeping"))
	t.Run("dashboards", func(t *testing.T) { expectDataOnDashboards(t, p) })
	api.SetStatus(4712, bunq.StatusActive)
	woken.expect(t, blocked("resolved", "4712", "bookkeeping"))

	api.SetStatus(4713, bunq.StatusBlocked)
	woken.expect(t, blocked("firing", "4713", "payouts"))
	dead.Store(true)
	woken.expect(t, apiDown("firing"))
	api.SetStatus(4713, bunq.StatusActive)
	time.Sleep(30 * minute) // that nothing comes, only time shows; longer than the rules remember what they have read
	if got := woken.all(); got != nil {
		t.Fatalf("of a dead API is told more than once: %+v", got)
	}
	dead.Store(false)
	woken.expect(t, apiDown("resolved"), blocked("resolved", "4713", "payouts"))
}

// dayBefore gives Prometheus recorded latencies from two hurried days before until now.
func dayBefore(t *testing.T, folder string) {
	t.Helper()
	const day = 24 * 60 * minute
	var text strings.Builder
	for ago := 2 * day; ago > time.Minute; ago -= 20 * time.Second {
		_, _ = fmt.Fprintf(&text, "account:bunq_api_request_duration_seconds:median1h{account=\"company\"} 0.04 %d\n", time.Now().Add(-ago).Unix())
	}
	writeFile(t, folder, "day-before.prom", text.String()+"# EOF\n")
	promtool(t, folder, "tsdb", "create-blocks-from", "openmetrics", "day-before.prom", "data")
}

// expectDataOnDashboards runs every query of the dashboards as Grafana would, with hurried times.
func expectDataOnDashboards(t *testing.T, p *service) {
	t.Helper()
	variables := strings.NewReplacer("$__rate_interval", "6m", "$__range", "20m", "$__interval", "1m", "$account", "company", "$id", "4711|4712")
	for _, d := range readDashboards(t) {
		for where, text := range d.queries(t) {
			var answer struct {
				Data struct {
					Result []any
				}
			}
			now := float64(time.Now().UnixMilli()) / 1000
			body := get(t, fmt.Sprintf("http://%s/api/v1/query_range?start=%f&end=%f&step=1s&query=%s", p.address, now-10, now,
				url.QueryEscape(hurried(variables.Replace(text)))))
			if err := json.Unmarshal([]byte(body), &answer); err != nil {
				t.Fatal(err)
			}
			if len(answer.Data.Result) == 0 {
				t.Errorf("%s, %s has no data: %s", d.UID, where, text)
			}
		}
	}
}
