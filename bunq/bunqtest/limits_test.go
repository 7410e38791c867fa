package bunqtest_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"bunq_exporter/bunq/bunqtest"
)

// impatient returns a client after the whole handshake, and after all rate limits, that waits no longer.
func impatient(t *testing.T, api *bunqtest.Server) *rawClient {
	t.Helper()
	c := loggedIn(t, api)
	time.Sleep(30 * time.Second)
	c.pause = 0
	return c
}

// tooFast fails the test unless the answer is a 429 that names the limit.
func (a *answer) tooFast(most, seconds int) {
	a.t.Helper()
	a.refused(http.StatusTooManyRequests, fmt.Sprintf("%s%d calls per %d second to this endpoint.", wordsTooFast, most, seconds))
}

func TestThreeReadingsInThreeSecondsListsAndSinglesTogether(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		addDevices(api, 1)
		c := impatient(t, api)
		c.get("device-server").ok()
		c.get("device-server/1").ok()
		c.get("device-server?count=200").ok()
		c.get("device-server").tooFast(3, 3)
		c.get("device-server/1").tooFast(3, 3)
		c.get("device-server/1", from(away)).ok() // another address has a limit of its own
		c.postDeviceServer(nil).ok()              // as has another endpoint
	})
}

func TestAccountsBehindOneAddressShareItsLimits(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		api.AddUser(bunqtest.User{ID: 2, Kind: "UserCompany", APIKey: "sandbox_other", SessionTimeout: time.Hour})
		other := newRawClient(t, api)
		other.key, other.apiKey = otherKey(), "sandbox_other"
		other.install().register().login()
		c := impatient(t, api)
		other.pause = 0
		c.get("device-server").ok()
		c.get("device-server").ok()
		other.get("device-server").ok()
		other.get("device-server").tooFast(3, 3)
		c.get("device-server").tooFast(3, 3)
	})
}

// The window slides: it is any three seconds, not those of a clock's.
func TestWindowMovesWithEachRequest(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		c := impatient(t, api)
		list := func() *answer { t.Helper(); return c.get("device-server") }
		for _, second := range []time.Duration{0, 1, 2} {
			time.Sleep(min(second, 1) * time.Second)
			list().ok()
		}
		time.Sleep(time.Second - time.Nanosecond) // 3 s after the first, but for a moment
		list().tooFast(3, 3)
		time.Sleep(time.Nanosecond)
		list().ok()          // the first has left the window, and what was refused does not count
		list().tooFast(3, 3) // the second has not
		time.Sleep(time.Second)
		list().ok()
		list().tooFast(3, 3)
		time.Sleep(3 * time.Second)
		for range 3 {
			list().ok()
		}
		list().tooFast(3, 3)
	})
}

func TestLimitsOfPosts(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		c := impatient(t, api)
		for range 5 {
			c.postDeviceServer(nil).ok()
			c.postInstallation("no key").refused(http.StatusBadRequest, "") // counts although it is refused
		}
		c.postDeviceServer(nil).tooFast(5, 3)
		c.postInstallation(publicPEM(otherKey())).tooFast(5, 3)
		c.postInstallation(publicPEM(otherKey()), from(away)).ok()
		c.get("device-server").ok()
		time.Sleep(3*time.Second - time.Nanosecond)
		c.postDeviceServer(nil).tooFast(5, 3)
		time.Sleep(time.Nanosecond)
		c.postDeviceServer(nil).ok()
	})
}

func TestOneLoginInThirtySeconds(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		c := newRawClient(t, api).install().register(home, "*").login()
		c.pause = 0
		c.postSessionServer().tooFast(1, 30)
		time.Sleep(30*time.Second - time.Nanosecond)
		c.postSessionServer().tooFast(1, 30)
		c.postSessionServer(from(away)).ok()
		time.Sleep(time.Nanosecond)
		c.postSessionServer(without(signatureHeader)).refused(466, wordsUnsigned)
		c.postSessionServer().tooFast(1, 30) // what was refused for another reason counts
	})
}

func TestPenaltyBeginsAnewWithEachRequestTooMany(t *testing.T) {
	simulate(t, bunqtest.Options{Penalty: 30 * time.Second}, func(t *testing.T, api *bunqtest.Server) {
		c := impatient(t, api)
		list := func() *answer { t.Helper(); return c.get("device-server") }
		for range 3 {
			list().ok()
		}
		list().tooFast(3, 3)
		time.Sleep(20 * time.Second)
		list().tooFast(3, 3)
		c.get("device-server", from(away)).ok()
		c.postDeviceServer(nil).ok()
		time.Sleep(30*time.Second - time.Nanosecond)
		list().tooFast(3, 3)
		time.Sleep(30 * time.Second)
		list().ok()
	})
}

func TestRetryAfterComesOnlyWithTheOption(t *testing.T) {
	for name, test := range map[string]struct {
		options bunqtest.Options
		want    string // after a refused reading, 0.5 s after three others
		login   string // after a refused login, as long after another
	}{
		"not said":                   {bunqtest.Options{}, "", ""},
		"not even with a penalty":    {bunqtest.Options{Penalty: time.Minute}, "", ""},
		"until the window has moved": {bunqtest.Options{RetryAfter: true}, "3", "30"}, // 2.5 and 29.5, rounded up
		"until the penalty is over":  {bunqtest.Options{RetryAfter: true, Penalty: time.Minute}, "60", "60"},
		"whatever is longer":         {bunqtest.Options{RetryAfter: true, Penalty: 10 * time.Second}, "10", "30"},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, test.options, func(t *testing.T, api *bunqtest.Server) {
				c := impatient(t, api)
				for range 3 {
					c.get("device-server").ok()
				}
				c.login()
				time.Sleep(500 * time.Millisecond)
				for want, got := range map[string]*answer{"list " + test.want: c.get("device-server"), "login " + test.login: c.postSessionServer()} {
					got.refused(http.StatusTooManyRequests, wordsTooFast)
					if after := got.header.Get("Retry-After"); want != "list "+after && want != "login "+after {
						t.Errorf("Retry-After is %q, want %q", after, want)
					}
				}
			})
		})
	}
}

func TestUnlimitedTakesEverything(t *testing.T) {
	simulate(t, bunqtest.Options{Unlimited: true, Penalty: time.Minute}, func(t *testing.T, api *bunqtest.Server) {
		c := newRawClient(t, api)
		c.pause = 0
		c.install().register()
		for range 10 {
			c.login().get("device-server").ok()
			c.postDeviceServer(nil).ok()
		}
	})
}
