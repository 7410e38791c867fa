package web_test

import (
	"errors"
	"net/http"
	"os"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/collector"
	"bunq_exporter/internal/web"
)

// changing matches what golden files do not have: the head, which TestPages asserts, and the ids of answers.
var changing = regexp.MustCompile(`(?s)^.*<main>|[0-9a-f]{8}-[0-9a-f-]{27}`)

// Each golden file is the content of the page after a login and what happens then.
func TestStatusPage(t *testing.T) {
	for name, test := range map[string]struct {
		all       bool          // device servers are watched, but 12
		login     int32         // status of bunq's answers to the login; 0: it works
		scrapes   []int32       // status of its answers to each scrape; 0: as usual
		pause     time.Duration // after each scrape
		reloadErr error
	}{
		"started":       {},
		"scraped":       {scrapes: []int32{0}, pause: 5 * time.Minute},
		"old":           {scrapes: []int32{0}, pause: 20 * time.Minute},
		"all":           {scrapes: []int32{0}, all: true},
		"reload_failed": {reloadErr: errors.New("config.yml:3: unknown key <i>")},
		"login_failed":  {login: 503, scrapes: []int32{503}},
		"read_failed":   {scrapes: []int32{0, 502, 503, 500}, pause: time.Minute},
		"rate_limited":  {scrapes: []int32{0, 429, 429}, pause: time.Second}, // the second one is not sent
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				account, api := newAccount(t, "company")
				for id, status := range map[int64]bunq.Status{
					21: "NEW", 22: bunq.StatusActive, 23: bunq.StatusObsolete, 24: bunq.StatusNeedsConfirmation,
				} {
					api.AddDeviceServer(1, bunq.DeviceServer{ID: id, Status: status})
				}
				if test.all {
					account.Reload(collector.Selection{All: true, Known: []int64{12}})
				}
				api.status.Store(test.login)
				run(t, account)
				synctest.Wait()
				options := newOptions()
				options.Configuration = func() web.Configuration {
					return web.Configuration{Accounts: []*collector.Account{account}, Loaded: time.Now(), Err: test.reloadErr}
				}
				handler := newHandler(t, options)
				for _, status := range test.scrapes {
					api.status.Store(status)
					request(handler, http.MethodGet, "/metrics", "X-Prometheus-Scrape-Timeout-Seconds", "5")
					time.Sleep(test.pause)
				}
				requests := api.Requests(bunq.ListDeviceServers)
				page := changing.ReplaceAllString(get(handler, "/status"), "…")
				if n := api.Requests(bunq.ListDeviceServers); n != requests {
					t.Errorf("the page made %d calls", n-requests)
				}
				path := "testdata/status/" + name + ".html"
				if *update {
					_ = os.WriteFile(path, []byte(page), 0o600)
				}
				if golden, err := os.ReadFile(path); string(golden) != page {
					t.Errorf("%v, -want +got:\n%s", err, cmp.Diff(string(golden), page))
				}
			})
		})
	}
}
