package apicontext_test

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// Each file is as the sources of an SDK would write it.
func TestLoadSDKFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil || len(files) != 10 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			path := copyFile(t, filepath.Base(file), nil)
			before := readFile(t, path)
			c := load(t, path)
			want := newContext(t)
			want.DeviceServerID, want.LoginRequested, want.Installation.Created = 0, time.Time{}, time.Time{}
			want.Session.Expiry, want.Session.User = c.Session.Expiry, bunq.User{}
			expectContext(t, want, c)
			expiry := c.Session.Expiry.Truncate(time.Second) // Java's is in milliseconds
			if !expiry.Equal(time.Date(2035, 1, 2, 3, 4, 5, 0, time.Local)) || !c.Exists() {
				t.Errorf("the session expires at %s", expiry)
			}
			check(t, c.Save(path))
			if diff := cmp.Diff(parse(t, before), parse(t, readFile(t, path))); diff != "" {
				t.Errorf("saved without a change, -before +after:\n%s", diff)
			}
			keys := regexp.MustCompile(`"(private|public)_key_\w+": *".*"`).FindAllString(before, -1)
			c.Session = newContext(t).Session
			check(t, c.Save(path))
			after := readFile(t, path)
			if slices.ContainsFunc(keys, func(key string) bool { return !strings.Contains(after, key) }) {
				t.Error("a key is written in another way")
			}
		})
	}
}

// The SDKs read these keys. The Java and C# SDKs cut off the first and the last line of a key as text.
func TestSaveForSDKs(t *testing.T) {
	for kind, key := range map[string]string{
		"UserPerson": "user_person", "UserCompany": "user_company", "UserApiKey": "user_api_key",
		"UserPaymentServiceProvider": "user_payment_service_provider",
	} {
		path := writeFile(t, "{}")
		c := newContext(t)
		c.Session.User = bunq.User{Kind: kind, ID: 42, JSON: json.RawMessage(`{"id":42,"name":"<é>"}`)}
		check(t, c.Save(path))
		got := parse(t, readFile(t, path))
		user := map[string]any{"id": 42.0, "name": "<é>"}
		installation := got["installation_context"].(map[string]any)
		want := map[string]any{
			"environment_type": "SANDBOX", "api_key": apiKey, "device_server_id": 4711.0,
			"installation_context": installation, "installation_created": "2026-03-01 12:00:00.123456",
			"session_requested": "2026-03-01T12:00:00.123456001Z",
			"session_context": map[string]any{
				"token": session, "expiry_time": "2026-03-01 15:30:00.000000", "user_id": 42.0, key: user,
				strings.ToLower(kind[:1]) + kind[1:]: user,
			},
		}
		if diff := cmp.Diff(want, got); diff != "" || len(installation) != 4 || installation["token"] != token {
			t.Errorf("%s: the file, -want +got:\n%s", kind, diff)
		}
		pem := regexp.MustCompile(`^-----BEGIN (PRIVATE|PUBLIC) KEY-----\n([\w+/=]{1,64}\n)+-----END P[A-Z]+ KEY-----\n$`)
		for _, name := range []string{"private_key_client", "public_key_client", "public_key_server"} {
			if !pem.MatchString(installation[name].(string)) {
				t.Errorf("%s is not PEM", name)
			}
		}
	}
}

func TestLoadUnusualFiles(t *testing.T) {
	null := json.RawMessage("null")
	installation := parse(t, readFile(t, "testdata/python.conf"))["installation_context"].(map[string]any)
	private, server := installation["private_key_client"].(string), installation["public_key_server"].(string)
	bare := func(text string) string { return regexp.MustCompile("-----.*?-----").ReplaceAllString(text, "") }
	for name, test := range map[string]struct {
		changes map[string]any
		open    bool // the session can be used
	}{
		"no environment": {map[string]any{"environment_type": nil}, true},
		"lower case":     {map[string]any{"environment_type": "sandbox"}, true},
		"foreign keys":   {map[string]any{"their_own": []int{1}, "installation_context/more": 1}, true},
		"keys in bare base64": {map[string]any{
			"installation_context/private_key_client": bare(private), "installation_context/public_key_server": bare(server),
		}, true},
		"keys with CR LF": {map[string]any{
			"installation_context/private_key_client": strings.ReplaceAll(private, "\n", "\r\n"),
		}, true},
		"no session":               {map[string]any{"session_context": nil}, false},
		"session null":             {map[string]any{"session_context": null}, false},
		"session of another type":  {map[string]any{"session_context": "none"}, false},
		"session without a token":  {map[string]any{"session_context/token": null}, false},
		"session without expiry":   {map[string]any{"session_context/expiry_time": nil}, false},
		"expiry of another format": {map[string]any{"session_context/expiry_time": "tomorrow"}, false},
	} {
		path := copyFile(t, "python.conf", test.changes)
		c := load(t, path)
		key := c.Installation.PrivateKey.Equal(bunqtest.ClientKey(0))
		if !key || !c.Registered || c.Installation.Token != token || (c.Session.Token == session) != test.open {
			t.Errorf("%s: the context is %+v", name, c)
		}
		want := parse(t, readFile(t, path))
		check(t, c.Save(path))
		got := parse(t, readFile(t, path))
		if want["environment_type"] = "SANDBOX"; !test.open {
			delete(want, "session_context")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: saved, -want +got:\n%s", name, diff)
		}
	}
}
