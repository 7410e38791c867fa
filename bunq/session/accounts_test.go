package session_test

import (
	"net/http"
	"testing"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/bunq/session"
)

// another starts a program of another account with the same rate limit.
func (p *program) another(t *testing.T, api *recorder) *program {
	t.Helper()
	other := setup(t, api)
	other.limiter = p.limiter
	return other.next(t, api).start(t)
}

func TestAccountsLogInEvery30Seconds(t *testing.T) {
	withAPI(t, bunqtest.Options{}, time.Hour, func(t *testing.T, api *recorder) {
		api.answer(bunq.CreateSessionServer, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(200 * time.Millisecond) // so that the pauses are not those of the clock
			api.Server.ServeHTTP(w, r)
		})
		first := start(t, api)
		for range 4 {
			first.another(t, api)
		}
		time.Sleep(2*time.Minute + 2*time.Second)
		if n := len(api.seen(bunq.CreateSessionServer)); n != 5 {
			t.Errorf("%d logins, want 5", n)
		}
	})
}

// A login that the rate limit does not let through says nothing about the cause.
func TestRejectedAccountsKeepTheirState(t *testing.T) {
	withExpired(t, bunqtest.Options{}, func(t *testing.T, p *program, api *recorder) {
		api.fail(bunq.CreateSessionServer, 400, rejection)
		p.start(t)
		for range 3 {
			other := p.another(t, api)
			other.expect(t, session.RateLimited)
			if lines := other.logged("level=error"); lines != nil {
				t.Errorf("logged %q", lines)
			}
		}
		time.Sleep(time.Hour)
		p.expect(t, session.CredentialsRefused)
		if lines := p.logged("login_state="); len(lines) > 2 {
			t.Errorf("logged %q", lines)
		}
	})
}
