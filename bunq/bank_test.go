package bunq_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// bank is the API of all tests that need no more of it than its signature, and the context file of a program that is
// registered with it and logged in. It costs two RSA keys, so it is made once.
var bank = sync.OnceValue(func() (b struct {
	api     *bunqtest.Server
	context []byte
}) {
	var err error
	if b.api, err = bunqtest.New(bunqtest.Options{Unlimited: true}); err != nil {
		panic(err)
	}
	b.api.AddUser(bunqtest.User{ID: 1, Kind: "UserPerson", APIKey: apiKey, SessionTimeout: 7 * 24 * time.Hour})
	dir, err := os.MkdirTemp("", "bank")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	client, err := bunq.New(bunq.Config{
		Environment: bunq.Sandbox, APIKey: func() (string, error) { return apiKey, nil }, ContextFile: filepath.Join(dir, "bunq.conf"),
		Description: "bunq_exporter", UserAgent: "bunq_exporter/test", Transport: bunqtest.Transport(b.api),
	})
	if err != nil {
		panic(err)
	}
	if _, err := list(context.Background(), client); err != nil {
		panic(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "bunq.conf"))
	if err != nil {
		panic(err)
	}
	var document map[string]any
	if err := json.Unmarshal(text, &document); err != nil {
		panic(err)
	}
	delete(document, "session_requested") // so that a test may log in at once
	if b.context, err = json.Marshal(document); err != nil {
		panic(err)
	}
	return b
})

// changes of a context file: a value for each key, or key.key; nil takes the key out.
type changes map[string]any

// What a program has that stopped at some point of the handshake, and one that was given an installation alone.
var (
	notLoggedIn      = changes{"session_context": nil}
	notRegistered    = changes{"session_context": nil, "device_server_id": 0}
	installationOnly = changes{
		"session_context": nil, "api_key": nil, "device_server_id": nil,
		"installation_context.private_key_client": nil, "installation_context.public_key_client": nil,
	}
)

// contextWith returns the context file of a program registered with the bank, changed.
func contextWith(t testing.TB, changed changes) string {
	t.Helper()
	return edited(t, bank().context, changed)
}

func edited(t testing.TB, text []byte, changed changes) string {
	t.Helper()
	document := readDocument(t, text)
	for path, value := range changed {
		object, key := document, path
		if outer, inner, nested := strings.Cut(path, "."); nested {
			object, key = document[outer].(map[string]any), inner
		}
		object[key] = value
		if value == nil {
			delete(object, key)
		}
	}
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// contextValue returns a string out of the bank's context file.
func contextValue(t testing.TB, outer, inner string) string {
	t.Helper()
	return readDocument(t, bank().context)[outer].(map[string]any)[inner].(string)
}

func readDocument(t testing.TB, text []byte) (document map[string]any) {
	t.Helper()
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	return document
}

// restartConfig is the configuration of a program that finds the context file given.
func restartConfig(t *testing.T, api http.Handler, text string) bunq.Config {
	t.Helper()
	config := newConfig(t, api)
	if err := os.WriteFile(config.ContextFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

// readerConfig is the configuration of a program that has an installation and no key: it sends readings, and nothing else.
func readerConfig(t *testing.T, api http.Handler) bunq.Config {
	t.Helper()
	config := restartConfig(t, api, contextWith(t, installationOnly))
	config.APIKey = nil
	return config
}

// signed answers as the bank, signature included.
func signed(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { bank().api.Answer(w, r, status, []byte(body)) }
}

// answering returns the API with an answer of the test's own to one operation.
func answering(api http.Handler, operation bunq.Operation, answer http.HandlerFunc) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.HandleFunc(operation.Method+" /v1/"+operation.Endpoint, answer)
	return mux
}

// counting counts what an API is asked.
type counting struct {
	http.Handler
	mu       sync.Mutex
	requests []string
	times    []time.Time
}

func count(api http.Handler) *counting { return &counting{Handler: api} }

func (c *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.requests = append(c.requests, r.Method+" "+r.URL.RequestURI())
	c.times = append(c.times, time.Now())
	c.mu.Unlock()
	c.Handler.ServeHTTP(w, r)
}

// seen returns the requests that begin as given.
func (c *counting) seen(prefix string) (requests []string, times []time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, request := range c.requests {
		if strings.HasPrefix(request, prefix) {
			requests, times = append(requests, request), append(times, c.times[i])
		}
	}
	return requests, times
}

// apiError returns the API's error that err is.
func apiError(t *testing.T, err error) *bunq.Error {
	t.Helper()
	var e *bunq.Error
	if !errors.As(err, &e) {
		t.Fatalf("the error is %v, want a *bunq.Error", err)
	}
	return e
}

// loginError reads, and returns why the client has no session. The reading may have been made with the installation.
func loginError(t *testing.T, client *bunq.Client) error {
	t.Helper()
	_, _ = list(t.Context(), client)
	return client.Login().Err
}

// expectReason fails the test unless err is an API error with the reason.
func expectReason(t *testing.T, err error, want bunq.Reason) {
	t.Helper()
	if e := apiError(t, err); e.Reason != want {
		t.Errorf("the reason is %s, want %s: %v", e.Reason, want, err)
	}
}

// editContext changes the context file of a client.
func editContext(t *testing.T, config bunq.Config, changed changes) {
	t.Helper()
	text, err := os.ReadFile(config.ContextFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config.ContextFile, []byte(edited(t, text, changed)), 0o600); err != nil {
		t.Fatal(err)
	}
}
