package collector_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/collector"
)

// step is a change whose events are logged.
type step struct {
	name   string
	change func()
}

// expectEvents fails the test unless each change is logged once, as in the golden file, however many scrapes follow.
func expectEvents(t *testing.T, a *account, golden string, steps []step) {
	t.Helper()
	var text strings.Builder
	for _, step := range steps {
		step.change()
		for range 8 {
			scrape(t, time.Second, a)
			time.Sleep(interval)
		}
		lines := a.logged()
		slices.Sort(lines) // one scrape logs device servers in any order
		fmt.Fprintf(&text, "# %s\n%s", step.name, responseID.ReplaceAllString(strings.Join(lines, ""), ""))
	}
	expectGolden(t, golden, text.String())
}

func TestDeviceServerEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(bunqtest.Options{})
		api.AddDeviceServer(1, device(11, bunq.StatusActive))
		api.AddDeviceServer(1, device(12, bunq.StatusBlocked))
		api.AddDeviceServer(1, device(13, bunq.StatusActive))
		a := idleAccount(t, "company", apiKey, nil, api, 11, 99)
		a.Reload(collector.Selection{IDs: []int64{11, 99}, Known: []int64{12}})
		go a.Run(t.Context())
		show := func(objects ...string) func() {
			return func() { api.set(0, on("count=200", api.respond(http.StatusOK, list(0, objects...)))) }
		}
		expectEvents(t, a, "device_servers.log", []step{
			{"start", func() {}},
			{"blocked", func() { api.SetStatus(11, bunq.StatusBlocked) }},
			{"new", func() {
				api.AddDeviceServer(1, device(14, bunq.StatusBlocked))
				api.AddDeviceServer(1, device(99, bunq.StatusActive))
			}},
			{"unexpected status", func() { api.SetStatus(14, bunq.StatusActive) }},
			{"own alone", show(object(1003))},
			{"unreadable", show(object(11), "{}")},
			{"gone", show(object(11), object(14))},
			{"all", func() {
				api.set(0, nil)
				a.Reload(collector.Selection{All: true, Known: []int64{14}})
			}},
		})
	})
}

func TestFailureEvents(t *testing.T) {
	withAccount(t, bunqtest.Options{}, 1, []int64{1}, func(t *testing.T, api *fakeAPI, a *account) {
		a.logged() // of the start
		expectEvents(t, a, "failures.log", []step{
			{"hanging", func() { api.set(0, hang) }},
			{"maintenance", func() { api.set(0, api.refuse(http.StatusServiceUnavailable, "")) }},
			{"rejected", func() {
				api.set(0, func(w http.ResponseWriter, r *http.Request) bool {
					return r.Method == http.MethodGet && api.refuse(http.StatusUnauthorized, "")(w, r)
				})
			}},
			{"recovery", func() { api.set(0, nil) }},
			{"own blocked", func() { api.SetStatus(a.own(), bunq.StatusBlocked) }},
		})
	})
}
