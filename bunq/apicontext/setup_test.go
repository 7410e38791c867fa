package apicontext_test

import (
	"crypto/rsa"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/apicontext"
	"bunq_exporter/bunq/bunqtest"
)

// The secrets in the files of testdata. The key pair is bunqtest.ClientKey(0).
const (
	apiKey  = "sandbox_0123456789abcdef"
	token   = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	session = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
)

const python = "testdata/usable/sdk/python.conf"

// TestMain sets a local time that is not UTC, because the files hold local times.
func TestMain(m *testing.M) {
	time.Local = time.FixedZone("test", 2*60*60+30*60)
	m.Run()
}

var update = flag.Bool("update", false, "update the golden files")

func expectGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		check(t, os.WriteFile(path, []byte(got), 0o600))
	}
	if diff := cmp.Diff(readFile(t, path), got); diff != "" {
		t.Errorf("%s: -want +got:\n%s", path, diff)
	}
}

func writeFile(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "bunq.conf")
	check(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	check(t, err)
	return string(text)
}

func parse(t rapid.TB, text string) (document map[string]any) {
	t.Helper()
	check(t, json.Unmarshal([]byte(strings.TrimPrefix(text, "\ufeff")), &document))
	return document
}

func load(t *testing.T, path string) *apicontext.Context {
	t.Helper()
	c, err := apicontext.Load(path, bunq.Sandbox)
	check(t, err)
	return c
}

func check(t rapid.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// expectContext compares what a context says, but not how its file is written.
func expectContext(t rapid.TB, want, got *apicontext.Context) {
	t.Helper()
	exported := cmpopts.IgnoreUnexported(*got, got.Installation, got.Session)
	private := cmp.Comparer(func(a, b *rsa.PrivateKey) bool { return a == b || a != nil && b != nil && a.Equal(b) })
	public := cmp.Comparer(func(a, b *rsa.PublicKey) bool { return a == b || a != nil && b != nil && a.Equal(b) })
	if diff := cmp.Diff(want, got, exported, private, public); diff != "" {
		t.Errorf("context, -want +got:\n%s", diff)
	}
}

// newContext returns a context of a complete login.
func newContext(t *testing.T) *apicontext.Context {
	t.Helper()
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
	key, serverKey := bunqtest.ClientKey(0), load(t, python).Installation.ServerKey
	user := bunq.User{Kind: "UserPerson", ID: 1, JSON: json.RawMessage(`{"id":1,"session_timeout":3600}`)}
	installation := bunq.Installation{Token: token, ServerKey: serverKey, Created: at}
	expiry := at.Add(time.Hour).Truncate(time.Second).Local()
	return &apicontext.Context{
		Environment: bunq.Sandbox, APIKey: apiKey, DeviceServerID: 4711, Registered: true, LoginRequested: at.Add(1),
		Installation: apicontext.Installation{Installation: installation, PrivateKey: key},
		Session:      apicontext.Session{Token: session, Expiry: expiry, User: user},
	}
}
