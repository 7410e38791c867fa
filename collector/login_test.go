package collector_test

import (
	"net/http"
	"testing"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// expectLogins fails the test unless there were logins, at least 30 s apart.
func (f *fakeAPI) expectLogins(t testing.TB) {
	t.Helper()
	var before time.Time
	for _, r := range f.received() {
		if r.text != "POST session-server" {
			continue
		}
		if r.time.Sub(before) < 30*time.Second {
			t.Errorf("login %v after the one before", r.time.Sub(before))
		}
		before = r.time
	}
	if before.IsZero() {
		t.Error("no login")
	}
}

func TestOwnDeviceServerBlocked(t *testing.T) {
	for _, options := range []bunqtest.Options{{}, {ReadsRefusedAsCredentials: true}} {
		withAccount(t, options, 1, []int64{1}, func(t *testing.T, api *fakeAPI, a *account) {
			api.SetStatus(a.own(), bunq.StatusBlocked)
			for i := range 10 {
				m := scrape(t, timeout, a)
				m.expectRead(t, []int64{1}, nil)
				m.expect(t, 1, "bunq_device_server_status", "company", text(a.own()), "BLOCKED")
				m.expect(t, 1, "bunq_device_servers", "company", "BLOCKED")
				if i > 0 {
					m.expect(t, 1, "bunq_login_state", "company", "device_not_active")
					m.expect(t, absent, "bunq_session_expiry_timestamp_seconds", "company")
				}
				time.Sleep(interval)
			}
			api.expectLogins(t)
			api.SetStatus(a.own(), bunq.StatusActive)
			time.Sleep(5 * time.Minute)
			scrape(t, timeout, a).expect(t, 1, "bunq_login_state", "company", "ok")
		})
	}
}

func TestEveryReadRejected(t *testing.T) {
	withAccount(t, bunqtest.Options{}, 1, []int64{1}, func(t *testing.T, api *fakeAPI, a *account) {
		api.set(0, func(w http.ResponseWriter, r *http.Request) bool {
			return r.Method == http.MethodGet && api.refuse(http.StatusUnauthorized, "")(w, r)
		})
		for range 10 {
			s := &scraper{timeout: timeout}
			runScrapers(t, a, s)
			s.expectRead(t, nil, []int64{1, a.own()})
			if err := a.State().Result.Err; err == nil || s.took > 3*time.Second { // of the rate limit
				t.Errorf("took %v, err %v", s.took, err)
			}
			time.Sleep(interval)
		}
		api.expectLogins(t)
	})
}
