package session_test

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/bunq/session"
)

// withExpired runs a test with a program whose session has ended.
func withExpired(t *testing.T, options bunqtest.Options, test func(*testing.T, *program, *recorder)) {
	t.Helper()
	withAPI(t, options, time.Hour, func(t *testing.T, api *recorder) {
		p := start(t, api)
		p.expect(t, session.OK)
		p.stop()
		time.Sleep(2 * time.Hour)
		test(t, p.next(t, api), api)
	})
}

// own returns a function that sets the status of the exporter's own device server.
func own(status bunq.Status) func(*recorder) {
	return func(api *recorder) { api.SetStatus(api.DeviceServers()[0].ID, status) }
}

func TestLoginStates(t *testing.T) {
	for name, test := range map[string]struct {
		options bunqtest.Options
		change  func(*recorder)
		edit    map[string]any // of the context file
		want    session.LoginState
	}{
		"ok": {change: func(*recorder) {}, want: session.OK},
		"clock set back": {
			change: func(*recorder) {}, edit: map[string]any{"session_requested": time.Now()}, // the bubble's year is 2000
			want: session.OK,
		},
		"blocked":       {change: own(bunq.StatusBlocked), want: session.DeviceNotActive},
		"not confirmed": {change: own(bunq.StatusNeedsConfirmation), want: session.DeviceNotActive},
		"id unknown": {
			change: own(bunq.StatusBlocked), edit: map[string]any{"device_server_id": nil}, want: session.DeviceNotActive,
		},
		"id unknown, one active": {change: func(api *recorder) {
			own(bunq.StatusBlocked)(api)
			api.AddDeviceServer(1, bunq.DeviceServer{ID: 2000, Status: bunq.StatusActive})
		}, edit: map[string]any{"device_server_id": nil}, want: session.CredentialsRefused},
		"on the second page": {change: func(api *recorder) {
			id := api.DeviceServers()[0].ID
			for i := range int64(250) {
				api.AddDeviceServer(1, bunq.DeviceServer{ID: id + 1 + i, Status: bunq.StatusActive})
			}
			api.SetStatus(id, bunq.StatusBlocked)
		}, want: session.DeviceNotActive},
		"hidden": {
			options: bunqtest.Options{InstallationTokenReads: bunqtest.ReadsNothing},
			change:  own(bunq.StatusBlocked), want: session.CredentialsRefused,
		},
		"too many requests": {change: func(api *recorder) {
			api.fail(bunq.CreateSessionServer, 429, "Too many requests.")
		}, want: session.RateLimited},
	} {
		t.Run(name, func(t *testing.T) {
			withExpired(t, test.options, func(t *testing.T, p *program, api *recorder) {
				test.change(api)
				p.edit(t, test.edit)
				p.start(t)
				time.Sleep(time.Minute + 5*time.Second) // further attempts change nothing
				p.expect(t, test.want)
				level := "level=info"
				if test.want != session.OK {
					level = "level=error"
				}
				lines := p.logged("login_state=")
				if len(lines) != 1 || !strings.Contains(lines[0], level) ||
					!strings.Contains(lines[0], "login_state="+test.want.Name) ||
					(p.State().Err == nil) != (test.want == session.OK) {
					t.Errorf("logged %q", lines)
				}
				if test.options.InstallationTokenReads == bunqtest.ReadsListAndOne {
					p.mustRead(t) // with the token of the installation
				}
			})
		})
	}
}

// The next key is tried within 30 s, however long the pause between logins is.
func TestKeyAtFirstStart(t *testing.T) {
	for key, test := range map[string]struct {
		want session.LoginState
		text string // of the error
	}{
		"":           {session.NoKey, "holds no installation: configure an API key"},
		"0123456789": {session.CredentialsRefused, "another environment"},
	} {
		withAPI(t, bunqtest.Options{}, time.Hour, func(t *testing.T, api *recorder) {
			p := setup(t, api)
			var fixed atomic.Bool
			p.config.APIKey = func() (string, error) {
				if fixed.Load() {
					return apiKey, nil
				}
				return key, nil
			}
			p.start(t)
			time.Sleep(10 * time.Minute)
			p.expect(t, test.want)
			err := p.State().Err
			if err == nil || !strings.Contains(err.Error(), test.text) || (len(api.all()) == 0) != (key == "") {
				t.Errorf("the error is %v, the requests are %q", err, api.all())
			}
			fixed.Store(true)
			time.Sleep(31 * time.Second)
			p.expect(t, session.OK)
		})
	}
}

func TestPausesBetweenFailedLogins(t *testing.T) {
	for _, test := range []struct {
		status      int
		description string
		want        []float64
	}{
		{400, rejection, []float64{30, 60, 120, 300, 300, 300}},
		{503, "", slices.Repeat([]float64{30}, 38)},
	} {
		withExpired(t, bunqtest.Options{}, func(t *testing.T, p *program, api *recorder) {
			start := func() { p.start(t) }
			for range 2 {
				api.fail(bunq.CreateSessionServer, test.status, test.description)
				before := len(api.seen(bunq.CreateSessionServer))
				start()
				time.Sleep(19*time.Minute + time.Second)
				if got := pauses(api.seen(bunq.CreateSessionServer)[before:]); !slices.Equal(got, test.want) {
					t.Errorf("status %d: pauses are %v s, want %v", test.status, got, test.want)
				}
				api.answer(bunq.CreateSessionServer, nil)
				time.Sleep(time.Duration(test.want[3]) * time.Second)
				p.expect(t, session.OK)
				start = func() { time.Sleep(time.Until(p.State().Expiry) - 30*time.Second) } // until the next login
			}
		})
	}
}

