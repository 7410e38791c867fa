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
)

// Each file of usable/sdk is as the sources of an SDK would write it. Those of unusual mean the same, and those of
// no_session have no session that can be used.
func TestLoadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/usable/*/*.conf")
	if err != nil || len(files) != 21 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			before := readFile(t, file)
			path := writeFile(t, before)
			c, saved := load(t, path), parse(t, before)
			want := newContext(t)
			want.DeviceServerID, want.LoginRequested, want.Installation.Created = 0, time.Time{}, time.Time{}
			want.Session.Expiry, want.Session.User = c.Session.Expiry, bunq.User{}
			saved["environment_type"] = "SANDBOX"
			expiry := c.Session.Expiry.Truncate(time.Second) // Java's is in milliseconds
			if filepath.Base(filepath.Dir(file)) == "no_session" {
				want.Session.Token = ""
				delete(saved, "session_context")
			} else if !expiry.Equal(time.Date(2035, 1, 2, 3, 4, 5, 0, time.Local)) {
				t.Errorf("the session expires at %s", expiry)
			}
			expectContext(t, want, c)
			check(t, c.Save(path))
			if diff := cmp.Diff(saved, parse(t, readFile(t, path))); diff != "" || !c.Exists() {
				t.Errorf("saved without a change, -want +got:\n%s", diff)
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
	for _, kind := range []string{"UserPerson", "UserCompany", "UserApiKey", "UserPaymentServiceProvider"} {
		path := writeFile(t, "{}")
		c := newContext(t)
		c.Session.User = bunq.User{Kind: kind, ID: 42, JSON: json.RawMessage(`{"id":42,"name":"<é>"}`)}
		check(t, c.Save(path))
		expectGolden(t, "testdata/saved/"+kind+".json", readFile(t, path))
	}
}
