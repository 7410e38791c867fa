package session_test

import (
	"slices"
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
		api.delay(bunq.CreateSessionServer, 200*time.Millisecond)
		first := start(t, api)
		var others []*program
		for range 4 {
			p := first.another(t, api)
			p.expect(t, session.RateLimited)
			others = append(others, p)
		}
		others[0].mustRead(t) // with the installation
		time.Sleep(2*time.Minute + 2*time.Second)
		for _, p := range others {
			p.expect(t, session.OK)
			if lines := p.logged("level=error"); lines != nil {
				t.Errorf("logged %q", lines)
			}
		}
		logins := api.seen(bunq.CreateSessionServer)
		if shortest := slices.Min(pauses(logins)); shortest < 30 || len(logins) != 5 {
			t.Errorf("%d logins, %v s apart", len(logins), shortest)
		}
	})
}

// A login that the rate limit does not let through says nothing about the cause.
func TestRejectedAccountsKeepTheirState(t *testing.T) {
	withExpired(t, bunqtest.Options{}, func(t *testing.T, p *program, api *recorder) {
		api.fail(bunq.CreateSessionServer, 400, rejection)
		p.start(t)
		for range 3 {
			p.another(t, api)
		}
		time.Sleep(time.Hour)
		p.expect(t, session.CredentialsRefused)
		if lines := p.logged("login_state="); len(lines) > 2 {
			t.Errorf("logged %q", lines)
		}
	})
}
