package bunq_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"bunq_exporter/bunq"
)

// Whatever bunq quotes, no secret reaches a log: neither in an error nor in a warning.
func TestSecretsThatBunqQuotesAreTakenOut(t *testing.T) {
	t.Parallel()
	secrets := map[string]string{
		"API key":            apiKey,
		"installation token": contextValue(t, "installation_context", "token"),
		"session token":      contextValue(t, "session_context", "token"),
	}
	quoted := "I know " + secrets["API key"] + ", " + secrets["installation token"] + " and " + secrets["session token"] + "."
	const redacted = "I know [redacted], [redacted] and [redacted]."
	ended := changes{"session_context.expiry_time": "2015-06-13 23:19:16.215235"}
	unregistered := changes{"session_context.expiry_time": ended["session_context.expiry_time"], "device_server_id": 0}
	read := func(t *testing.T, client *bunq.Client) error { _, err := list(t.Context(), client); return err }

	for _, test := range []struct {
		operation bunq.Operation
		context   changes
		read      func(*testing.T, *bunq.Client) error
	}{
		{bunq.CreateDeviceServer, unregistered, read},
		{bunq.CreateSessionServer, ended, loginError},
		{bunq.ListDeviceServers, nil, read},
		{bunq.ReadDeviceServer, nil, func(t *testing.T, client *bunq.Client) error {
			_, err := client.DeviceServer(t.Context(), 7)
			return err
		}},
	} {
		t.Run(test.operation.Method+" "+test.operation.Endpoint, func(t *testing.T) {
			t.Parallel()
			answer := failing(http.StatusBadRequest, map[string]string{"X-Bunq-Warning": quoted}, describe(quoted))
			config, told := restartConfig(t, answering(bank().api, test.operation, answer), contextWith(t, test.context)), &recorder{}
			config.Observe = told.observe
			err := test.read(t, newClient(t, config))
			e := apiError(t, err)
			if e.Operation != test.operation || e.Description != redacted || !strings.Contains(err.Error(), redacted) {
				t.Errorf("the error is %v, want it to say %s", err, redacted)
			}
			if got := told.calls[0].Warning; got != redacted {
				t.Errorf("the warning is %s, want %s", got, redacted)
			}
			for name, secret := range secrets {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error holds the %s", name)
				}
			}
		})
	}
}

func TestKeyThatBunqQuotesToANewInstallationIsTakenOut(t *testing.T) {
	t.Parallel()
	config, told := newConfig(t, failing(http.StatusBadRequest, map[string]string{"X-Bunq-Warning": apiKey}, describe(apiKey))), &recorder{}
	config.Observe = told.observe
	_, err := list(t.Context(), newClient(t, config))
	e := apiError(t, err)
	if e.Operation != bunq.CreateInstallation || e.Description != "[redacted]" || strings.Contains(err.Error(), apiKey) {
		t.Errorf("the error is %v", err)
	}
	if got := told.calls[0].Warning; got != "[redacted]" {
		t.Errorf("the warning is %s", got)
	}
}

// The key that is sent need not be the one in the context file: keys are changed.
func TestNewKeyIsTakenOutToo(t *testing.T) {
	t.Parallel()
	const changed = "sandbox_fedcba9876543210"
	api := answering(bank().api, bunq.CreateSessionServer, failing(http.StatusBadRequest, nil, describe("Not "+changed+".")))
	config := restartConfig(t, api, contextWith(t, notLoggedIn))
	config.APIKey = func() (string, error) { return changed, nil }
	err := loginError(t, newClient(t, config))
	if got := apiError(t, err).Description; got != "Not [redacted]." {
		t.Errorf("the description is %s", got)
	}
}

// A long description is cut, and a secret may lie across the cut.
func TestHalfASecretIsASecretToo(t *testing.T) {
	t.Parallel()
	token := contextValue(t, "installation_context", "token")
	for _, before := range []int{499, 480, 450, 440} {
		long := strings.Repeat("x", before) + token + strings.Repeat("x", 100)
		_, err := list(t.Context(), newClient(t, readerConfig(t, failing(http.StatusBadRequest, nil, describe(long)))))
		want := (strings.Repeat("x", before) + "[redacted]" + strings.Repeat("x", 100))[:500]
		if got := apiError(t, err).Description; got != want {
			t.Errorf("after %d bytes the description ends with %s", before, got[min(before, len(got)):])
		}
	}
}

func TestSecretsAreNotInTheErrorsOfADamagedContextFile(t *testing.T) {
	t.Parallel()
	for _, changed := range []changes{
		{"api_key": []string{apiKey}},
		{"installation_context": contextValue(t, "installation_context", "token")},
		{"installation_context.private_key_client": "secret"},
	} {
		_, err := list(t.Context(), newClient(t, restartConfig(t, http.NotFoundHandler(), contextWith(t, changed))))
		for _, secret := range []string{apiKey, contextValue(t, "installation_context", "token"), "secret"} {
			if err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("the error is %v", err)
			}
		}
	}
}

// The answer to a reading could hold anything, and the text of a field that is not what it should be is quoted.
func TestSecretsAreNotInTheErrorsOfAMalformedAnswer(t *testing.T) {
	t.Parallel()
	token := contextValue(t, "installation_context", "token")
	for _, body := range []string{
		`{"Response":[{"DeviceServer":{"id":"` + token + `"}}]}`,
		`{"Response":[{"` + token + `":7}]}`,
		`{"Response":"` + token + `"}`,
		token,
	} {
		_, err := list(t.Context(), newClient(t, readerConfig(t, signed(http.StatusOK, body))))
		if expectReason(t, err, bunq.ReasonMalformed); strings.Contains(err.Error(), token[:20]) {
			t.Errorf("the error is %v", err)
		}
	}
}

// net/http quotes a header that it cannot read.
func TestTokenInAMalformedHeaderIsTakenOut(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connection, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = connection.Close() }()
		_, _ = fmt.Fprintf(connection, "HTTP/1.1 200 OK\r\nI saw %s\r\n\r\n", r.Header.Get("X-Bunq-Client-Authentication"))
	}))
	defer server.Close()
	_, err := list(t.Context(), overNetwork(t, server))
	expectReason(t, err, bunq.ReasonNetwork)
	if !strings.Contains(err.Error(), "I saw [redacted]") {
		t.Errorf("the error is %v", err)
	}
}
