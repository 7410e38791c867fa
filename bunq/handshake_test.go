package bunq_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// useFor goes through a program's life: it starts, reads, asks for what is not there, is started again, and outlives its
// session, which lasts as long as given.
func useFor(t *testing.T, api *bunqtest.Server, config bunq.Config, lasts time.Duration, options bunqtest.Options) {
	t.Helper()
	started := time.Now()
	client := newClient(t, config)
	if login := client.Login(); login.State != bunq.LoginUnknown || login.DeviceServerID != 0 {
		t.Errorf("before the first reading the login is %+v", login)
	}
	got, err := list(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	want := api.DeviceServers()
	if options.OwnInstallationOnly {
		want = slices.DeleteFunc(want, func(d bunq.DeviceServer) bool { return d.ID != client.Login().DeviceServerID })
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("device servers, -in bunq +read:\n%s", diff)
	}
	if expiry := client.Login().SessionExpiry; !expiry.Equal(started.Add(lasts)) {
		t.Errorf("the session ends at %s, want %s after its start at %s", expiry, lasts, started)
	}
	_, err = client.DeviceServer(t.Context(), 99)
	if e := apiError(t, err); e.Reason != bunq.ReasonNotFound || e.Description != "DeviceServer not found." {
		t.Errorf("a device server that does not exist: %v", err)
	}

	client = newClient(t, config)
	time.Sleep(time.Minute)
	one, err := client.DeviceServer(t.Context(), 2)
	if diff := cmp.Diff(devices(2)[0], one); diff != "" || err != nil {
		t.Errorf("after a restart: %v, -in bunq +read:\n%s", err, diff)
	}
	time.Sleep(lasts)
	if _, err := client.DeviceServer(t.Context(), 1); err != nil {
		t.Errorf("after the end of the session: %v", err)
	}
	if renewals := client.Login().SessionRenewals; renewals != 1 {
		t.Errorf("the session was renewed %d times, want once", renewals)
	}
	for operation, want := range map[bunq.Operation]int{bunq.CreateInstallation: 1, bunq.CreateDeviceServer: 1, bunq.CreateSessionServer: 2} {
		if got := api.Requests(operation); got != want {
			t.Errorf("%s: %d requests, want %d", operation, got, want)
		}
	}
}

func TestClientWorksUnderEveryReadingOfTheDocumentation(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]bunqtest.Options{
		"as likely":                           {},
		"installation token reads the list":   {InstallationTokenReads: bunqtest.ReadsList},
		"installation token reads nothing":    {InstallationTokenReads: bunqtest.ReadsNothing},
		"list of the installation alone":      {OwnInstallationOnly: true},
		"unknown token is forbidden":          {UnknownTokenForbidden: true},
		"use extends the session":             {UseExtendsSession: true},
		"registration must be signed":         {RegistrationSigned: true},
		"answers are signed in the older way": {OlderSignatures: true},
		"errors are signed":                   {ErrorsSigned: true},
		"a 429 says how long to wait":         {RetryAfter: true},
		"a 429 is followed by a penalty":      {Penalty: 30 * time.Second},
		"every answer warns":                  {Warning: "This endpoint is going away."},
		"every unlikely reading at the same time": {
			InstallationTokenReads: bunqtest.ReadsNothing, OwnInstallationOnly: true, UnknownTokenForbidden: true, UseExtendsSession: true,
			RegistrationSigned: true, OlderSignatures: true, ErrorsSigned: true, RetryAfter: true, Penalty: 30 * time.Second, Warning: "Beware.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := newAPI(t, options, devices(3)...)
				useFor(t, api, newConfig(t, api), 7*24*time.Hour, options)
			})
		})
	}
}

func TestSessionLastsAsLongAsTheUserOfAnyKindSays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api, err := bunqtest.New(bunqtest.Options{Environment: bunq.Production})
		if err != nil {
			t.Fatal(err)
		}
		for i, kind := range userKinds {
			key, lasts := "0123456789abcdef"+kind, time.Duration(i+1)*time.Hour
			api.AddUser(bunqtest.User{ID: int64(10 * i), Kind: kind, APIKey: key, SessionTimeout: lasts})
			config := newConfig(t, api)
			config.Environment = bunq.Production
			config.APIKey = func() (string, error) { return key, nil }
			start := time.Now()
			client := newClient(t, config)
			mustRead(t, client)
			if got := client.Login().SessionExpiry; !got.Equal(start.Add(lasts)) {
				t.Errorf("%s: the session ends at %s, want %s after its start at %s", kind, got, lasts, start)
			}
			time.Sleep(lasts)
			mustRead(t, client)
			if got := client.Login(); !got.SessionExpiry.Equal(start.Add(2*lasts)) || got.SessionRenewals != 1 {
				t.Errorf("%s: after the end of the session the login is %+v", kind, got)
			}
			time.Sleep(time.Minute) // bunq's limits
		}
	})
}

// userKinds are the objects that may be the last in the answer to POST session-server.
var userKinds = []string{"UserPerson", "UserCompany", "UserApiKey", "UserPaymentServiceProvider"}

func TestKeyOfTheOtherEnvironmentIsRefusedAsCredentials(t *testing.T) {
	t.Parallel()
	config := restartConfig(t, bank().api, contextWith(t, notRegistered))
	config.APIKey = func() (string, error) { return "0123456789abcdef", nil }
	_, err := list(t.Context(), newClient(t, config))
	e := apiError(t, err)
	const want = `POST device-server: credentials, HTTP status 400: bunq says "User credentials are incorrect. Incorrect API key or IP address." (response id `
	if e.Reason != bunq.ReasonCredentials || err.Error() != want+e.ResponseID+")" {
		t.Errorf("the error is %v", err)
	}
}

func TestOAuthAccessTokenOpensSessionsAsLongAsItsAskersAndIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		accessToken, lasts := strings.Repeat("0123456789abcdef", 4), 90*time.Minute
		api, err := bunqtest.New(bunqtest.Options{Environment: bunq.Production})
		if err != nil {
			t.Fatal(err)
		}
		api.AddUser(bunqtest.User{ID: 7, Kind: "UserApiKey", APIKey: accessToken, SessionTimeout: lasts})
		config := newConfig(t, api)
		config.Environment = bunq.Production
		config.APIKey = func() (string, error) { return accessToken, nil }
		client := newClient(t, config)
		for renewals := range 3 {
			opened := time.Now()
			mustRead(t, client)
			if login := client.Login(); !login.SessionExpiry.Equal(opened.Add(lasts)) || login.SessionRenewals != renewals {
				t.Errorf("the login is %+v, want a session of %s and %d renewals", login, lasts, renewals)
			}
			document := readContextFile(t, config)
			session := document["session_context"].(map[string]any)
			asker := map[string]any{"UserCompany": map[string]any{"id": 8.0, "display_name": "An App", "session_timeout": lasts.Seconds()}}
			if diff := cmp.Diff(asker, session["user_api_key"].(map[string]any)["requested_by_user"]); diff != "" || document["api_key"] != accessToken {
				t.Errorf("the file has the key %v; requested_by_user, -want +got:\n%s", document["api_key"], diff)
			}
			time.Sleep(lasts / 2)
			config.APIKey = nil // a restart finds token and session in the file
			mustRead(t, newClient(t, config))
			time.Sleep(lasts / 2)
		}
		if got := api.Sessions(); got != 3 {
			t.Errorf("%d sessions, want 3", got)
		}
	})
}
