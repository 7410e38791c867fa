package apicontext_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/apicontext"
)

// files are the files of the SDKs, and the one that this program begins with.
func files() (texts []string) {
	paths, _ := filepath.Glob("testdata/usable/sdk/*.conf")
	for _, path := range paths {
		text, _ := os.ReadFile(path)
		texts = append(texts, string(text))
	}
	return append(texts, "{}")
}

// change draws what a login changes in a context.
func change(t *rapid.T, c, complete *apicontext.Context) {
	at := rapid.Custom(func(t *rapid.T) time.Time {
		return time.UnixMicro(rapid.Int64Range(0, 1<<52).Draw(t, "time")).UTC()
	})
	text := rapid.StringOf(rapid.Rune())
	if c.APIKey = text.Draw(t, "api key"); c.Installation.Token == "" && rapid.Bool().Draw(t, "installed") {
		c.Installation = complete.Installation
		c.Installation.Token, c.Installation.Created = "t"+text.Draw(t, "token"), at.Draw(t, "created")
	}
	if c.Installation.Token != "" {
		c.Registered = rapid.Bool().Draw(t, "registered")
		if c.DeviceServerID, c.Requested = 0, text.Draw(t, "requested"); c.Registered {
			c.DeviceServerID, c.Requested = rapid.Int64Range(0, 1<<62).Draw(t, "id"), ""
		}
		c.LoginRequested = at.Draw(t, "login requested")
	}
	if c.Registered && rapid.Bool().Draw(t, "open") {
		c.Session = complete.Session
		c.Session.Token += text.Draw(t, "session")
		c.Session.Expiry = at.Draw(t, "expiry").Truncate(time.Second).Local()
	}
}

func TestContextProperties(t *testing.T) {
	complete, bases := newContext(t), files()
	foreign := rapid.MapOfN(rapid.StringMatching(`their_[a-z]{1,8}`), rapid.String(), 0, 3)
	rapid.Check(t, func(rt *rapid.T) {
		document := parse(rt, rapid.SampledFrom(bases).Draw(rt, "file"))
		for key, value := range foreign.Draw(rt, "foreign keys") {
			document[key] = value
		}
		text, _ := json.Marshal(document)
		c, err := apicontext.Parse(text)
		check(rt, err)
		change(rt, c, complete)
		expectSaved(rt, document, c)
	})
}

var ownKey = regexp.MustCompile(`^(environment_type|api_key|(installation|session|device_server)_\w+)$`)

// expectSaved saves a context and loads it again, with the foreign keys of the document it was read from.
func expectSaved(t rapid.TB, document map[string]any, c *apicontext.Context) {
	t.Helper()
	saved := apicontext.Encode(c)
	got, err := apicontext.Parse(saved)
	check(t, err)
	want := *c
	want.Session.User = bunq.User{}
	expectContext(t, &want, got)
	if again := apicontext.Encode(got); string(again) != string(saved) {
		t.Errorf("saved again, -first +second:\n%s", cmp.Diff(string(saved), string(again)))
	}
	isOwn := func(key string, _ any) bool { return ownKey.MatchString(key) }
	before, after := maps.Clone(document), parse(t, string(saved))
	maps.DeleteFunc(before, isOwn)
	maps.DeleteFunc(after, isOwn)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("foreign keys, -before +after:\n%s", diff)
	}
}

var quotesNothing = regexp.MustCompile(`^(is|has) [\w #]{1,80}$`)

func FuzzContext(f *testing.F) {
	f.Add([]byte(files()[0])) // the others have private keys, too, which take long to read
	f.Fuzz(func(t *testing.T, text []byte) {
		var document map[string]any
		c, err := apicontext.Parse(text)
		if err != nil && !quotesNothing.MatchString(err.Error()) {
			t.Errorf("the error is %v", err)
		}
		isComparable := json.Unmarshal(bytes.TrimPrefix(text, []byte("\ufeff")), &document) == nil // not 1e400
		if err == nil && isComparable && (c.Environment == "" || c.Environment.BaseURL() != "") {  // others are refused
			expectSaved(t, document, c)
		}
	})
}
