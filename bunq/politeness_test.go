package bunq_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// All programs behind an address share its limits, and a reading that bunq refuses may count against them.
func TestWhatBunqRefusesToTheInstallationIsTriedLessAndLessOften(t *testing.T) {
	t.Parallel()
	const readings = 60 * 60 / 15
	for name, happens := range map[string]func(*testing.T, *program){
		"no key":            keyless,
		"key that is wrong": func(_ *testing.T, p *program) { p.useKey("sandbox_wrong") },
	} {
		for what, reads := range map[string]bunqtest.Reads{"nothing": bunqtest.ReadsNothing, "the list alone": bunqtest.ReadsList} {
			t.Run(name+", may read "+what, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					p := newProgram(t, bunqtest.Options{InstallationTokenReads: reads})
					happens(t, p)
					api := count(p.api)
					p.config.Transport = bunqtest.Transport(api)
					client := newClient(t, p.config)
					for range readings { // an hour
						if _, err := list(t.Context(), client); (err == nil) != (reads == bunqtest.ReadsList) {
							t.Errorf("the list ends with %v", err)
						}
						if _, err := client.DeviceServer(t.Context(), 2); err == nil {
							t.Error("a single one is read")
						}
						time.Sleep(15 * time.Second)
					}
					patient := append([]float64{30, 60, 120, 240}, slices.Repeat([]float64{300}, 10)...)
					_, ones := api.seen("GET /v1/device-server/") // its own device server, too
					if diff := cmp.Diff(patient, pauses(ones)); diff != "" {
						t.Errorf("pauses between readings of one, -want +got:\n%s", diff)
					}
					_, lists := api.seen("GET /v1/device-server?count=200")
					if reads == bunqtest.ReadsList {
						logins, _ := api.seen("POST") // each refused one is looked into
						if want := readings + len(logins); len(lists) != want {
							t.Errorf("%d lists, want %d", len(lists), want)
						}
						return
					}
					if diff := cmp.Diff(patient, pauses(lists)); diff != "" {
						t.Errorf("pauses between lists, -want +got:\n%s", diff)
					}
				})
			})
		}
	}
}

func TestLoginWaitsAsLongAsBunqSays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProgram(t, bunqtest.Options{RetryAfter: true, Penalty: 2 * time.Minute})
		mustRead(t, newClient(t, newConfig(t, p.api))) // another program takes this address's login
		api := count(p.api)
		p.config.Transport = bunqtest.Transport(api)
		client := newClient(t, p.config)
		for range 60 {
			mustRead(t, client)
			time.Sleep(5 * time.Second)
		}
		_, logins := api.seen("POST")
		if diff := cmp.Diff([]float64{120}, pauses(logins)); diff != "" || client.Login().State != bunq.LoginOK {
			t.Errorf("the login is %+v; pauses, -want +got:\n%s", client.Login(), diff)
		}
	})
}

func TestLoginWaitsAsLongAsAnyAnswerSaysButForAnHourAtMost(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status     int
		retryAfter string
		want       float64
	}{
		"maintenance":          {http.StatusServiceUnavailable, "1800", 1800},
		"limit, for years":     {http.StatusTooManyRequests, "2147483647", 3600},
		"maintenance, to 2100": {http.StatusServiceUnavailable, "Fri, 01 Jan 2100 00:00:00 GMT", 3600},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newProgram(t, bunqtest.Options{})
				busy := failing(test.status, map[string]string{"Retry-After": test.retryAfter}, "")
				api := count(answering(p.api, bunq.CreateSessionServer, busy))
				p.config.Transport = bunqtest.Transport(api)
				client := newClient(t, p.config)
				for range 61 * 4 { // an hour and a minute
					mustRead(t, client) // with the installation
					time.Sleep(15 * time.Second)
				}
				_, logins := api.seen("POST")
				if got := pauses(logins); len(got) == 0 || slices.ContainsFunc(got, func(pause float64) bool { return pause != test.want }) {
					t.Errorf("pauses between logins of %v s, want %v s", got, test.want)
				}
			})
		})
	}
}

