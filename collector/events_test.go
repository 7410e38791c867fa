package collector_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/collector"
)

// step is a change and what is logged of it: lines, each with all of some parts.
type step struct {
	name   string
	change func()
	want   [][]string
}

// expectEvents fails the test unless each change is logged once, however many scrapes follow.
func expectEvents(t *testing.T, a *account, steps ...step) {
	t.Helper()
	for _, step := range steps {
		step.change()
		for range 8 {
			scrape(t, time.Second, a)
			time.Sleep(interval)
		}
		t.Log(step.name)
		expectLines(t, a.logged(), step.want...)
	}
}

func TestDeviceServerEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(bunqtest.Options{})
		api.AddDeviceServer(1, device(11, bunq.StatusActive))
		api.AddDeviceServer(1, device(12, bunq.StatusBlocked))
		api.AddDeviceServer(1, device(13, bunq.StatusActive))
		a := idleAccount(t, "company", nil, api, 11, 99)
		a.Reload(collector.Selection{IDs: []int64{11, 99}, Known: []int64{12}})
		go a.Run(t.Context())
		expectEvents(t, a, []step{
			{"start", func() {}, [][]string{
				{"level=warn", `msg="Registered `, "id=1003"},
				{"level=info", "login_state=ok"},
				{"level=info", "account=company", `msg="Found `, "id=11", "status=ACTIVE", `description="a \"quoted\" server"`},
				{"level=info", `msg="Found `, "id=1003", "status=ACTIVE"},
				{"level=warn", `msg="Unexpected `, "id=13", "ip=192.0.2.7", "created=2015-06-13T"},
				{"level=warn", "not on the account", "id=99"},
			}},
			{"blocked", func() { api.SetStatus(11, bunq.StatusBlocked) },
				[][]string{{"level=warn", `msg="Status of `, "id=11", "before=ACTIVE", "status=BLOCKED"}}},
			{"new", func() {
				api.AddDeviceServer(1, device(14, bunq.StatusBlocked))
				api.AddDeviceServer(1, device(99, bunq.StatusActive))
			}, [][]string{
				{"level=warn", `msg="Unexpected `, "id=14", "status=BLOCKED"},
				{"level=info", `msg="Found `, "id=99"},
			}},
			{"unexpected status", func() { api.SetStatus(14, bunq.StatusActive) },
				[][]string{{"level=warn", `msg="Status of `, "id=14", "before=BLOCKED", "status=ACTIVE"}}},
			{"own alone", func() { api.set(0, on("count=200", api.respond(http.StatusOK, list(0, object(1003))))) }, nil},
			{"unreadable", func() { api.set(0, on("count=200", api.respond(http.StatusOK, list(0, object(11), "{}")))) },
				[][]string{{"level=info", `msg="Status of `, "id=11", "status=ACTIVE"}}},
			{"gone", func() { api.set(0, on("count=200", api.respond(http.StatusOK, list(0, object(11), object(14))))) },
				[][]string{
					{"level=warn", "not on the account", "id=13", "before=ACTIVE"},
					{"level=warn", "not on the account", "id=99", "before=ACTIVE"},
					{"level=warn", "not on the account", "id=1003"},
				}},
			{"all", func() {
				api.set(0, nil)
				a.Reload(collector.Selection{All: true, Known: []int64{14}})
			}, [][]string{
				{"level=info", `msg="Found `, "id=13"}, {"level=info", `msg="Found `, "id=99"},
				{"level=info", `msg="Found `, "id=1003"}, {"level=warn", `msg="Found `, "id=12", "status=BLOCKED"},
				{"level=warn", `msg="Status of `, "id=11"},
			}},
		}...)
	})
}

func TestFailureEvents(t *testing.T) {
	withAccount(t, bunqtest.Options{}, 1, []int64{1}, func(t *testing.T, api *fakeAPI, a *account) {
		a.logged() // of the start
		expectEvents(t, a, []step{
			{"hanging", func() { api.set(0, hang) },
				[][]string{{"level=error", `msg="Failed to `, `err="GET device-server: timeout`}}},
			{"maintenance", func() { api.set(0, api.refuse(http.StatusServiceUnavailable, "")) },
				[][]string{{"level=error", `msg="Failed to `, `err="GET device-server: maintenance`}}},
			{"recovery", func() { api.set(0, nil) }, [][]string{{"level=info", "again"}}},
			{"own blocked", func() { api.SetStatus(a.own(), bunq.StatusBlocked) }, [][]string{
				{"level=error", "login_state=device_not_active", "err="},
				{"level=warn", "id=" + text(a.own()), "before=ACTIVE", "status=BLOCKED"},
			}},
		}...)
	})
}
