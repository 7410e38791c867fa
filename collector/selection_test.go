package collector_test

import (
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/collector"
)

// withAll tests an account that watches every device server of 1 to newest but 2.
func withAll(t *testing.T, options bunqtest.Options, newest int64, f func(*testing.T, *fakeAPI, *account)) {
	t.Helper()
	withAccount(t, options, newest, nil, func(t *testing.T, api *fakeAPI, a *account) {
		a.Reload(collector.Selection{All: true, Known: []int64{2}})
		f(t, api, a)
	})
}

func TestAllDeviceServers(t *testing.T) {
	withAll(t, bunqtest.Options{}, 4, func(t *testing.T, api *fakeAPI, a *account) {
		watched := []int64{1, 3, 4, a.own()}
		scrape(t, timeout, a).expectRead(t, watched, nil)
		api.set(0, api.refuse(http.StatusServiceUnavailable, ""))
		scrape(t, timeout, a).expectRead(t, nil, watched) // they are known from the scrape before
		api.set(0, api.respond(http.StatusOK, list(0, object(1), object(2), object(4), object(5))))
		m := scrape(t, timeout, a)
		m.expectRead(t, []int64{1, 4, 5}, []int64{3, a.own()})
		m.expect(t, absent, "bunq_device_server_up", "company", "2")
		m.expect(t, absent, "bunq_unexpected_device_server_info", "company", "", "5", "192.0.2.7", "ACTIVE")
		scrape(t, timeout, a).expect(t, absent, "bunq_device_server_up", "company", "3") // it is gone
	})
}

func TestAllDeviceServersOfOwnInstallation(t *testing.T) {
	withAll(t, bunqtest.Options{OwnInstallationOnly: true}, 4, func(t *testing.T, _ *fakeAPI, a *account) {
		m := scrape(t, timeout, a)
		m.expectRead(t, []int64{a.own()}, nil)
		m.expect(t, absent, "bunq_device_server_up", "company", "1")
	})
}

func TestKnownDeviceServers(t *testing.T) {
	withAccount(t, bunqtest.Options{}, 4, []int64{1}, func(t *testing.T, _ *fakeAPI, a *account) {
		a.Reload(collector.Selection{IDs: []int64{1}, Known: []int64{2, 3, 99}})
		m := scrape(t, timeout, a)
		m.expectRead(t, []int64{1, a.own()}, nil)
		// Their descriptions and addresses tell new device servers of known software from those of strangers.
		m.expect(t, 1, "bunq_device_server_info", "company", `a "quoted" server`, "2", "192.0.2.7")
		m.expect(t, absent, "bunq_device_server_up", "company", "2")
		m.expect(t, absent, "bunq_device_server_status", "company", "2", "ACTIVE")
		m.expect(t, absent, "bunq_unexpected_device_server_created_timestamp_seconds", "company", "2")
		m.expect(t, 1434237556.215235, "bunq_unexpected_device_server_created_timestamp_seconds", "company", "4")
	})
}

func TestListComplete(t *testing.T) {
	withAccount(t, bunqtest.Options{}, 201, []int64{201, 200, 199, 198}, func(t *testing.T, api *fakeAPI, a *account) {
		scrape(t, timeout, a).expect(t, 1, "bunq_device_server_list_complete", "company")
		api.set(0, on("older_id=3", hang)) // the second page
		time.Sleep(time.Minute)
		m := scrape(t, timeout, a)
		m.expect(t, 0, "bunq_device_server_list_complete", "company")
		m.expect(t, absent, "bunq_device_servers", "company", "ACTIVE")
		m.expectRead(t, []int64{201, 200}, nil)
	})
}

func TestLastReads(t *testing.T) {
	withAccount(t, bunqtest.Options{}, 3, []int64{1, 2}, func(t *testing.T, api *fakeAPI, a *account) {
		before := a.LastReads()
		api.set(0, api.respond(http.StatusOK, list(0, object(1))))
		scrape(t, timeout, a)
		now := a.LastReads()
		if got := slices.Sorted(maps.Keys(now)); !slices.Equal(got, []int64{1, 2, a.own()}) {
			t.Errorf("device servers %v", got)
		}
		if !now[1].Time.After(before[1].Time) || now[2] != before[2] {
			t.Errorf("got %v after %v", now, before)
		}
	})
}