func TestLoginsAre30SecondsApartAcrossRestarts(t *testing.T) {
	withAPI(t, bunqtest.Options{}, time.Hour, func(t *testing.T, api *recorder) {
		p := setup(t, api)
		api.lose(bunq.CreateSessionServer)
		for range 5 {
			p = p.next(t, api)
			p.limiter = bunq.NewLimiter(bunq.MaxReads) // as a new process
			p = p.next(t, api).start(t)
			time.Sleep(11 * time.Second)
			p.stop()
		}
		if shortest := slices.Min(pauses(api.seen(bunq.CreateSessionServer))); shortest < 30 {
			t.Errorf("logins are %v s apart", shortest)
		}
	})
}

func TestReadRejected(t *testing.T) {
	for status, description := range map[int]string{
		401: "Insufficient authorisation.", 403: "Insufficient authentication.", 400: rejection,
	} {
		t.Run(description, func(t *testing.T) {
			withAPI(t, bunqtest.Options{}, 24*time.Hour, func(t *testing.T, api *recorder) {
				p := start(t, api)
				time.Sleep(time.Minute)
				installation := p.file(t)["installation_context"].(map[string]any)["token"]
				var accepts atomic.Bool
				api.answer(bunq.ListDeviceServers, func(w http.ResponseWriter, r *http.Request) {
					if !accepts.Load() && r.Header.Get("X-Bunq-Client-Authentication") != installation {
						api.Answer(w, r, status, []byte(`{"Error":[{"error_description":"`+description+`"}]}`))
						return
					}
					api.Server.ServeHTTP(w, r)
				})
				for range 20 { // five minutes
					p.mustRead(t)
					time.Sleep(15 * time.Second)
				}
				p.expect(t, session.CredentialsRefused)
				if lines := p.logged("login_state=credentials_refused"); len(lines) != 1 {
					t.Errorf("logged %q, want it once", lines)
				}
				logins := api.seen(bunq.CreateSessionServer)
				if shortest := slices.Min(pauses(logins)); shortest < 30 || len(logins) > 6 {
					t.Errorf("%d logins, %v s apart", len(logins), shortest)
				}
				accepts.Store(true)
				time.Sleep(6 * time.Minute)
				p.expect(t, session.OK)
				p.mustRead(t)
			})
		})
	}
}

func TestSessionClosedEarlyIsReplaced(t *testing.T) {
	withAPI(t, bunqtest.Options{}, 24*time.Hour, func(t *testing.T, api *recorder) {
		p := start(t, api)
		own := p.State().DeviceServerID
		time.Sleep(time.Minute)
		api.SetStatus(own, bunq.StatusBlocked) // ends the session
		api.answer(bunq.CreateSessionServer, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(2 * time.Second)
			api.Server.ServeHTTP(w, r)
		})
		p.mustRead(t)
		p.expect(t, session.Unknown) // until the login ends
		time.Sleep(2 * time.Second)
		p.expect(t, session.DeviceNotActive)
		if !p.State().Expiry.IsZero() {
			t.Errorf("a session is said to end at %v", p.State().Expiry)
		}
		time.Sleep(10 * time.Minute)
		api.SetStatus(own, bunq.StatusActive)
		api.answer(bunq.CreateSessionServer, nil)
		p.Retry()
		p.expect(t, session.OK) // at once
		if n := p.State().Renewals; n != 1 {
			t.Errorf("%d renewals are counted, want 1", n)
		}
		p.mustRead(t)
	})
}

func TestInstallationAlone(t *testing.T) {
	withExpired(t, bunqtest.Options{}, func(t *testing.T, p *program, api *recorder) {
		p.config.APIKey = func() (string, error) { return "", nil }
		p.edit(t, map[string]any{"api_key": nil, "session_context": nil})
		logins, reads := api.Requests(bunq.CreateSessionServer), api.Requests(bunq.ListDeviceServers)
		p.start(t)
		for range 40 {
			p.mustRead(t)
			time.Sleep(15 * time.Second)
		}
		p.expect(t, session.NoKey)
		if more := api.Requests(bunq.CreateSessionServer) - logins; p.State().Err != nil || more != 0 {
			t.Errorf("error %v, %d more logins", p.State().Err, more)
		}
		if more := api.Requests(bunq.ListDeviceServers) - reads; more != 40 {
			t.Errorf("%d requests for 40 reads", more)
		}
		api.fail(bunq.ListDeviceServers, 401, "Insufficient authorisation.")
		for range 8 {
			if err := p.read(t); err == nil {
				t.Error("read succeeded")
			}
			time.Sleep(15 * time.Second)
		}
		p.expect(t, session.InstallationRefused)
		api.answer(bunq.ListDeviceServers, nil)
		time.Sleep(5 * time.Minute)
		p.expect(t, session.NoKey)
		p.mustRead(t)
	})
}
