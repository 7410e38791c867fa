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

func TestUnknownTokensAreRefused(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			options := bunqtest.Options{UnknownTokenForbidden: status == http.StatusForbidden}
			simulate(t, options, func(t *testing.T, api *bunqtest.Server) {
				c := loggedIn(t, api)
				for name, token := range map[string]string{
					"none": "", "made up": strings.Repeat("0", 64), "in capitals": strings.ToUpper(c.session), "cut off": c.session[:63],
				} {
					t.Log(name)
					c.do(http.MethodGet, "/v1/device-server", token, "").refused(status, wordsAuthentication)
					c.do(http.MethodGet, "/v1/device-server/1", token, "").refused(status, wordsAuthentication)
					c.do(http.MethodPost, "/v1/session-server", token, "{}").refused(status, wordsAuthentication)
					c.do(http.MethodPost, "/v1/device-server", token, "{}").refused(status, wordsAuthentication)
				}
				t.Log("a session's, to log in with")
				c.do(http.MethodPost, "/v1/session-server", c.session, "{}").refused(status, wordsAuthentication)
			})
		})
	}
}

func TestSessionsEnd(t *testing.T) {
	const life = 10 * time.Minute
	for name, test := range map[string]struct {
		options bunqtest.Options
		extends bool
	}{
		"that long after their start":    {bunqtest.Options{}, false},
		"that long after their last use": {bunqtest.Options{UseExtendsSession: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			simulateFor(t, test.options, bunqtest.User{SessionTimeout: life}, func(t *testing.T, api *bunqtest.Server) {
				c := loggedIn(t, api)
				c.pause = 0
				time.Sleep(life - time.Microsecond)
				c.get("device-server").ok()
				time.Sleep(time.Microsecond)
				if got := c.get("device-server"); test.extends {
					got.ok()
				} else {
					got.refused(http.StatusUnauthorized, wordsAuthorisation)
				}
				time.Sleep(life)
				c.get("device-server").refused(http.StatusUnauthorized, wordsAuthorisation)
				c.login().get("device-server").ok()
			})
		})
	}
}

func TestSessionsEndWithTheirDeviceServersActivity(t *testing.T) {
	for _, status := range []bunq.Status{bunq.StatusBlocked, bunq.StatusNeedsConfirmation, bunq.StatusObsolete, "OTHER"} {
		t.Run(string(status), func(t *testing.T) {
			simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
				addDevices(api, 1)
				c := loggedIn(t, api)
				api.SetStatus(1, status) // another's does not matter
				api.SetStatus(c.device, bunq.StatusActive)
				c.get("device-server").ok()

				time.Sleep(time.Hour)
				api.SetStatus(c.device, status)
				c.get("device-server").refused(http.StatusUnauthorized, wordsAuthorisation)
				c.postSessionServer().refused(http.StatusBadRequest, wordsCredentials)
				own := c.do(http.MethodGet, fmt.Sprintf("/v1/device-server/%d", c.device), c.installation, "").ok().objects()[0]["DeviceServer"]
				if own["status"] != string(status) || own["updated"].(string) <= own["created"].(string) {
					t.Errorf("%s, created %s, updated %s", own["status"], own["created"], own["updated"])
				}

				api.SetStatus(c.device, bunq.StatusActive)
				c.get("device-server").refused(http.StatusUnauthorized, wordsAuthorisation) // what has ended has ended
				c.login().get("device-server").ok()
			})
		})
	}
}

func TestKeysWorkInTheirOwnEnvironmentOnly(t *testing.T) {
	const productionKey = "0123456789abcdef"
	for name, test := range map[string]struct {
		environment bunq.Environment
		key         string
		ok          bool
	}{
		"sandbox":                   {bunq.Sandbox, apiKey, true},
		"sandbox unless said":       {"", apiKey, true},
		"production":                {bunq.Production, productionKey, true},
		"production key in sandbox": {bunq.Sandbox, productionKey, false},
		"sandbox key in production": {bunq.Production, apiKey, false},
	} {
		t.Run(name, func(t *testing.T) {
			options := bunqtest.Options{Environment: test.environment}
			simulateFor(t, options, bunqtest.User{APIKey: test.key}, func(t *testing.T, api *bunqtest.Server) {
				c := newRawClient(t, api).install()
				c.apiKey = test.key
				if got := c.postDeviceServer(nil); test.ok {
					got.ok()
				} else {
					got.refused(http.StatusBadRequest, wordsCredentials)
				}
			})
		})
	}
}

