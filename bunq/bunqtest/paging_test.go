package bunqtest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// span returns the ids from the newest to the oldest.
func span(newest, oldest int64) []int64 {
	ids := []int64{}
	for id := newest; id >= oldest; id-- {
		ids = append(ids, id)
	}
	return ids
}

// The client's own device server is the newest; 1 to 450 are others of the user's.
func TestListIsPagedNewestFirst(t *testing.T) {
	const list = "/v1/device-server?"
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		addDevices(api, 450)
		c := loggedIn(t, api)
		own := c.device
		ownURL := fmt.Sprintf(list+"newer_id=%d", own)
		for query, want := range map[string]struct {
			ids                  []int64
			future, newer, older string
		}{
			"":                           {append([]int64{own}, span(450, 442)...), ownURL + "&count=10", "", list + "older_id=442&count=10"},
			"?count=1":                   {[]int64{own}, ownURL + "&count=1", "", fmt.Sprintf(list+"older_id=%d&count=1", own)},
			"?count=200":                 {append([]int64{own}, span(450, 252)...), ownURL + "&count=200", "", list + "older_id=252&count=200"},
			"?older_id=252&count=200":    {span(251, 52), "", list + "newer_id=251&count=200", list + "older_id=52&count=200"},
			"?older_id=52&count=200":     {span(51, 1), "", list + "newer_id=51&count=200", ""},
			"?older_id=11":               {span(10, 1), "", list + "newer_id=10&count=10", ""},
			"?older_id=1":                {nil, "", "", ""},
			"?newer_id=100&count=3":      {span(103, 101), "", list + "newer_id=103&count=3", list + "older_id=101&count=3"},
			"?newer_id=449":              {[]int64{own, 450}, ownURL + "&count=10", "", list + "older_id=450&count=10"},
			"?older_id=103&newer_id=100": {span(102, 101), "", list + "newer_id=102&count=10", list + "older_id=101&count=10"},
		} {
			got := c.get("device-server" + query).ok()
			if diff := cmp.Diff(append([]int64{}, want.ids...), got.ids()); diff != "" {
				t.Errorf("%s: ids, -want +got:\n%s", query, diff)
			}
			links := map[string]string{"future_url": want.future, "newer_url": want.newer, "older_url": want.older}
			if diff := cmp.Diff(links, got.links()); diff != "" {
				t.Errorf("%s: URLs, -want +got:\n%s", query, diff)
			}
		}
	})
}

func TestOlderURLsLeadThroughTheWholeList(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		addDevices(api, 24)
		c := loggedIn(t, api)
		var all []int64
		pages := 0
		for path := "/v1/device-server"; path != ""; pages++ {
			if !strings.HasPrefix(path, "/v1/") {
				t.Fatalf("%s does not start with /v1/", path)
			}
			page := c.get(strings.TrimPrefix(path, "/v1/")).ok()
			all, path = append(all, page.ids()...), page.links()["older_url"]
		}
		if want := append([]int64{c.device}, span(24, 1)...); pages != 3 || !slices.Equal(all, want) {
			t.Errorf("%d pages with %v, want 3 with %v", pages, all, want)
		}
	})
}

func TestInvalidPagesAreRefused(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		c := loggedIn(t, api)
		for _, query := range []string{
			"count=201", "count=0", "count=-1", "count=", "count=ten", "count=1e1", "older_id=0", "older_id=x", "older_id=-5", "newer_id=", "newer_id=1.5",
		} {
			c.get("device-server?"+query).refused(http.StatusBadRequest, "The pagination is invalid")
		}
	})
}

