package collector_test

import (
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/collector"
)

func TestAllDeviceServers(t *testing.T) {
	withAccount(t, bunqtest.Options{}, 4, nil, func(t *testing.T, api *fakeAPI, a *account) {
		a.Reload(collector.Selection{All: true, Known: []int64{2}})
		watched := []int64{1, 3, 4, a.own()}
		scrape(t, timeout, a).expectRead(t, watched, nil)
		before := a.LastReads()
		api.set(0, api.refuse(http.StatusServiceUnavailable, ""))
		scrape(t, timeout, a).expectRead(t, nil, watched) // they are known from the scrape before
		if diff := cmp.Diff(before, a.LastReads()); diff != "" {
			t.Errorf("last reads, -before +now:\n%s", diff)
		}
		time.Sleep(interval)
		api.set(0, api.respond(http.StatusOK, list(0, object(1), object(2), object(4), object(5))))
		m := scrape(t, timeout, a)
		m.expectRead(t, []int64{1, 4, 5}, []int64{3, a.own()})
		m.expect(t, absent, "bunq_device_server_up", "company", "2")
		m.expect(t, absent, "bunq_unexpected_device_server_info", "company", "", "5", "192.0.2.7", "ACTIVE")
		scrape(t, timeout, a).expect(t, absent, "bunq_device_server_up", "company", "3") // it is gone
		now := a.LastReads()
		if ids := slices.Sorted(maps.Keys(now)); !slices.Equal(ids, []int64{1, 4, 5}) || !now[1].Time.After(before[1].Time) {
			t.Errorf("the last reads are %+v", now)
		}
	})
}