func TestWithoutAKeyAContextFileThatIsPutInPlaceIsReadWithoutARestart(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]string{"no file at first": "", "installation refused at first": "0123"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := readerConfig(t, bank().api)
			text, err := os.ReadFile(config.ContextFile)
			if err != nil {
				t.Fatal(err)
			}
			if editContext(t, config, changes{"installation_context.token": first}); first == "" {
				if err := os.Remove(config.ContextFile); err != nil {
					t.Fatal(err)
				}
			}
			client := newClient(t, config)
			if got, err := list(t.Context(), client); err == nil {
				t.Fatalf("it reads %v", got)
			}
			if err := os.WriteFile(config.ContextFile, text, 0o600); err != nil {
				t.Fatal(err)
			}
			mustRead(t, client)
		})
	}
}

func TestKeyThatChangesInItsFileIsUsedAtTheNextLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProgram(t, bunqtest.Options{})
		file := filepath.Join(t.TempDir(), "key")
		keep := func(key string) {
			if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p.config.APIKey = func() (string, error) {
			key, err := os.ReadFile(file)
			return string(key), err
		}
		api := &tap{Handler: p.api}
		p.config.Transport = bunqtest.Transport(api)
		client := newClient(t, p.config)
		read := func(want bunq.LoginState) {
			t.Helper()
			mustRead(t, client) // with the installation, where there is no session
			if login := client.Login(); login.State != want {
				t.Errorf("the login is %+v, want %s", login, want)
			}
		}
		keep("sandbox_wrong")
		for range 120 { // ten minutes
			read(bunq.LoginCredentialsRefused)
			time.Sleep(5 * time.Second)
		}
		keep(apiKey)
		read(bunq.LoginOK)
		keep("sandbox_another")
		read(bunq.LoginOK)
		time.Sleep(8 * 24 * time.Hour) // the session has ended
		read(bunq.LoginCredentialsRefused)

		var sent []string
		for _, request := range api.requests {
			if request.operation == "POST /v1/session-server" {
				sent = append(sent, readDocument(t, []byte(request.body))["secret"].(string))
			}
		}
		want := append(slices.Repeat([]string{"sandbox_wrong"}, 5), apiKey, "sandbox_another")
		if diff := cmp.Diff(want, sent); diff != "" {
			t.Errorf("keys, -want +sent:\n%s", diff)
		}
	})
}

func TestSessionsOfAMinuteAreRenewedWithoutAFailedReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := count(shortSessions(t, bunqtest.Options{}, time.Minute))
		client := newClient(t, newConfig(t, api))
		for range 120 { // ten minutes
			mustRead(t, client)
			if login := client.Login(); login.State != bunq.LoginOK || login.Err != nil {
				t.Errorf("the login is %+v", login)
			}
			time.Sleep(5 * time.Second)
		}
		_, logins := api.seen("POST /v1/session-server")
		if apart(t, logins); len(logins) != 20 {
			t.Errorf("%d logins, want one each 30 s", len(logins))
		}
	})
}

func TestLoginsAreApartWhateverHappensToTheProgramAndItsSessions(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]changes{
		"restarts":                         nil,
		"restarts after a clock went back": {"session_requested": "2000-01-02T00:00:00Z"}, // a day ahead of the virtual clock
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newProgram(t, bunqtest.Options{})
				editContext(t, p.config, before)
				api := count(p.api)
				p.config.Transport = bunqtest.Transport(api)
				for range 150 { // ten minutes
					mustRead(t, newClient(t, p.config))
					editContext(t, p.config, notLoggedIn)
					time.Sleep(4 * time.Second)
				}
				_, logins := api.seen("POST")
				if apart(t, logins); len(logins) != 19 { // at the first restart after each 30 s
					t.Errorf("%d logins, want 19", len(logins))
				}
				if refused := p.api.Requests(bunq.CreateSessionServer) - p.api.Sessions(); refused != 0 {
					t.Errorf("bunq refused %d of them", refused)
				}
			})
		})
	}
}

func TestOwnDeviceServerIsLookedAtEachHalfMinuteAfterAClockWentBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProgram(t, bunqtest.Options{})
		api := count(p.api)
		p.config.Transport = bunqtest.Transport(api)
		standing(bunq.StatusBlocked)(t, p)
		client := newClient(t, p.config)
		mustRead(t, client)
		editContext(t, p.config, changes{"session_requested": time.Now().Add(time.Hour)})
		for range 24 {
			time.Sleep(5 * time.Second)
			mustRead(t, client)
		}
		if looks, _ := api.seen("GET /v1/device-server/"); len(looks) < 4 || len(looks) > 5 {
			t.Errorf("%d looks at its own device server in two minutes, want one each half", len(looks))
		}
	})
}
