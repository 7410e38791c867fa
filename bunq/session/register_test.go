package session_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/bunq/session"
)

// expectOne fails the test unless there is one device server of the program, and the context file says so.
func (p *program) expectOne(t *testing.T, api *recorder, registrations int) {
	t.Helper()
	p.expect(t, session.OK)
	if n := len(api.seen(bunq.CreateDeviceServer)); n != registrations {
		t.Errorf("%d registrations were sent, want %d", n, registrations)
	}
	file := p.file(t)
	own := api.DeviceServers()[0].ID
	got, requested := file["device_server_id"], file["device_server_requested"]
	if got != float64(own) || p.State().DeviceServerID != own || requested != nil {
		t.Errorf("own device server is %v in the file and %d in the state, want %d; requested: %v",
			got, p.State().DeviceServerID, own, requested)
	}
}

func TestRegistrationAnswerLost(t *testing.T) {
	for name, options := range map[string]bunqtest.Options{
		"listed":                   {},
		"hidden without a device":  {BareInstallationRefused: true},
		"own in the list only":     {OwnInstallationOnly: true, InstallationTokenReads: bunqtest.ReadsList},
		"installation cannot read": {InstallationTokenReads: bunqtest.ReadsNothing},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart %v", name, restart), func(t *testing.T) {
				withAPI(t, options, time.Hour, func(t *testing.T, api *recorder) {
					api.AddDeviceServer(1, bunq.DeviceServer{ // of an earlier installation
						ID: 900, Created: time.Now().Add(-time.Hour), Description: "bunq_exporter", Status: bunq.StatusActive,
					})
					api.lose(bunq.CreateDeviceServer)
					p := start(t, api)
					p.expect(t, session.Unreachable)
					api.answer(bunq.CreateDeviceServer, nil)
					if restart {
						p.stop()
						p.config.Description = "renamed meanwhile"
						p = p.next(t, api).start(t)
					}
					time.Sleep(time.Minute)
					p.expectOne(t, api, 1)
				})
			})
		}
	}
}

// Another program may use the same description at the same time, and bunq may show another description or no time.
func TestRegistrationAnswerLostAndShownDifferently(t *testing.T) {
	for name, test := range map[string]struct {
		shown string
		id    any
	}{
		"trimmed":        {`"ACTIVE","description":"bunq","created":"2000-01-01 00:00:00.5"`, nil}, // as in an SDK's file
		"without a time": {`"ACTIVE","description":"bunq_exporter"`, 1003.0},
		"unreadable":     {`null`, nil}, // it does not prove that nothing was made; a login does
	} {
		t.Run(name, func(t *testing.T) {
			withAPI(t, bunqtest.Options{}, time.Hour, func(t *testing.T, api *recorder) {
				api.lose(bunq.CreateDeviceServer)
				p := start(t, api)
				shown := `{"Response":[{"DeviceServer":{"id":1003,"status":` + test.shown + `}}]}`
				api.respond(bunq.ListDeviceServers, 200, shown)
				time.Sleep(5 * time.Minute)
				p.expect(t, session.OK)
				if got := p.file(t)["device_server_id"]; got != test.id || len(api.seen(bunq.CreateDeviceServer)) != 1 {
					t.Errorf("own device server is %v, want %v", got, test.id)
				}
			})
		})
	}
}

// A crash between a login that proves the registration and the next save.
func TestRegistrationUnconfirmedWithSession(t *testing.T) {
	withAPI(t, bunqtest.Options{}, time.Hour, func(t *testing.T, api *recorder) {
		p := start(t, api)
		p.stop()
		time.Sleep(time.Minute) // another login is allowed
		p.edit(t, map[string]any{"device_server_id": 0, "device_server_requested": "bunq_exporter"})
		p = p.next(t, api).start(t)
		time.Sleep(time.Minute)
		p.expectOne(t, api, 1)
		if n := len(api.seen(bunq.CreateSessionServer)); n != 1 {
			t.Errorf("%d logins, want the one before the crash", n)
		}
	})
}

