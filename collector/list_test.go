package collector_test

import (
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/collector"
)

const firstPage = "GET device-server?count=200"

func single(id int64) string { return "GET device-server/" + text(id) }

func TestListOfPages(t *testing.T) {
	for name, test := range map[string]struct {
		read, unread []int64
		requests     []string // between the first page and the others
	}{
		"on first page":     {[]int64{450, 252}, nil, nil},
		"three missing":     {[]int64{450, 3, 2, 1}, nil, []string{single(3), single(2), single(1)}},
		"four missing":      {[]int64{4, 3, 2, 1}, nil, nil},
		"one and unknown":   {[]int64{251}, []int64{9999}, []string{single(251), single(9999)}},
		"three and unknown": {[]int64{4, 3, 2}, []int64{9999}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			watched := append(test.read, test.unread...)
			withAccount(t, bunqtest.Options{}, 450, watched, func(t *testing.T, api *fakeAPI, a *account) {
				m := scrape(t, timeout, a)
				m.expectRead(t, test.read, test.unread)
				m.expect(t, 451, "bunq_device_servers", "company", "ACTIVE")
				want := append([]string{firstPage}, test.requests...)
				api.expect(t, append(want, firstPage+"&older_id=252", firstPage+"&older_id=52")...)
			})
		})
	}
}

// The reads go on after the failure of one, unless bunq is in maintenance.
func TestSingleReadFails(t *testing.T) {
	for status, reason := range map[int]bunq.Reason{
		401: bunq.ReasonUnauthorized, 200: bunq.ReasonMalformed, 405: bunq.ReasonClient, 500: bunq.ReasonServer,
		503: bunq.ReasonMaintenance,
	} {
		withAccount(t, bunqtest.Options{}, 300, []int64{300, 1}, func(t *testing.T, api *fakeAPI, a *account) {
			for failures, secondPage := range []fault{hang, func(http.ResponseWriter, *http.Request) bool { return false }} {
				api.set(0, func(w http.ResponseWriter, r *http.Request) bool {
					return on("/1", api.refuse(status, ""))(w, r) || on("&older_id=102", secondPage)(w, r)
				})
				m := scrape(t, timeout, a)
				labels := []string{"company", "device-server/{id}", "GET", string(reason)}
				m.expect(t, float64(failures+1), "bunq_api_request_errors_total", labels...)
				if failures == 1 && status != 503 {
					m.expectRead(t, []int64{300, 1}, nil)
					m.expect(t, 301, "bunq_device_servers", "company", "ACTIVE")
					continue
				}
				m.expectRead(t, []int64{300}, []int64{1})
				if err := a.State().Result.Missing(1); bunq.ReasonOf(err) != reason {
					t.Errorf("%d: 1 is missing because of %v", status, err)
				}
				time.Sleep(interval)
			}
		})
	}
}

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
