package bunq_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata" // the machine may have none

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// shortSessions returns an API whose user's sessions last as long as given.
func shortSessions(t *testing.T, options bunqtest.Options, lasts time.Duration) *bunqtest.Server {
	t.Helper()
	api, err := bunqtest.New(options)
	if err != nil {
		t.Fatal(err)
	}
	api.AddUser(bunqtest.User{ID: 1, Kind: "UserCompany", APIKey: apiKey, SessionTimeout: lasts})
	return api
}

func mustRead(t *testing.T, client *bunq.Client) {
	t.Helper()
	if _, err := list(t.Context(), client); err != nil {
		t.Fatal(err)
	}
}

// apart fails the test for two logins within bunq's limit.
func apart(t *testing.T, logins []time.Time) {
	t.Helper()
	for i := 1; i < len(logins); i++ {
		if gap := logins[i].Sub(logins[i-1]); gap < 30*time.Second {
			t.Errorf("a login %s after the one before, want 30s or more", gap)
		}
	}
}

func TestSessionIsRenewedWhenHalfAMinuteIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := shortSessions(t, bunqtest.Options{}, 10*time.Minute)
		client := newClient(t, newConfig(t, api))
		start := time.Now()
		mustRead(t, client)
		for _, step := range []struct {
			at           time.Duration
			wantSessions int
			wantExpiry   time.Duration
		}{
			{9*time.Minute + 30*time.Second - time.Microsecond, 1, 10 * time.Minute},
			{9*time.Minute + 30*time.Second, 2, 19*time.Minute + 30*time.Second},
			{15 * time.Minute, 2, 19*time.Minute + 30*time.Second},
			{time.Hour, 3, time.Hour + 10*time.Minute}, // nothing was read for longer than a session lasts
		} {
			time.Sleep(time.Until(start.Add(step.at)))
			mustRead(t, client)
			want := bunq.Login{DeviceServerID: api.DeviceServers()[0].ID, SessionExpiry: start.Add(step.wantExpiry), SessionRenewals: step.wantSessions - 1}
			if got := client.Login(); !got.SessionExpiry.Equal(want.SessionExpiry) || got.SessionRenewals != want.SessionRenewals || got.DeviceServerID != want.DeviceServerID {
				t.Errorf("after %s the login is %+v, want %+v", step.at, got, want)
			}
			if got := api.Sessions(); got != step.wantSessions {
				t.Errorf("after %s there were %d sessions, want %d", step.at, got, step.wantSessions)
			}
		}
	})
}

// closeSessions ends all sessions before their time, as a user can in bunq's app.
func closeSessions(api *bunqtest.Server) {
	own := api.DeviceServers()[0].ID
	api.SetStatus(own, bunq.StatusBlocked)
	api.SetStatus(own, bunq.StatusActive)
}

func TestSessionThatBunqClosedIsRenewedWithinTheReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, bunqtest.Options{}, devices(3)...)
		config, told := newConfig(t, api), &recorder{}
		config.Observe = told.observe
		client := newClient(t, config)
		mustRead(t, client)
		closeSessions(api)
		time.Sleep(time.Minute)
		told.calls = nil
		mustRead(t, client)
		var reasons []bunq.Reason
		for _, call := range told.calls {
			if call.Err != nil {
				reasons = append(reasons, call.Err.Reason)
			}
		}
		if len(told.calls) != 3 || len(reasons) != 1 || reasons[0] != bunq.ReasonUnauthorized {
			t.Errorf("%d calls, failures %q, want a refused reading, a login and a reading", len(told.calls), reasons)
		}
		if got := client.Login().SessionRenewals; got != 1 {
			t.Errorf("%d renewals, want 1", got)
		}
	})
}

func TestUnknownSessionIsReplacedWhateverBunqCallsIt(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]bunqtest.Options{"401": {}, "403": {UnknownTokenForbidden: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := newAPI(t, options, devices(3)...)
				config := newConfig(t, api)
				mustRead(t, newClient(t, config))
				editContext(t, config, changes{"session_context.token": "0123"})
				time.Sleep(time.Minute)
				client := newClient(t, config)
				mustRead(t, client)
				mustRead(t, client)
				if got := api.Sessions(); got != 2 {
					t.Errorf("%d sessions, want 2", got)
				}
			})
		})
	}
}

func TestSessionThatBunqClosesAtOnceIsReplacedLessAndLessOften(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, bunqtest.Options{})
		refusing := count(answering(api, bunq.ListDeviceServers, failing(http.StatusUnauthorized, nil, describe("Insufficient authorisation."))))
		client := newClient(t, newConfig(t, refusing))
		for range 60 { // whether a login is due or not, the news is what bunq says of the new session
			_, err := list(t.Context(), client)
			expectReason(t, err, bunq.ReasonUnauthorized)
			time.Sleep(5 * time.Second)
		}
		_, logins := refusing.seen("POST /v1/session-server")
		if diff := cmp.Diff([]float64{30, 60, 120}, pauses(logins)); diff != "" {
			t.Errorf("pauses between logins, -want +got:\n%s", diff)
		}
	})
}

