package collector_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	dto "github.com/prometheus/client_model/go"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// desk is an API whose logins can be answered with something else.
type desk struct {
	*bunqtest.Server
	login func(http.ResponseWriter, *http.Request) // nil: as the API does
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.login != nil && r.URL.Path == "/v1/session-server" {
		d.login(w, r)
		return
	}
	d.Server.ServeHTTP(w, r)
}

// answers has every login answered with the status, and the words.
func (d *desk) answers(status int, words string) {
	d.login = func(w http.ResponseWriter, r *http.Request) {
		d.Answer(w, r, status, []byte(`{"Error":[{"error_description":"`+words+`"}]}`))
	}
}

// loginIs fails the test unless the login is shown in the state, and in no other.
func loginIs(t *testing.T, families []*dto.MetricFamily, want bunq.LoginState) {
	t.Helper()
	for _, state := range bunq.LoginStates() {
		shown := 0.0
		if state == want {
			shown = 1
		}
		expect(t, families, shown, "bunq_login_state", "company", string(state))
	}
}

// withoutKey takes the API key out of a context file.
func withoutKey(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	delete(document, "api_key")
	if text, err = json.Marshal(document); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestEveryLoginStateHasItsMetricAndItsLogLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &desk{Server: newAPI(t, device(11, bunq.StatusActive))}
		config, key := newConfig(t.TempDir(), api), apiKey
		config.APIKey = func() (string, error) { return key, nil }
		account, logged := newAccountOf(t, config, "company", 11)
		expect(t, scrape(t, time.Second, account), 1, "bunq_up", "company")
		login := account.State().Login
		own := login.DeviceServerID
		logged.Reset()

		const refusal = "User credentials are incorrect. Incorrect API key or IP address."
		for _, step := range []struct {
			want    bunq.LoginState
			happens func() // the session has ended by then
			level   string
			err     string // "" for none
		}{
			{bunq.LoginDeviceNotActive, func() { api.SetStatus(own, bunq.StatusBlocked) }, "error", `credentials, HTTP status 400: bunq says "` + refusal + `"`},
			{bunq.LoginOK, func() { api.SetStatus(own, bunq.StatusActive) }, "info", ""},
			{bunq.LoginCredentialsRefused, func() { api.answers(400, refusal) }, "error", `credentials, HTTP status 400: bunq says "` + refusal + `"`},
			{bunq.LoginInstallationRefused, func() { api.answers(403, "Insufficient authentication.") }, "error", `unauthorized, HTTP status 403: bunq says "Insufficient authentication."`},
			{bunq.LoginRateLimited, func() { api.answers(429, "Too many requests.") }, "error", `rate_limited, HTTP status 429: bunq says "Too many requests."`},
			{bunq.LoginUnreachable, func() { api.answers(491, "") }, "error", "maintenance, HTTP status 491"},
			{bunq.LoginUnknown, func() { api.answers(418, "No.") }, "error", `client, HTTP status 418: bunq says "No."`},
			{bunq.LoginUnknown, func() { api.answers(418, "Never.") }, "error", `client, HTTP status 418: bunq says "Never."`}, // is news too
			{bunq.LoginNoKey, func() { key = ""; withoutKey(t, config.ContextFile) }, "info", ""},
			{bunq.LoginOK, func() { key, api.login = apiKey, nil }, "info", ""},
		} {
			time.Sleep(2 * time.Hour)
			step.happens()
			for i := range 5 { // more than one of them logs in
				families := scrape(t, time.Second, account)
				loginIs(t, families, step.want)
				expect(t, families, 1, "bunq_up", "company") // with the installation
				if i == 0 {
					login = account.State().Login
				}
				time.Sleep(15 * time.Second)
			}
			var want bytes.Buffer
			line := []any{"level", step.level, "account", "company", "msg", login.Explanation, "login_state", step.want}
			if step.err != "" {
				var answer *bunq.Error
				if !errors.As(login.Err, &answer) {
					t.Fatalf("%s: the login is %+v", step.want, login)
				}
				if want := "POST session-server: " + step.err + " (response id " + answer.ResponseID + ")"; answer.ResponseID == "" || login.Err.Error() != want {
					t.Errorf("%s: the error is %v, want %s", step.want, login.Err, want)
				}
				line = append(line, "err", login.Err)
			}
			if err := log.NewLogfmtLogger(&want).Log(line...); err != nil {
				t.Fatal(err)
			}
			if got := logged.String(); got != want.String() {
				t.Errorf("%s: logged %s, want %s", step.want, got, &want)
			}
			logged.Reset()
		}
	})
}

func TestAnAccountThatWaitsForItsFirstLoginIsLoggedWithoutAlarm(t *testing.T) {
	for name, test := range map[string]struct {
		reads bunqtest.Reads // meanwhile
		up    float64
	}{
		"and reads":           {bunqtest.ReadsListAndOne, 1},
		"and cannot read yet": {bunqtest.ReadsNothing, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, bunqtest.Options{InstallationTokenReads: test.reads}, device(11, bunq.StatusActive))
				limiter := bunq.NewLimiter()
				config, other := newConfig(t.TempDir(), w), newConfig(t.TempDir(), w)
				config.Limiter, other.Limiter = limiter, limiter
				account, logged := newAccountOf(t, config, "company", 11)
				first, _ := newAccountOf(t, other, "other", 11)
				scrape(t, defaultTimeout, first)
				for range 2 {
					families := scrape(t, defaultTimeout, account)
					loginIs(t, families, bunq.LoginRateLimited)
					expect(t, families, test.up, "bunq_up", "company")
					time.Sleep(time.Second)
				}
				time.Sleep(interval)
				loginIs(t, scrape(t, defaultTimeout, account), bunq.LoginRateLimited)
				time.Sleep(interval)
				loginIs(t, scrape(t, defaultTimeout, account), bunq.LoginOK)
				told := 0
				for line := range strings.Lines(logged.String()) {
					if !strings.HasPrefix(line, "level=info ") {
						t.Error("logged ", line)
					}
					if strings.Contains(line, "login_state=rate_limited") {
						told++
					}
				}
				if told != 1 {
					t.Errorf("logged %s", logged)
				}
			})
		})
	}
}

func TestOwnDeviceServerIsSeenToBeBlockedWhileThereIsNoSession(t *testing.T) {
	for name, ended := range map[string]time.Duration{"session closed with it": 0, "session ended before": 2 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := newAPI(t, device(11, bunq.StatusActive))
				account, _ := newAccount(t, "company", api, 11)
				scrape(t, time.Second, account)
				login := account.State().Login
				account.Watch([]int64{11, login.DeviceServerID})
				time.Sleep(ended + time.Minute)
				api.SetStatus(login.DeviceServerID, bunq.StatusBlocked)
				for range 3 {
					families := scrape(t, time.Second, account)
					expect(t, families, 1, "bunq_up", "company")
					expect(t, families, 1, "bunq_device_servers", "company", "BLOCKED")
					expect(t, families, 1, "bunq_device_servers", "company", "ACTIVE")
					expect(t, families, 1, "bunq_device_server_status", "company", strconv.FormatInt(login.DeviceServerID, 10), "BLOCKED")
					loginIs(t, families, bunq.LoginDeviceNotActive)
					if expiry, there := value(families, "bunq_session_expiry_timestamp_seconds", "company"); there && ended == 0 {
						t.Errorf("a session is shown to end at %v", expiry)
					}
					time.Sleep(15 * time.Second)
				}
			})
		})
	}
}
