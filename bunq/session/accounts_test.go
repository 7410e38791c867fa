package session_test

import (
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
