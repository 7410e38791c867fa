package bunq_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

func TestREADMESaysWhatTheLogSaysOfEveryLoginState(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[bunq.LoginState]bool{}
	for _, e := range bunq.Explanations() {
		told[e.State] = true
		if row := "\n| `" + string(e.State) + "` | " + e.Sentence + " |\n"; !strings.Contains(string(readme), row) {
			t.Errorf("the README lacks %s", row)
		}
	}
	for _, state := range bunq.LoginStates() {
		if !told[state] {
			t.Errorf("%s is explained nowhere", state)
		}
	}
}

// program is one that was registered and logged in, and has lost its session a minute ago.
type program struct {
	api    *bunqtest.Server
	config bunq.Config
	own    int64 // its device server
}

func newProgram(t *testing.T, options bunqtest.Options) *program {
	t.Helper()
	api := newAPI(t, options)
	config := newConfig(t, api)
	client := newClient(t, config)
	mustRead(t, client)
	editContext(t, config, notLoggedIn)
	time.Sleep(time.Minute)
	return &program{api: api, config: config, own: client.Login().DeviceServerID}
}

func (p *program) useKey(key string) { p.config.APIKey = func() (string, error) { return key, nil } }

// moved gives the program another address than the one that it was registered from.
func moved(_ *testing.T, p *program) {
	p.config.Transport = bunqtest.Transport(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = "198.51.100.7:1234"
		p.api.ServeHTTP(w, r)
	}))
}

// begun is for a program that has yet to register, with the key given.
func begun(key string) func(*testing.T, *program) {
	return func(t *testing.T, p *program) {
		p.config = newConfig(t, p.api)
		p.useKey(key)
	}
}

func keyless(t *testing.T, p *program) {
	editContext(t, p.config, installationOnly)
	p.config.APIKey = nil
}

// standing gives the program's device server a status, beside others' on the same account.
func standing(own bunq.Status, others ...bunq.Status) func(*testing.T, *program) {
	return func(_ *testing.T, p *program) {
		p.api.SetStatus(p.own, own)
		for i, status := range others {
			p.api.AddDeviceServer(1, bunq.DeviceServer{ID: int64(i + 1), Description: "another", Status: status})
		}
	}
}

// ofAnSDK is for a program whose context does not say which device server is its own, and whose address has changed.
func ofAnSDK(own bunq.Status, others ...bunq.Status) func(*testing.T, *program) {
	return func(t *testing.T, p *program) {
		moved(t, p)
		standing(own, others...)(t, p)
		editContext(t, p.config, changes{"device_server_id": nil})
	}
}

func installationUnknown(t *testing.T, p *program) {
	editContext(t, p.config, changes{"installation_context.token": "0123"})
}

// loginAnswered is for a bunq that answers logins, and nothing else, with something of its own.
func loginAnswered(answer http.HandlerFunc) func(*testing.T, *program) {
	return func(_ *testing.T, p *program) {
		p.config.Transport = bunqtest.Transport(answering(p.api, bunq.CreateSessionServer, answer))
	}
}

func unplugged(_ *testing.T, p *program) {
	api := p.config.Transport
	p.config.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPost {
			return nil, io.ErrUnexpectedEOF
		}
		return api.RoundTrip(r)
	})
}

// registering is for a program whose registration was answered with the status given.
func registering(status int) func(*testing.T, *program) {
	return func(t *testing.T, p *program) {
		begun(apiKey)(t, p)
		begins := p.config
		begins.Transport = bunqtest.Transport(answering(p.api, bunq.CreateDeviceServer, failing(status, nil, "")))
		if e := apiError(t, loginError(t, newClient(t, begins))); e.StatusCode != status {
			t.Errorf("the error is %v", e)
		}
	}
}