func TestOnlyTheKeyOfTheRegistrationLogsIn(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		const othersKey = "sandbox_fedcba9876543210"
		api.AddUser(bunqtest.User{ID: 2, Kind: "UserPerson", APIKey: othersKey, SessionTimeout: time.Hour})
		c := newRawClient(t, api).install()
		c.postSessionServer().refused(http.StatusBadRequest, wordsCredentials) // no device server yet
		c.register()
		c.apiKey = othersKey
		c.postSessionServer().refused(http.StatusBadRequest, wordsCredentials)
		c.apiKey = "sandbox_unknown"
		c.postSessionServer().refused(http.StatusBadRequest, wordsCredentials)
		c.postDeviceServer(nil).refused(http.StatusBadRequest, wordsCredentials)
		c.apiKey = apiKey
		c.postSessionServer().ok()
	})
}

func TestAddressesThatMayLogIn(t *testing.T) {
	const third = "203.0.113.3"
	for name, test := range map[string]struct{ permitted, allowed, refused []string }{
		"the one of the registration": {nil, []string{home}, []string{away, third}},
		"nor does an empty list help": {[]string{}, []string{home}, []string{away, third}},
		"those permitted":             {[]string{home, away}, []string{home, away}, []string{third}},
		"only those permitted":        {[]string{away}, []string{away}, []string{home, third}},
		"any, if the list says so":    {[]string{home, "*"}, []string{home, away, third}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
				c := newRawClient(t, api).install()
				c.postDeviceServer(test.permitted).ok()
				for _, address := range test.refused {
					c.postSessionServer(from(address)).refused(http.StatusBadRequest, wordsCredentials)
				}
				for _, address := range test.allowed {
					c.postSessionServer(from(address)).ok()
				}
			})
		})
	}
}

func TestKeyIsBoundToTheAddressThatItIsFirstUsedFrom(t *testing.T) {
	for name, test := range map[string]struct {
		user      bunqtest.User
		permitted []string // of the first registration
		ok        bool     // whether another address may register
	}{
		"bound":                {bunqtest.User{}, nil, false},
		"a wildcard key":       {bunqtest.User{AnyAddress: true}, nil, true},
		"made a wildcard":      {bunqtest.User{}, []string{home, "*"}, true},
		"permitted both":       {bunqtest.User{}, []string{home, away}, true},
		"permitted some other": {bunqtest.User{}, []string{home, "203.0.113.3"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			simulateFor(t, bunqtest.Options{}, test.user, func(t *testing.T, api *bunqtest.Server) {
				newRawClient(t, api).install().register(test.permitted...)
				other := newRawClient(t, api)
				other.key, other.address = otherKey(), away
				other.install()
				if got := other.postDeviceServer(nil); !test.ok {
					got.refused(http.StatusBadRequest, wordsCredentials)
					return
				}
				other.register().login()
				if ip := api.DeviceServers()[0].IP; ip != away {
					t.Errorf("registered from %s, want %s", ip, away)
				}
			})
		})
	}
}

func TestInstallationTokenReadsWhatTheOptionSays(t *testing.T) {
	for reads, want := range map[bunqtest.Reads][2]int{ // status of the list, and of one
		bunqtest.ReadsListAndOne: {200, 200},
		bunqtest.ReadsList:       {200, 401},
		bunqtest.ReadsNothing:    {401, 401},
	} {
		t.Run(fmt.Sprint(want), func(t *testing.T) {
			simulate(t, bunqtest.Options{InstallationTokenReads: reads}, func(t *testing.T, api *bunqtest.Server) {
				addDevices(api, 3)
				c := newRawClient(t, api).install()
				check := func(got *answer, status int) {
					t.Helper()
					if status == http.StatusOK {
						got.ok()
					} else {
						got.refused(status, wordsAuthorisation)
					}
				}
				if want[0] == http.StatusOK && len(c.get("device-server").ids()) != 0 {
					t.Error("an installation without a device server sees some")
				}
				c.register()
				check(c.get("device-server"), want[0])
				check(c.get("device-server/2"), want[1])
				c.login().get("device-server").ok()
				c.get("device-server/2").ok()
			})
		})
	}
}
