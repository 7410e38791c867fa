package bunq_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// pauses returns the times between, in seconds.
func pauses(times []time.Time) (seconds []float64) {
	for i := 1; i < len(times); i++ {
		seconds = append(seconds, times[i].Sub(times[i-1]).Seconds())
	}
	return seconds
}

// Logins share their limit with every other program behind the address, and each refused one may count against it.
func TestWhatBunqRefusesOfAHandshakeIsSentLessAndLessOften(t *testing.T) {
	t.Parallel()
	bank() // outside of the bubble
	key := failing(http.StatusBadRequest, nil, describe("User credentials are incorrect. Incorrect API key or IP address."))
	notInstalled := changes{"session_context": nil, "device_server_id": 0, "installation_context": nil}
	for name, test := range map[string]struct {
		operation bunq.Operation
		context   changes
		answer    http.HandlerFunc
		reason    bunq.Reason
		state     bunq.LoginState
	}{
		"key of a registration":            {bunq.CreateDeviceServer, notRegistered, key, bunq.ReasonCredentials, bunq.LoginCredentialsRefused},
		"key of a login":                   {bunq.CreateSessionServer, notLoggedIn, key, bunq.ReasonCredentials, bunq.LoginCredentialsRefused},
		"installation":                     {bunq.CreateInstallation, notInstalled, failing(http.StatusBadRequest, nil, describe("No.")), bunq.ReasonClient, bunq.LoginUnknown},
		"installation, as a gateway might": {bunq.CreateInstallation, notInstalled, failing(http.StatusForbidden, nil, "<html>"), bunq.ReasonUnauthorized, bunq.LoginUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := count(answering(bank().api, test.operation, test.answer))
				config, key := restartConfig(t, api, contextWith(t, test.context)), apiKey
				config.APIKey = func() (string, error) { return key, nil }
				client := newClient(t, config)
				for range 4 * 60 {
					if e := apiError(t, loginError(t, client)); e.Operation != test.operation || e.Reason != test.reason {
						t.Errorf("the error is %v", e)
					}
					if login := client.Login(); login.State != test.state {
						t.Errorf("the login is %+v, want %s", login, test.state)
					}
					time.Sleep(5 * time.Second)
				}
				key = "sandbox_another" // is news
				_ = loginError(t, client)
				_, tries := api.seen("POST")
				if diff := cmp.Diff([]float64{30, 60, 120, 240, 300, 300, 150}, pauses(tries)); diff != "" {
					t.Errorf("pauses, -want +got:\n%s", diff)
				}
			})
		})
	}
}

// What bunq shows an installation may differ from what it knows.
func TestKeyIsShownAgainThoughBunqDoesNotShowTheOwnDeviceServer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		hides   bunq.Operation
		answer  func(*bunqtest.Server) http.HandlerFunc
		changed changes
	}{
		"empty list": {bunq.ListDeviceServers, func(api *bunqtest.Server) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				api.Answer(w, r, http.StatusOK, []byte(`{"Response":[]}`))
			}
		}, changes{"device_server_id": nil}},
		"404": {bunq.ReadDeviceServer, func(*bunqtest.Server) http.HandlerFunc {
			return failing(http.StatusNotFound, nil, describe("DeviceServer not found."))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newProgram(t, bunqtest.Options{})
				editContext(t, p.config, test.changed)
				moved(t, p)
				away := p.config.Transport
				home := bunqtest.Transport(p.api)
				hidden := bunqtest.Transport(answering(p.api, test.hides, test.answer(p.api)))
				transport := away
				p.config.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
					if r.Method == http.MethodGet {
						return hidden.RoundTrip(r)
					}
					return transport.RoundTrip(r)
				})
				client := newClient(t, p.config)
				for range 80 { // twenty minutes
					_, _ = list(t.Context(), client)
					if login := client.Login(); login.State != bunq.LoginDeviceNotActive {
						t.Errorf("the login is %+v", login)
					}
					time.Sleep(15 * time.Second)
				}
				transport = home
				for range 20 { // five more
					_, _ = list(t.Context(), client)
					time.Sleep(15 * time.Second)
				}
				if login := client.Login(); login.State != bunq.LoginOK {
					t.Errorf("the login is %+v", login)
				}
			})
		})
	}
}

func TestOwnDeviceServerThatIsNotActiveIsWatchedAndTheKeyShownAgainOnceItIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := shortSessions(t, bunqtest.Options{}, 10*time.Minute)
		counted := count(api)
		client := newClient(t, newConfig(t, counted))
		mustRead(t, client)
		own := client.Login().DeviceServerID
		api.SetStatus(own, bunq.StatusBlocked)
		time.Sleep(time.Hour)
		for range 60 {
			mustRead(t, client) // with the installation
			if login := client.Login(); login.State != bunq.LoginDeviceNotActive {
				t.Errorf("the login is %+v", login)
			}
			time.Sleep(5 * time.Second)
		}
		if posts, _ := counted.seen("POST /v1/session-server"); len(posts) != 1+4 {
			t.Errorf("%d logins, want the first and four in five minutes, since what bunq shows may be wrong", len(posts))
		}
		api.SetStatus(own, bunq.StatusActive)
		time.Sleep(30 * time.Second)
		mustRead(t, client)
		if login := client.Login(); login.State != bunq.LoginOK || login.Err != nil {
			t.Errorf("with the device server ACTIVE again, the login is %+v", login)
		}
	})
}