func TestEveryCauseOfAMissingSessionIsToldApart(t *testing.T) {
	t.Parallel()
	const (
		login        = "POST session-server: "
		refused      = login + "credentials, HTTP status 400"
		registration = "POST device-server: credentials, HTTP status 400"
		notYet       = "has not been asked"
		notActive    = "own device server is not ACTIVE"
		notTold      = "does not say which"
		installation = "does not take the installation's token:"
	)
	likely, nothing := bunqtest.Options{}, bunqtest.Options{InstallationTokenReads: bunqtest.ReadsNothing}
	tests := []struct {
		name        string
		options     bunqtest.Options
		happens     func(*testing.T, *program)
		state       bunq.LoginState
		explanation string // a part that no other has
		err         string // its beginning
		reads       bool   // all the same
	}{
		{"nothing is wrong", likely, standing(bunq.StatusActive), bunq.LoginOK, "there is a session", "", true},

		{"moved", likely, moved, bunq.LoginCredentialsRefused, "device server itself is ACTIVE", refused, true},
		{"moved, and bunq does not let it look", nothing, moved, bunq.LoginCredentialsRefused, notTold, refused, false},
		{"blocked, and bunq does not let it look", nothing, standing(bunq.StatusBlocked), bunq.LoginCredentialsRefused, notTold, refused, false},
		{"wrong key at first", likely, begun("sandbox_wrong"), bunq.LoginCredentialsRefused, "so no device server is registered", registration, false},
		{"production's key in the sandbox", likely, begun("0123456789abcdef"), bunq.LoginCredentialsRefused, "looks like one of production", registration, false},
		{"the sandbox's key in production", likely, func(t *testing.T, p *program) {
			var err error
			if p.api, err = bunqtest.New(bunqtest.Options{Environment: bunq.Production}); err != nil {
				t.Fatal(err)
			}
			begun(apiKey)(t, p)
			p.config.Environment = bunq.Production
		}, bunq.LoginCredentialsRefused, "one of the sandbox", registration, false},

		{"BLOCKED", likely, standing(bunq.StatusBlocked), bunq.LoginDeviceNotActive, notActive, refused, true},
		{"NEEDS_CONFIRMATION", likely, standing(bunq.StatusNeedsConfirmation), bunq.LoginDeviceNotActive, notActive, refused, true},
		{"OBSOLETE", likely, standing(bunq.StatusObsolete), bunq.LoginDeviceNotActive, notActive, refused, true},
		{"another is ACTIVE", likely, standing(bunq.StatusBlocked, bunq.StatusActive), bunq.LoginDeviceNotActive, notActive, refused, true},
		{"not shown", likely, func(t *testing.T, p *program) {
			registering(http.StatusBadRequest)(t, p)
			editContext(t, p.config, changes{"device_server_id": nil}) // an SDK's context, which says nothing of it
		}, bunq.LoginDeviceNotActive, "shows no device server", refused, true},
		{"not shown, but an older one", likely, func(t *testing.T, p *program) {
			standing(bunq.StatusBlocked, bunq.StatusActive)(t, p)
			editContext(t, p.config, changes{"device_server_id": p.own - 1}) // between the two
		}, bunq.LoginDeviceNotActive, "shows no device server", refused, true},

		{"unknown own, all ACTIVE", likely, ofAnSDK(bunq.StatusActive, bunq.StatusActive), bunq.LoginCredentialsRefused, "device server itself is ACTIVE", refused, true},
		{"unknown own, none ACTIVE", likely, ofAnSDK(bunq.StatusBlocked, bunq.StatusObsolete), bunq.LoginDeviceNotActive, notActive, refused, true},
		{"unknown own, one ACTIVE", likely, ofAnSDK(bunq.StatusBlocked, bunq.StatusActive), bunq.LoginCredentialsRefused, notTold, refused, true},

		{"installation unknown", likely, installationUnknown, bunq.LoginInstallationRefused, installation, login + "unauthorized, HTTP status 401", false},
		{"installation forbidden", bunqtest.Options{UnknownTokenForbidden: true}, installationUnknown, bunq.LoginInstallationRefused, installation, login + "unauthorized, HTTP status 403", false},

		{"another logged in", likely, func(t *testing.T, p *program) {
			mustRead(t, newClient(t, newConfig(t, p.api))) // from the same address
		}, bunq.LoginRateLimited, "one login in 30 seconds", login + "rate_limited, HTTP status 429", true},
		{"restarted", likely, func(t *testing.T, p *program) {
			mustRead(t, newClient(t, p.config))
			editContext(t, p.config, notLoggedIn)
		}, bunq.LoginRateLimited, "one login in 30 seconds", login + "rate_limited: bunq allows one login in 30 s", true},

		{"no answer", likely, loginAnswered(hanging), bunq.LoginUnreachable, "does not answer the login", login + "timeout: context deadline exceeded", true},
		{"no network", likely, unplugged, bunq.LoginUnreachable, "does not answer the login", login + "network: unexpected EOF", true},
		{"maintenance", likely, loginAnswered(failing(http.StatusServiceUnavailable, nil, "")), bunq.LoginUnreachable, "does not answer the login", login + "maintenance, HTTP status 503", true},

		{"no key", likely, keyless, bunq.LoginNoKey, "so no session is opened", "", true},
		{"no key, and it may not read", nothing, keyless, bunq.LoginInstallationRefused, "token for reading", "GET device-server: unauthorized, HTTP status 401", false},
		{"neither key nor installation", likely, func(t *testing.T, p *program) {
			p.config = newConfig(t, p.api)
			p.config.APIKey = nil
		}, bunq.LoginNoKey, "neither an API key nor a registered installation", "there is neither an API key nor", false},

		{"registration unanswered", likely, registering(http.StatusBadGateway), bunq.LoginUnreachable, "does not answer the login", "bunq may still be making the device server", false},
		{"an odd answer", likely, loginAnswered(failing(http.StatusTeapot, nil, describe("No."))), bunq.LoginUnknown, "none of bunq's usual causes", login + `client, HTTP status 418: bunq says "No."`, true},
		{"damaged file", likely, func(t *testing.T, p *program) {
			if err := os.WriteFile(p.config.ContextFile, []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, bunq.LoginUnknown, "cannot use its API context", "the API context file ", false},
	}
	for _, e := range bunq.Explanations() {
		told := strings.Contains(e.Sentence, notYet) || strings.Contains(e.Sentence, "waits before it logs in") // for another process: lock_test.go
		for _, test := range tests {
			told = told || e.State == test.state && strings.Contains(e.Sentence, test.explanation)
		}
		if !told {
			t.Errorf("no test for %s: %s", e.State, e.Sentence)
		}
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newProgram(t, test.options)
				test.happens(t, p)
				client := newClient(t, p.config)
				if login := client.Login(); login.State != bunq.LoginUnknown || !strings.Contains(login.Explanation, notYet) {
					t.Errorf("before the first reading the login is %+v", login)
				}
				for range 2 { // the second within the time that bunq wants between logins
					_, err := list(t.Context(), client)
					login := client.Login()
					if login.State != test.state || !strings.Contains(login.Explanation, test.explanation) {
						t.Errorf("the login is %s (%s), want %s (… %s …)", login.State, login.Explanation, test.state, test.explanation)
					}
					if (login.Err == nil) != (test.err == "") || login.Err != nil && !strings.HasPrefix(login.Err.Error(), test.err) {
						t.Errorf("it follows from %v, want %s", login.Err, test.err)
					}
					var answered *bunq.Error
					if errors.As(login.Err, &answered) && answered.StatusCode != 0 &&
						(answered.ResponseID == "" || !strings.Contains(login.Err.Error(), "(response id "+answered.ResponseID+")")) {
						t.Errorf("%v does not name the answer with the id %q", login.Err, answered.ResponseID)
					}
					if test.reads && err != nil || !test.reads && (err == nil || !errors.Is(err, login.Err)) {
						t.Errorf("the reading ends with %v, want it to succeed: %v, or to say what the login does", err, test.reads)
					}
					time.Sleep(5 * time.Second)
				}
			})
		})
	}
}