// The session proves that the device server is there, but the read that tells its id fails.
func TestRegistrationIDReadLater(t *testing.T) {
	withAPI(t, bunqtest.Options{InstallationTokenReads: bunqtest.ReadsNothing}, time.Hour, func(t *testing.T, api *recorder) {
		api.lose(bunq.CreateDeviceServer)
		p, reads := setup(t, api), 0
		api.answer(bunq.ListDeviceServers, func(w http.ResponseWriter, r *http.Request) {
			if reads++; reads == 2 { // the first one is rejected
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			api.Server.ServeHTTP(w, r)
		})
		p.start(t)
		time.Sleep(2 * time.Minute)
		p.expectOne(t, api, 1)
	})
}

// Where bunq may have made a device server, another one is registered only once it certainly has not.
func TestRegistrationFails(t *testing.T) {
	for status, mayBeMade := range map[int]bool{
		0: false, 400: false, 408: true, 491: true, 499: true, http.StatusBadGateway: true, // 0 is no connection
	} {
		withAPI(t, bunqtest.Options{}, time.Hour, func(t *testing.T, api *recorder) {
			p := setup(t, api)
			var fixed atomic.Bool
			transport := bunqtest.Transport(api)
			p.client = bunq.NewClient(bunq.Config{
				BaseURL: bunq.Sandbox.BaseURL(), UserAgent: "bunq_exporter/test",
				Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					if status == 0 && !fixed.Load() && strings.HasSuffix(r.URL.Path, "/device-server") {
						return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
					}
					return transport.RoundTrip(r)
				}),
			})
			api.fail(bunq.CreateDeviceServer, status, rejection)
			p.start(t)
			fixed.Store(true)
			api.answer(bunq.CreateDeviceServer, nil)
			time.Sleep(58 * time.Second) // bunq may still be at work on it
			if n := len(api.DeviceServers()); (n == 0) != mayBeMade {
				t.Errorf("status %d: %d device servers", status, n)
			}
			time.Sleep(37 * time.Second)
			p.expectOne(t, api, min(status, 1)+1)
			if n := p.State().Registrations; n != 1 {
				t.Errorf("%d registrations are counted, want 1: the first one failed", n)
			}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRegistrationCannotBeKnown(t *testing.T) {
	withAPI(t, bunqtest.Options{InstallationTokenReads: bunqtest.ReadsNothing}, time.Hour, func(t *testing.T, api *recorder) {
		api.answer(bunq.CreateDeviceServer, func(w http.ResponseWriter, r *http.Request) {
			api.Server.ServeHTTP(httptest.NewRecorder(), r)
			api.SetStatus(api.DeviceServers()[0].ID, bunq.StatusNeedsConfirmation)
			w.WriteHeader(http.StatusBadGateway)
		})
		p := start(t, api)
		time.Sleep(3 * time.Minute)
		p.expect(t, session.CredentialsRefused)
		for _, want := range []string{"bunq_exporter", p.config.ContextFile, "device_server_id", "move that file away"} {
			if err := p.State().Err; !strings.Contains(err.Error(), want) {
				t.Errorf("error lacks %q: %v", want, err)
			}
		}
		own := api.DeviceServers()[0].ID
		api.SetStatus(own, bunq.StatusActive)
		p.edit(t, map[string]any{"device_server_id": own})
		time.Sleep(6 * time.Minute)
		p.expectOne(t, api, 1)
	})
}

func TestPermittedIPsRegistered(t *testing.T) {
	withAPI(t, bunqtest.Options{}, time.Hour, func(t *testing.T, api *recorder) {
		p := setup(t, api)
		p.config.PermittedIPs = []string{"203.0.113.9"} // which is not the address of the test
		p.start(t).expect(t, session.CredentialsRefused)
	})
}
