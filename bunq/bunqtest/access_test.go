package bunqtest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

func TestUnknownTokens(t *testing.T) {
	for _, status := range []int{401, 403} {
		simulate(t, bunqtest.Options{UnknownTokenForbidden: status == 403}, func(t *testing.T, api *bunqtest.Server) {
			c := loggedIn(t, api)
			for _, token := range []string{"", strings.Repeat("0", 64), strings.ToUpper(c.session), c.session[:63]} {
				c.do(http.MethodGet, "/v1/device-server", token, "").has(status, errAuthentication)
				c.do(http.MethodGet, "/v1/device-server/1", token, "").has(status, errAuthentication)
				c.do(http.MethodPost, "/v1/device-server", token, "{}").has(status, errAuthentication)
			}
			c.do(http.MethodPost, "/v1/session-server", c.session, "{}").has(status, errAuthentication)
		})
	}
}

func TestSessionTimeout(t *testing.T) {
	for extends, want := range map[bool]int{false: 401, true: 200} {
		simulate(t, bunqtest.Options{UseExtendsSession: extends}, func(t *testing.T, api *bunqtest.Server) {
			c := loggedIn(t, api)
			c.pause = 0
			time.Sleep(timeout - time.Microsecond)
			c.get("device-server").ok()
			time.Sleep(time.Microsecond)
			c.get("device-server").has(want, errAuthorisation)
			time.Sleep(timeout)
			c.get("device-server").has(401, errAuthorisation)
			c.login().get("device-server").ok()
		})
	}
}

func TestStatusEndsSession(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		addDevices(api, 1)
		c := loggedIn(t, api)
		api.SetStatus(1, bunq.StatusBlocked) // of another device server
		c.get("device-server").ok()
		api.SetStatus(c.device, bunq.StatusBlocked)
		c.get("device-server").has(401, errAuthorisation)
		c.postSessionServer().has(400, errCredentials)
		path := fmt.Sprintf("/v1/device-server/%d", c.device)
		own := c.do(http.MethodGet, path, c.installation, "").object(0, "DeviceServer")
		if own["status"] != "BLOCKED" || own["updated"].(string) <= own["created"].(string) {
			t.Errorf("%s, created %s, updated %s", own["status"], own["created"], own["updated"])
		}
		api.SetStatus(c.device, bunq.StatusActive)
		c.get("device-server").has(401, errAuthorisation)
		c.login().get("device-server").ok()
	})
}

func TestReadsRefusedAsCredentials(t *testing.T) {
	simulate(t, bunqtest.Options{ReadsRefusedAsCredentials: true}, func(t *testing.T, api *bunqtest.Server) {
		c := loggedIn(t, api)
		c.get("device-server", from(away)).has(400, errCredentials)
		api.SetStatus(c.device, bunq.StatusBlocked)
		c.get("device-server/1").has(400, errCredentials)
		c.do(http.MethodGet, "/v1/device-server", c.installation, "").ok()
		api.SetStatus(c.device, bunq.StatusActive)
		c.get("device-server").ok()
	})
}

func TestWrongAPIKey(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		c := newRawClient(t, api).install()
		c.postSessionServer().has(400, errCredentials) // no device server yet
		c.register().login()
		for _, c.apiKey = range []string{otherAPIKey, "sandbox_unknown", "of_production", ""} {
			c.postSessionServer().has(400, errCredentials)
		}
		c.postDeviceServer(nil).has(400, errCredentials)
	})
}

// Each device server permits some addresses to log in. A second one can be registered from the addresses of the
// first.
func TestPermittedAddresses(t *testing.T) {
	for _, test := range []struct {
		permitted         []string
		home, away, again int
	}{
		{nil, 200, 400, 400},
		{[]string{}, 200, 400, 400},
		{[]string{away}, 400, 200, 200},
		{[]string{home, away}, 200, 200, 200},
		{[]string{home, "*"}, 200, 200, 200},
	} {
		simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
			c := newRawClient(t, api).install()
			c.postDeviceServer(test.permitted).ok()
			c.postSessionServer(from(home)).has(test.home, errCredentials)
			c.postSessionServer(from(away)).has(test.away, errCredentials)
			c.postDeviceServer(nil, from(away)).has(test.again, errCredentials)
		})
	}
}

func TestInstallationTokenReads(t *testing.T) {
	for reads, want := range map[bunqtest.Reads]struct{ list, single int }{
		bunqtest.ReadsListAndOne: {200, 200}, bunqtest.ReadsList: {200, 401}, bunqtest.ReadsNothing: {401, 401},
	} {
		simulate(t, bunqtest.Options{InstallationTokenReads: reads}, func(t *testing.T, api *bunqtest.Server) {
			addDevices(api, 3)
			c := newRawClient(t, api).install()
			c.get("device-server").has(want.list, errAuthorisation)
			c.register().get("device-server").has(want.list, errAuthorisation)
			c.get("device-server/2").has(want.single, errAuthorisation)
			c.login().get("device-server/2").ok()
		})
	}
	simulate(t, bunqtest.Options{BareInstallationRefused: true}, func(t *testing.T, api *bunqtest.Server) {
		c := newRawClient(t, api).install()
		c.get("device-server").has(401, errAuthentication)
		c.register().get("device-server").ok()
	})
}
