package bunq_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

func TestContextFileIsTheSDKs(t *testing.T) {
	t.Parallel()
	userKeys := []string{"user_person", "user_company", "user_api_key", "user_payment_service_provider"}
	synctest.Test(t, func(t *testing.T) {
		api, err := bunqtest.New(bunqtest.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i, kind := range userKinds {
			time.Sleep(time.Minute) // bunq's limits
			key, id := apiKey+kind, int64(10*i+42)
			api.AddUser(bunqtest.User{ID: id, Kind: kind, APIKey: key, SessionTimeout: time.Hour})
			config := newConfig(t, api)
			config.APIKey = func() (string, error) { return key, nil }
			mustRead(t, newClient(t, config))
			document := readContextFile(t, config)
			installation, session := document["installation_context"].(map[string]any), document["session_context"].(map[string]any)
			// The virtual clock starts at midnight UTC; TestMain puts this program two and a half hours east.
			expiry := fmt.Sprintf("2000-01-01 03:%d:00.000000", 30+i+1)
			want := map[string]any{
				"environment_type": "SANDBOX", "api_key": key, "device_server_id": float64(api.DeviceServers()[0].ID),
				"installation_created": time.Now().UTC().Format("2006-01-02 15:04:05.000000"),
				"session_requested":    time.Now().UTC().Format(time.RFC3339Nano),
				"installation_context": map[string]any{
					"token": installation["token"], "private_key_client": installation["private_key_client"],
					"public_key_client": installation["public_key_client"], "public_key_server": installation["public_key_server"],
				},
				"session_context": map[string]any{
					"token": session["token"], "expiry_time": expiry, "user_id": float64(id), userKeys[i]: session[userKeys[i]],
					strings.ToLower(kind[:1]) + kind[1:]: session[userKeys[i]], // the PHP SDK's
				},
			}
			if diff := cmp.Diff(want, document); diff != "" {
				t.Errorf("%s: the context, -want +got:\n%s", kind, diff)
			}
			if user, ok := session[userKeys[i]].(map[string]any); !ok || user["id"] != float64(id) {
				t.Errorf("%s: the user is %v", kind, session[userKeys[i]])
			}
			for name, begin := range map[string]string{
				"private_key_client": "-----BEGIN PRIVATE KEY-----\n", "public_key_client": "-----BEGIN PUBLIC KEY-----\n", "public_key_server": "-----BEGIN PUBLIC KEY-----\n",
			} {
				if text, ok := installation[name].(string); !ok || !strings.HasPrefix(text, begin) {
					t.Errorf("%s: %s does not begin with %q", kind, name, begin)
				}
			}
		}
	})
}

func readContextFile(t *testing.T, config bunq.Config) map[string]any {
	t.Helper()
	text, err := os.ReadFile(config.ContextFile)
	if err != nil {
		t.Fatal(err)
	}
	return readDocument(t, text)
}

func TestContextFileIsItsOwnersAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		config := newConfig(t, newAPI(t, bunqtest.Options{}))
		mode := func() os.FileMode {
			info, err := os.Stat(config.ContextFile)
			if err != nil {
				t.Fatal(err)
			}
			return info.Mode().Perm()
		}
		mustRead(t, newClient(t, config))
		if got := mode(); got != 0o600 {
			t.Errorf("a new file has mode %o, want 600", got)
		}
		time.Sleep(8 * 24 * time.Hour)
		mustRead(t, newClient(t, config))
		if got := mode(); got != 0o600 {
			t.Errorf("after a login the file has mode %o, want 600", got)
		}
	})
}

// Other programs keep things of their own in the file: the Python SDK a proxy, say.
func TestKeysOfOthersSurviveALogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, bunqtest.Options{})
		config := newConfig(t, api)
		mustRead(t, newClient(t, config))
		editContext(t, config, changes{"proxy_url": "http://proxy.example", "their_own": []int{1, 2}, "device_server_id": nil})
		before := readContextFile(t, config)
		time.Sleep(8 * 24 * time.Hour)
		mustRead(t, newClient(t, config))
		after := readContextFile(t, config)
		if cmp.Equal(before["session_context"], after["session_context"]) {
			t.Error("the session is still the one from before")
		}
		expectSameButSession(t, before, after)
	})
}

// expectSameButSession wants of two context files that a login has changed nothing else.
func expectSameButSession(t *testing.T, before, after map[string]any) {
	t.Helper()
	for _, key := range []string{"session_context", "session_requested"} {
		delete(before, key)
		delete(after, key)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the rest of the context, -before +after:\n%s", diff)
	}
}

func TestKeyIsTakenFromTheContextFileWhereThereIsNoOther(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		key  func() (string, error)
		want string
	}{
		{"no APIKey", nil, apiKey},
		{"an empty one", func() (string, error) { return "", nil }, apiKey},
		{"another one", func() (string, error) { return "sandbox_new", nil }, "sandbox_new"},
	} {
		api := &tap{Handler: failing(503, nil, "")}
		config := restartConfig(t, api, contextWith(t, notLoggedIn))
		config.APIKey = test.key
		_, err := list(t.Context(), newClient(t, config))
		expectReason(t, err, bunq.ReasonMaintenance)
		if got, want := api.requests[0].body, `{"secret":"`+test.want+`"}`; got != want {
			t.Errorf("%s: it logs in with %s, want %s", test.name, got, want)
		}
	}
}

func TestInstallationAloneReadsAndNeverLogsIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := count(newAPI(t, bunqtest.Options{}, devices(3)...))
		config := newConfig(t, api)
		mustRead(t, newClient(t, config))
		editContext(t, config, installationOnly)
		before := readContextFile(t, config)
		config.APIKey, api.requests = nil, nil
		client := newClient(t, config)
		for range 3 {
			mustRead(t, client)
			if _, err := client.DeviceServer(t.Context(), 2); err != nil {
				t.Error(err)
			}
			time.Sleep(8 * 24 * time.Hour)
		}
		if posts, _ := api.seen("POST"); posts != nil {
			t.Errorf("it sent %q", posts)
		}
		if login := client.Login(); login.State != bunq.LoginNoKey || login.Err != nil || !login.SessionExpiry.IsZero() {
			t.Errorf("the login is %+v, want none", login)
		}
		if diff := cmp.Diff(before, readContextFile(t, config)); diff != "" {
			t.Errorf("the context file, -before +after:\n%s", diff)
		}
	})
}

func TestInstallationThatMayNotReadSaysSo(t *testing.T) {
	t.Parallel()
	api := count(failing(401, nil, describe("Insufficient authorisation.")))
	_, err := list(t.Context(), newClient(t, readerConfig(t, api)))
	expectReason(t, err, bunq.ReasonUnauthorized)
	if requests, _ := api.seen(""); len(requests) != 1 {
		t.Errorf("it sent %q, want one reading", requests)
	}
}
