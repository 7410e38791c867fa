package session_test

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/bunq/session"
)

func TestSessionRenewedBeforeItEnds(t *testing.T) {
	withAPI(t, bunqtest.Options{Unlimited: true}, time.Minute, func(t *testing.T, api *recorder) {
		p := start(t, api)
		for range 300 {
			p.mustRead(t)
			time.Sleep(2 * time.Second)
		}
		p.expect(t, session.OK) // once the last login has ended
		logins := api.seen(bunq.CreateSessionServer)
		if shortest := slices.Min(pauses(logins)); shortest < 30 || len(logins) < 19 || p.State().Renewals != len(logins)-1 {
			t.Errorf("%d logins, at least %v s apart, %d renewals", len(logins), shortest, p.State().Renewals)
		}
		if failed := p.logged("level=error"); failed != nil {
			t.Errorf("logged %q", failed)
		}
	})
}

func TestCredentialsWaitNoLongerThanContext(t *testing.T) {
	withAPI(t, bunqtest.Options{}, time.Hour, func(t *testing.T, api *recorder) {
		api.answer(bunq.CreateInstallation, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		p := start(t, api)
		begun := time.Now()
		if err := p.read(t); time.Since(begun) != 5*time.Second || !errors.Is(err, session.ErrNoCredentials) {
			t.Errorf("read ended after %v with %v, want the deadline", time.Since(begun), err)
		}
		time.Sleep(time.Minute) // the call has ended
		p.expect(t, session.Unreachable)
		begun = time.Now()
		if err := p.read(t); time.Since(begun) != 0 || err == nil {
			t.Errorf("read ended after %v with %v, want the error of the login at once", time.Since(begun), err)
		}
	})
}

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
