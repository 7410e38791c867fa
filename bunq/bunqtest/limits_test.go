package bunqtest_test

import (
	"fmt"
	"testing"
	"time"

	"bunq_exporter/bunq/bunqtest"
)

// withoutPause returns a client after the handshake. Its next requests follow each other at once.
func withoutPause(t *testing.T, api *bunqtest.Server) *rawClient {
	t.Helper()
	c := newRawClient(t, api).install().register(home, "*").login()
	time.Sleep(30 * time.Second)
	c.pause = 0
	return c
}

// tooFast fails the test unless the answer is a 429 with the limit and the Retry-After header.
func (a *answer) tooFast(most, seconds int, retryAfter string) {
	a.t.Helper()
	const format = "Too many requests. You can do a maximum of %d calls per %d second to this endpoint."
	a.has(429, fmt.Sprintf(format, most, seconds))
	if got := a.header.Get("Retry-After"); got != retryAfter {
		a.t.Errorf("Retry-After %q, want %q", got, retryAfter)
	}
}

// All reads from one address share one limit, also those of different users.
func TestReadLimit(t *testing.T) {
	simulate(t, bunqtest.Options{}, func(t *testing.T, api *bunqtest.Server) {
		addDevices(api, 1)
		c, other := withoutPause(t, api), newRawClient(t, api)
		other.apiKey = otherAPIKey
		other.install().register().login()
		other.pause = 0
		c.get("device-server?count=200").ok()
		time.Sleep(time.Second)
		c.get("device-server/1").ok()
		other.get("device-server").ok()
		time.Sleep(2*time.Second - time.Nanosecond) // almost 3 s after the first
		c.get("device-server").tooFast(3, 3, "")
		c.get("device-server/1", from(away)).ok()
		c.postDeviceServer(nil).ok()
		time.Sleep(time.Nanosecond)
		c.get("device-server").ok() // refused requests do not count
		c.get("device-server").tooFast(3, 3, "")
	})
}

func TestPostLimits(t *testing.T) {
	simulate(t, bunqtest.Options{RetryAfter: true}, func(t *testing.T, api *bunqtest.Server) {
		c := withoutPause(t, api)
		c.login()
		for range 5 {
			c.postDeviceServer([]string{"*"}).ok()
			c.postInstallation("no key").has(400, "The client_public_key") // requests with errors count
		}
		time.Sleep(500 * time.Millisecond)
		c.postDeviceServer(nil).tooFast(5, 3, "3") // 2.5, rounded up
		c.postInstallation(publicPEM(c.key)).tooFast(5, 3, "3")
		c.postInstallation(publicPEM(c.key), from(away)).ok()
		time.Sleep(29500*time.Millisecond - time.Nanosecond)
		c.postDeviceServer([]string{"*"}).ok()
		c.postSessionServer().tooFast(1, 30, "1")
		c.postSessionServer(from(away)).ok()
		time.Sleep(time.Nanosecond)
		c.postSessionServer(with(signatureHeader, "")).has(466, errUnsigned)
		c.postSessionServer().tooFast(1, 30, "30")
	})
}

func TestPenalty(t *testing.T) {
	options := bunqtest.Options{RetryAfter: true, Penalty: 10 * time.Second}
	simulate(t, options, func(t *testing.T, api *bunqtest.Server) {
		c := withoutPause(t, api)
		for range 3 {
			c.get("device-server").ok()
		}
		c.get("device-server").tooFast(3, 3, "10")
		time.Sleep(9 * time.Second)
		c.get("device-server").tooFast(3, 3, "10") // the penalty starts again
		c.get("device-server", from(away)).ok()
		c.login().postSessionServer().tooFast(1, 30, "30")
		time.Sleep(10 * time.Second)
		c.get("device-server").ok()
	})
}