func TestDeviceServerThatBunqRefusesToEverySessionCostsOneMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := count(answering(newAPI(t, bunqtest.Options{}), bunq.ReadDeviceServer, failing(http.StatusForbidden, nil, describe("Insufficient authorisation."))))
		client := newClient(t, newConfig(t, api))
		for range 240 { // an hour
			mustRead(t, client)
			_, err := client.DeviceServer(t.Context(), 99)
			if e := apiError(t, err); e.StatusCode != http.StatusForbidden && e.Reason != bunq.ReasonRateLimited {
				t.Errorf("the error is %v", err)
			}
			time.Sleep(15 * time.Second)
		}
		if logins, _ := api.seen("POST /v1/session-server"); len(logins) != 2 {
			t.Errorf("%d sessions, want 2", len(logins))
		}
	})
}

// loggedInOnce returns a client with a session of ten minutes, whose further logins are answered as given.
func loggedInOnce(t *testing.T, login http.HandlerFunc) *bunq.Client {
	t.Helper()
	api := shortSessions(t, bunqtest.Options{}, 10*time.Minute)
	config := newConfig(t, api)
	mustRead(t, newClient(t, config))
	config.Transport = bunqtest.Transport(answering(api, bunq.CreateSessionServer, login))
	return newClient(t, config)
}

func TestSessionThatHasNotEndedIsUsedWhileNoOtherCanBeHad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := loggedInOnce(t, failing(http.StatusServiceUnavailable, nil, ""))
		time.Sleep(9*time.Minute + 45*time.Second)
		mustRead(t, client)
		if login := client.Login(); login.State != bunq.LoginOK {
			t.Errorf("before its end, the login is %+v", login)
		}
		time.Sleep(15 * time.Second)
		mustRead(t, client) // with the installation
		login := client.Login()
		if e := apiError(t, login.Err); login.State != bunq.LoginUnreachable || e.Operation != bunq.CreateSessionServer || e.Reason != bunq.ReasonMaintenance {
			t.Errorf("after its end, the login is %+v", login)
		}
	})
}

func TestSessionThatHasNotEndedIsUsedWhileALoginHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := loggedInOnce(t, hanging)
		time.Sleep(9*time.Minute + 40*time.Second)
		ctx, cancel := contextFor(t, 8*time.Second)
		defer cancel()
		start := time.Now()
		if _, err := list(ctx, client); err != nil {
			t.Errorf("with a session that lasts: %v", err)
		}
		if took := time.Since(start); took != 4*time.Second {
			t.Errorf("it took %s, want half of its time for the login", took)
		}
		time.Sleep(time.Minute) // for the login to give up
	})
}

func TestSessionThatAnSDKRenewedInTheFileIsUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := shortSessions(t, bunqtest.Options{}, 10*time.Minute)
		config := newConfig(t, api)
		client, other := newClient(t, config), newClient(t, config)
		mustRead(t, client)
		time.Sleep(10 * time.Minute)
		mustRead(t, other)
		editContext(t, config, changes{"proxy_url": "http://proxy.example"})
		mustRead(t, client)
		if got := api.Sessions(); got != 2 {
			t.Errorf("%d sessions, want the first and the one of the other program", got)
		}
		time.Sleep(10 * time.Minute)
		mustRead(t, client)
		if got := readContextFile(t, config)["proxy_url"]; got != "http://proxy.example" {
			t.Errorf("what the other program wrote meanwhile has become %v", got)
		}
	})
}

func TestSessionShorterThanTheLeewayIsUsedToItsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := count(shortSessions(t, bunqtest.Options{}, 20*time.Second))
		client := newClient(t, newConfig(t, api))
		mustRead(t, client)
		time.Sleep(19 * time.Second)
		mustRead(t, client)
		time.Sleep(time.Second)
		mustRead(t, client) // with the installation
		const want = "POST session-server: rate_limited: bunq allows one login in 30 s, and the last one is not that long ago"
		if login := client.Login(); login.State != bunq.LoginRateLimited || login.Err.Error() != want || apiError(t, login.Err).RetryAfter != 10*time.Second {
			t.Errorf("the login is %+v; want %s, 10s", login, want)
		}
		time.Sleep(10 * time.Second)
		mustRead(t, client)
		_, logins := api.seen("POST /v1/session-server")
		if apart(t, logins); len(logins) != 2 {
			t.Errorf("%d logins, want 2", len(logins))
		}
	})
}

// expiry_time has no zone. Not parallel: it changes the program's.
func TestSessionThatEndsInTheHourThatComesTwiceIsUsed(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	local := time.Local
	time.Local = zone
	defer func() { time.Local = local }()
	synctest.Test(t, func(t *testing.T) {
		api := shortSessions(t, bunqtest.Options{}, 20*time.Minute)
		client := newClient(t, newConfig(t, api))
		time.Sleep(time.Until(time.Date(2000, 10, 29, 4, 50, 0, 0, time.UTC)))
		for range 3 * 12 { // three hours around the change
			mustRead(t, client)
			if login := client.Login(); login.State != bunq.LoginOK {
				t.Errorf("at %s the login is %+v", time.Now().UTC(), login)
			}
			time.Sleep(5 * time.Minute)
		}
	})
}
