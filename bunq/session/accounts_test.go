package session_test

import (
	"slices"
	"testing"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/bunq/session"
)

func TestAccountsWaitForTheLoginLimit(t *testing.T) {
	withAPI(t, bunqtest.Options{}, time.Hour, func(t *testing.T, api *recorder) {
		first := start(t, api)
		second := setup(t, api)
		second.limiter = first.limiter
		second = second.next(t, api).start(t)
		second.expect(t, session.RateLimited)
		second.mustRead(t) // with the installation
		time.Sleep(31 * time.Second)
		second.expect(t, session.OK)
		if lines := second.logged("level=error"); lines != nil {
			t.Errorf("logged %q", lines)
		}
		if codes := api.seen(bunq.CreateSessionServer); len(codes) != 2 {
			t.Errorf("%d logins, want 2", len(codes))
		}
	})
}

func TestAccountsLogInEvery30Seconds(t *testing.T) {
	withAPI(t, bunqtest.Options{}, time.Hour, func(t *testing.T, api *recorder) {
		api.delay(bunq.CreateSessionServer, 200*time.Millisecond)
		first := start(t, api)
		var others []*program
		for range 4 {
			p := setup(t, api)
			p.limiter = first.limiter
			others = append(others, p.next(t, api).start(t))
		}
		time.Sleep(2*time.Minute + 2*time.Second)
		for _, p := range others {
			p.expect(t, session.OK)
		}
		if shortest := slices.Min(pauses(api.seen(bunq.CreateSessionServer))); shortest < 30 {
			t.Errorf("logins are %v s apart", shortest)
		}
	})
}

// A login that the rate limit does not let through says nothing about the cause.
func TestRejectedAccountsKeepTheirState(t *testing.T) {
	withExpired(t, bunqtest.Options{}, func(t *testing.T, p *program, api *recorder) {
		api.fail(bunq.CreateSessionServer, 400, rejection)
		p.start(t)
		for range 3 {
			other := setup(t, api)
			other.limiter = p.limiter
			other.next(t, api).start(t)
		}
		time.Sleep(time.Hour)
		p.expect(t, session.CredentialsRefused)
		if lines := p.logged("login_state="); len(lines) > 2 {
			t.Errorf("logged %q", lines)
		}
	})
}
