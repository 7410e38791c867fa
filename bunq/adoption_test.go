package bunq_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// lost does what it is asked, and answers something that says nothing of it.
func lost(api http.Handler, status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		api.ServeHTTP(discard{http.Header{}}, r)
		w.WriteHeader(status)
	}
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

func TestDeviceServerWhoseAnswerWasLostIsFoundAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options bunqtest.Options
		status  int
	}{
		"gateway":              {bunqtest.Options{}, http.StatusBadGateway},
		"unsigned answer":      {bunqtest.Options{}, http.StatusOK},
		"maintenance":          {bunqtest.Options{}, 491},
		"gateway's patience":   {bunqtest.Options{}, http.StatusRequestTimeout},
		"no look before":       {bunqtest.Options{BareInstallationRefused: true}, http.StatusBadGateway},
		"own in the list only": {bunqtest.Options{OwnInstallationOnly: true, InstallationTokenReads: bunqtest.ReadsList}, http.StatusBadGateway},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					api := newAPI(t, test.options, devices(3)...)
					api.AddDeviceServer(1, bunq.DeviceServer{ // of an installation before this one
						ID: 900, Created: time.Now().Add(-time.Hour), Updated: time.Now(), Description: "bunq_exporter", Status: bunq.StatusActive,
					})
					config := newConfig(t, api)
					failing := config
					failing.Transport = bunqtest.Transport(answering(api, bunq.CreateDeviceServer, lost(api, test.status)))
					client := newClient(t, failing)
					if _, err := list(t.Context(), client); apiError(t, err).Operation != bunq.CreateDeviceServer {
						t.Errorf("the error is %v", err)
					}
					time.Sleep(time.Minute)
					if restart {
						config.Description = "another by now"
						client = newClient(t, config)
					}
					mustRead(t, client)
					if got := api.Requests(bunq.CreateDeviceServer); got != 1 {
						t.Errorf("registered %d times, want once", got)
					}
					if got, want := client.Login().DeviceServerID, api.DeviceServers()[0].ID; got != want || want == 900 {
						t.Errorf("own device server is %d, want %d", got, want)
					}
					if document := readContextFile(t, config); document["device_server_requested"] != nil {
						t.Errorf("the file still says that the answer is missing: %v", document["device_server_requested"])
					}
				})
			})
		}
	}
}