func TestLoginStateDoesNotChangeWithEachTryOfWhatIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProgram(t, bunqtest.Options{InstallationTokenReads: bunqtest.ReadsNothing})
		keyless(t, p)
		client := newClient(t, p.config)
		for range 40 {
			_, _ = list(t.Context(), client)
			if login := client.Login(); login.State != bunq.LoginInstallationRefused {
				t.Errorf("%s: the login is %s", time.Now().Format(time.TimeOnly), login.State)
			}
			time.Sleep(15 * time.Second)
		}
	})
}

func TestLoginStateDoesNotChangeWithLooksThatFail(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		synctest.Test(t, func(t *testing.T) {
			p := newProgram(t, bunqtest.Options{})
			standing(bunq.StatusBlocked)(t, p)
			looks := 0
			p.config.Transport = bunqtest.Transport(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/v1/device-server/") {
					if looks++; looks%3 != 1 {
						failing(status, nil, "")(w, r)
						return
					}
				}
				p.api.ServeHTTP(w, r)
			}))
			client := newClient(t, p.config)
			for range 240 { // an hour
				_, _ = list(t.Context(), client)
				if login := client.Login(); login.State != bunq.LoginDeviceNotActive {
					t.Errorf("%d, %s: the login is %s", status, time.Now().Format(time.TimeOnly), login.State)
				}
				time.Sleep(15 * time.Second)
			}
		})
	}
}

func TestLoginStateDoesNotChangeWhenAnotherAccountsLoginComesFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, told := newProgram(t, bunqtest.Options{}), &recorder{}
		standing(bunq.StatusBlocked)(t, p)
		p.config.Observe = told.observe
		clients := accounts(t, 3, p.config)
		for _, client := range clients { // each has the time of a login for itself
			_ = loginError(t, client)
			time.Sleep(time.Minute)
		}
		for range 3 {
			time.Sleep(time.Hour) // all may try again
			told.calls = nil
			scrapeAtOnce(t, clients)
			for i, client := range clients {
				if login := client.Login(); login.State != bunq.LoginDeviceNotActive {
					t.Errorf("the login of account %d is %s: %v", i, login.State, login.Err)
				}
			}
			sent := map[bool]int{}
			for _, call := range told.calls {
				if call.Operation == bunq.CreateSessionServer {
					sent[call.RequestID != ""]++
				}
			}
			if sent[true] != 1 || sent[false] != 2 {
				t.Errorf("%d logins are sent and %d turned away, want 1 and 2", sent[true], sent[false])
			}
		}
	})
}