// 1 and 3 are device servers of the user's, 2 is another user's, and 4 nobody's.
func TestOlderIDThatIsNoDeviceServerComparesShowsNothingOrIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		reading bunqtest.OlderID
		status  int
		ids     []int64 // for older_id=2 and 4, but of those below
	}{
		"compares":      {bunqtest.OlderIDCompares, http.StatusOK, []int64{3, 1}},
		"shows nothing": {bunqtest.OlderIDShowsNothing, http.StatusOK, nil},
		"is refused":    {bunqtest.OlderIDRefused, http.StatusBadRequest, nil},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, bunqtest.Options{UnknownOlderID: test.reading}, func(t *testing.T, api *bunqtest.Server) {
				api.AddUser(bunqtest.User{ID: 2, Kind: "UserPerson", APIKey: "sandbox_other", SessionTimeout: time.Hour})
				for id, user := range map[int64]int64{1: userID, 2: 2, 3: userID} {
					api.AddDeviceServer(user, bunq.DeviceServer{ID: id, Status: bunq.StatusActive})
				}
				c := loggedIn(t, api)
				for _, unknown := range []int64{2, 4} {
					got := c.get(fmt.Sprintf("device-server?older_id=%d", unknown))
					if test.status != http.StatusOK {
						got.refused(test.status, "The pagination is invalid")
						continue
					}
					want := slices.DeleteFunc(slices.Clone(test.ids), func(id int64) bool { return id >= unknown })
					if ids, older := got.ok().ids(), got.links()["older_url"]; !slices.Equal(ids, want) || older != "" {
						t.Errorf("older_id=%d lists %v and the older_url %q, want %v and none", unknown, ids, older, want)
					}
				}
				if got := c.get("device-server?older_id=3").ok().ids(); !slices.Equal(got, []int64{1}) {
					t.Errorf("older_id=3 lists %v, want 1", got)
				}
				if got := c.get("device-server").ok().ids(); !slices.Equal(got, []int64{c.device, 3, 1}) {
					t.Errorf("without older_id it lists %v", got)
				}
			})
		})
	}
}

func TestListOfAnInstallationCanBeItsOwn(t *testing.T) {
	simulate(t, bunqtest.Options{OwnInstallationOnly: true}, func(t *testing.T, api *bunqtest.Server) {
		addDevices(api, 3)
		other := newRawClient(t, api)
		other.key = otherKey()
		other.install().register()
		c := newRawClient(t, api).install().register()
		first := c.device
		c.register().login() // twice, as clients that lost their memory do
		page := c.get("device-server").ok()
		if got := page.ids(); !slices.Equal(got, []int64{c.device, first}) {
			t.Errorf("listed %v, want %d and %d", got, c.device, first)
		}
		if older := page.links()["older_url"]; older != "" {
			t.Errorf("an older_url, %s, after the last", older)
		}
		c.get("device-server/2").ok() // one by one, the user's others can be read
	})
}

func TestDeviceServersOfOtherUsersAreNotFound(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		api.AddUser(bunqtest.User{ID: 2, Kind: "UserPerson", APIKey: "sandbox_other", SessionTimeout: time.Hour})
		api.AddDeviceServer(2, bunq.DeviceServer{ID: 7, Status: bunq.StatusActive})
		c := loggedIn(t, api)
		c.get("device-server/7").refused(http.StatusNotFound, "DeviceServer not found.")
		if got := c.get("device-server").ids(); !slices.Equal(got, []int64{c.device}) {
			t.Errorf("listed %v, want only %d", got, c.device)
		}
	})
}

func TestDeviceServerIsTheSameReadAloneOrInTheList(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		addDevices(api, 2)
		c := loggedIn(t, api)
		want := map[string]any{
			"id": 2., "created": "2015-06-13 23:19:16.215235", "updated": "2015-06-13 23:19:16.215237",
			"description": "a server", "ip": "192.0.2.7", "status": string(bunq.StatusNeedsConfirmation),
			"avatar": nil, // a key that no documentation has
		}
		for _, path := range []string{"device-server/2", "device-server?newer_id=1&count=1", "device-server?older_id=3"} {
			if diff := cmp.Diff(want, c.get(path).ok().objects()[0]["DeviceServer"]); diff != "" {
				t.Errorf("%s, -want +got:\n%s", path, diff)
			}
		}
	})
}

func TestKeyOrderVaries(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		addDevices(api, 200)
		_, orders := rawKeys(t, loggedIn(t, api).get("device-server?count=200").ok().body)
		seen := map[string]bool{}
		for _, order := range orders {
			seen[strings.Join(order, " ")] = true
		}
		if len(seen) < 100 { // of 5040
			t.Errorf("200 device servers came in %d orders of keys", len(seen))
		}
	})
}