// Another program may have named its own likewise, and bunq may show other words than it was given, or no time.
func TestDeviceServerWhoseAnswerWasLostIsNotMistakenForAnothersNorMadeTwice(t *testing.T) {
	t.Parallel()
	for name, shown := range map[string]string{
		"another's of the same name": "",
		"trimmed":                    `"description":"bunq","created":"2000-01-01 00:00:00.5"`,
		"without a time":             `"description":"bunq_exporter"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := newAPI(t, bunqtest.Options{})
				config := newConfig(t, api)
				failing := config
				failing.Transport = bunqtest.Transport(answering(api, bunq.CreateDeviceServer, lost(api, http.StatusBadGateway)))
				_, err := list(t.Context(), newClient(t, failing))
				expectReason(t, err, bunq.ReasonServer)
				own := api.DeviceServers()[0].ID
				want, registrations := any(float64(own)), 2
				if shown == "" {
					time.Sleep(time.Minute)
					mustRead(t, newClient(t, newConfig(t, api)))
				} else {
					want, registrations = nil, 1 // as in an SDK's context
					config.Transport = bunqtest.Transport(answering(api, bunq.ListDeviceServers, func(w http.ResponseWriter, r *http.Request) {
						api.Answer(w, r, http.StatusOK, fmt.Appendf(nil, `{"Response":[{"DeviceServer":{"id":%d,"status":"ACTIVE",%s}}]}`, own, shown))
					}))
				}
				time.Sleep(2 * time.Minute)
				mustRead(t, newClient(t, config))
				document := readContextFile(t, config)
				if got := document["device_server_id"]; got != want || document["device_server_requested"] != nil {
					t.Errorf("own device server is %v, want %v; %v is still looked for", got, want, document["device_server_requested"])
				}
				if got := api.Requests(bunq.CreateDeviceServer); got != registrations {
					t.Errorf("registered %d times, want %d", got, registrations)
				}
			})
		})
	}
}

func TestRegistrationThatBunqMayBeAtWorkOnIsGivenAMinute(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options bunqtest.Options
		then    string // the error after it; "": it is sent again
	}{
		"lost on its way": {},
		"no look before":  {options: bunqtest.Options{BareInstallationRefused: true}, then: "to begin anew"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := newAPI(t, test.options, devices(3)...)
				config := newConfig(t, api)
				down := config
				down.Transport = bunqtest.Transport(answering(api, bunq.CreateDeviceServer, failing(http.StatusBadGateway, nil, "")))
				_, err := list(t.Context(), newClient(t, down))
				expectReason(t, err, bunq.ReasonServer)
				client := newClient(t, config)
				for range 4 {
					_, err := list(t.Context(), client)
					if want := `bunq may still be making the device server "bunq_exporter": it is looked for on each scrape, and asked for anew from 2000-01-01 00:01:00 UTC on`; err == nil || err.Error() != want {
						t.Errorf("the error is %v, want %s", err, want)
					}
					time.Sleep(15 * time.Second)
				}
				if test.then != "" {
					if _, err := list(t.Context(), client); err == nil || !strings.Contains(err.Error(), test.then) {
						t.Errorf("the error is %v, want %s", err, test.then)
					}
					return
				}
				mustRead(t, client)
				if got := len(api.DeviceServers()); got != 3+1 {
					t.Errorf("%d device servers, want the three and one more", got)
				}
			})
		})
	}
}

// Each may make a device server that nobody is told of.
func TestRegistrationsThatKeepFailingAreSentLessAndLessOften(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := count(answering(newAPI(t, bunqtest.Options{}), bunq.CreateDeviceServer, failing(http.StatusInternalServerError, nil, "")))
		client := newClient(t, newConfig(t, api))
		for range 80 { // twenty minutes
			_, _ = list(t.Context(), client)
			time.Sleep(15 * time.Second)
		}
		_, tries := api.seen("POST /v1/device-server")
		if diff := cmp.Diff([]float64{60, 60, 120, 240, 300, 300}, pauses(tries)); diff != "" {
			t.Errorf("pauses, -want +got:\n%s", diff)
		}
	})
}

func TestRegistrationThatCertainlyMadeNothingIsSentAgainWithoutALook(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fail func(*bunq.Config)
		want bunq.Reason
	}{
		"refused": {func(config *bunq.Config) {
			config.APIKey = func() (string, error) { return "sandbox_wrong", nil }
		}, bunq.ReasonCredentials},
		"never sent": {func(config *bunq.Config) {
			api := config.Transport
			config.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				if strings.HasSuffix(r.URL.Path, "/device-server") {
					return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
				}
				return api.RoundTrip(r)
			})
		}, bunq.ReasonNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				config := newConfig(t, newAPI(t, bunqtest.Options{InstallationTokenReads: bunqtest.ReadsNothing}))
				failing := config
				test.fail(&failing)
				_, err := list(t.Context(), newClient(t, failing))
				expectReason(t, err, test.want)
				mustRead(t, newClient(t, config))
			})
		})
	}
}

// Without a device server of its installation bunq opens no session, so one that is opened tells that there is one.
func TestWhereBunqDoesNotLetTheInstallationLookALoginFindsTheDeviceServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, bunqtest.Options{InstallationTokenReads: bunqtest.ReadsNothing})
		config := newConfig(t, api)
		config.Transport = bunqtest.Transport(answering(api, bunq.CreateDeviceServer, lost(api, http.StatusBadGateway)))
		_, err := list(t.Context(), newClient(t, config))
		expectReason(t, err, bunq.ReasonServer)
		client := newClient(t, config)
		mustRead(t, client)
		if got, want := client.Login().DeviceServerID, api.DeviceServers()[0].ID; got != want {
			t.Errorf("own device server is %d, want %d", got, want)
		}
		if got := api.Requests(bunq.CreateDeviceServer); got != 1 {
			t.Errorf("registered %d times, want once", got)
		}
	})
}

func TestWhereBunqLetsTheInstallationNeitherLookNorLogInAPersonMustDecide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, bunqtest.Options{InstallationTokenReads: bunqtest.ReadsNothing})
		config := newConfig(t, api)
		config.Transport = bunqtest.Transport(answering(api, bunq.CreateDeviceServer, func(w http.ResponseWriter, r *http.Request) {
			lost(api, http.StatusBadGateway)(w, r)
			api.SetStatus(api.DeviceServers()[0].ID, bunq.StatusNeedsConfirmation)
		}))
		client := newClient(t, config)
		_, err := list(t.Context(), client)
		expectReason(t, err, bunq.ReasonServer)
		for range 2 {
			time.Sleep(time.Minute)
			_, err = list(t.Context(), client)
			if state := client.Login().State; state != bunq.LoginUnknown {
				t.Errorf("the login state is %s", state)
			}
			for _, want := range []string{`it is not known whether bunq has made the device server "bunq_exporter"`, config.ContextFile, "device_server_id", "make it ACTIVE there", "move that file away"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q: %v", want, err)
				}
			}
		}
		editContext(t, config, changes{"device_server_id": api.DeviceServers()[0].ID})
		api.SetStatus(api.DeviceServers()[0].ID, bunq.StatusActive)
		time.Sleep(5 * time.Minute)
		mustRead(t, client) // without a restart
		if got := api.Requests(bunq.CreateDeviceServer); got != 1 {
			t.Errorf("registered %d times, want once", got)
		}
	})
}

func TestLoginThatTakesLongerThanAReadingSucceeds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, bunqtest.Options{})
		client := newClient(t, newConfig(t, answering(api, bunq.CreateSessionServer, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(6 * time.Second)
			api.ServeHTTP(w, r)
		})))
		for i := range 4 {
			ctx, cancel := contextFor(t, 5*time.Second)
			_, err := list(ctx, client)
			cancel()
			if i == 0 && err == nil || i > 0 && err != nil {
				t.Errorf("reading %d: the error is %v, want one for the first alone", i, err)
			}
			time.Sleep(2 * time.Second)
		}
		if got := api.Sessions(); got != 1 {
			t.Errorf("%d sessions, want 1", got)
		}
	})
}
