package bunqtest_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// The user has the device servers 1 to 450, 2000 and 2003.
func TestListPages(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		addDevices(api, 450)
		api.AddDeviceServer(userID, bunq.DeviceServer{ID: 2000, Status: "NEW"})
		c := loggedIn(t, api)
		for query, want := range map[string]struct {
			count, length, first, last int
			newer, older               string
		}{
			"":                           {10, 10, 2003, 443, "future_url", "older_url"},
			"?count=200":                 {200, 200, 2003, 253, "future_url", "older_url"},
			"?older_id=1500&count=200":   {200, 200, 450, 251, "newer_url", "older_url"}, // of no device server
			"?older_id=52&count=200":     {200, 51, 51, 1, "newer_url", ""},
			"?newer_id=100&count=3":      {3, 3, 103, 101, "newer_url", "older_url"},
			"?older_id=103&newer_id=100": {10, 2, 102, 101, "newer_url", "older_url"},
			"?older_id=1":                {10, 0, 0, 0, "", ""},
		} {
			links := map[string]string{"future_url": "", "newer_url": "", "older_url": ""}
			links[want.newer] = fmt.Sprintf("/v1/device-server?newer_id=%d&count=%d", want.first, want.count)
			links[want.older] = fmt.Sprintf("/v1/device-server?older_id=%d&count=%d", want.last, want.count)
			delete(links, "")
			got := c.get("device-server" + query)
			ids := append(got.ids(), 0)
			first, last := int(ids[0]), int(ids[max(0, len(ids)-2)])
			if len(ids)-1 != want.length || first != want.first || last != want.last {
				t.Errorf("%s: ids %v, want %d from %d to %d", query, ids, want.length, want.first, want.last)
			}
			if diff := cmp.Diff(links, got.content.Pagination); diff != "" {
				t.Errorf("%s: URLs, -want +got:\n%s", query, diff)
			}
		}
		for _, query := range []string{"count=201", "count=0", "count=-1", "count=ten", "older_id=x", "newer_id=1.5"} {
			c.get("device-server?"+query).has(400, "The pagination is invalid")
		}
	})
}

func TestOwnInstallationOnly(t *testing.T) {
	simulate(t, bunqtest.Options{OwnInstallationOnly: true}, func(t *testing.T, api *bunqtest.Server) {
		addDevices(api, 3)
		newRawClient(t, api).install().register()
		c := newRawClient(t, api).install().register()
		first := c.device
		if got := c.register().login().get("device-server").ids(); !slices.Equal(got, []int64{c.device, first}) {
			t.Errorf("ids %v, want %d and %d", got, c.device, first)
		}
		want := map[string]any{
			"id": 2., "created": "2015-06-13 23:19:16.215235", "updated": "2015-06-13 23:19:16.215237",
			"description": "a server", "ip": "192.0.2.7", "status": "NEEDS_CONFIRMATION",
		}
		got := c.get("device-server/2").object(0, "DeviceServer")
		delete(got, "avatar") // which varies
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("fields, -want +got:\n%s", diff)
		}
	})
}
