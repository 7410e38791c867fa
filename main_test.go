package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

const apiKey = "sandbox_5ecretsecretsecret5ecretsecretsecret5ecretsecret"

// buffer is a bytes.Buffer that several goroutines may use.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
	line chan struct{} // told of every write
}

func newBuffer() *buffer { return &buffer{line: make(chan struct{}, 1)} }

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.line <- struct{}{}:
	default:
	}
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// find waits until the pattern is written, and returns its first group.
func (b *buffer) find(t testing.TB, pattern string) string {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		if match := regexp.MustCompile(pattern).FindStringSubmatch(b.String()); match != nil {
			return match[1]
		}
		select {
		case <-b.line:
		case <-deadline:
			t.Fatalf("%s was not written, but:\n%s", pattern, b)
		}
	}
}

// exporter is a running program.
type exporter struct {
	url            string
	stdout, stderr *buffer
	stop           func() int // ends it and returns the exit status
}

// start runs the program until the test ends, or stop is called.
func start(t *testing.T, args ...string) *exporter {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	e := &exporter{stdout: newBuffer(), stderr: newBuffer()}
	done := make(chan int, 1)
	go func() { done <- run(ctx, append(args, "--web.listen-address=127.0.0.1:0"), e.stdout, e.stderr) }()
	e.stop = sync.OnceValue(func() int {
		cancel()
		return <-done
	})
	t.Cleanup(func() { e.stop() })
	e.url = "http://" + e.stderr.find(t, `address"?[=:]"?(127\.0\.0\.1:\d+)`)
	return e
}

// get returns the body of an answer with status 200.
func get(t *testing.T, url string, headers ...string) string {
	t.Helper()
	body, err := fetch(t.Context(), url, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// fetch is get for other goroutines than the test's.
func fetch(ctx context.Context, url string, headers ...string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: status %d: %s", url, response.StatusCode, body)
	}
	return string(body), err
}

func post(t *testing.T, url string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// lacks reports the lines that a text does not have.
func lacks(text string, lines ...string) (missing []string) {
	for _, line := range lines {
		if !strings.Contains("\n"+text, "\n"+line+"\n") {
			missing = append(missing, line)
		}
	}
	return missing
}

// newAPI serves a simulated API with one user and device server 4711, through wrap.
func newAPI(t *testing.T, wrap func(http.Handler) http.Handler) (api *bunqtest.Server, baseURL string) {
	t.Helper()
	api, err := bunqtest.New(bunqtest.Options{Unlimited: true})
	if err != nil {
		t.Fatal(err)
	}
	api.AddUser(bunqtest.User{ID: 1, Kind: "UserPerson", APIKey: apiKey, SessionTimeout: time.Hour})
	api.AddDeviceServer(1, bunq.DeviceServer{ID: 4711, Created: time.Now(), Updated: time.Now(), Description: "a server", IP: "192.0.2.7", Status: bunq.StatusActive})
	server := httptest.NewServer(wrap(api))
	t.Cleanup(server.Close)
	return api, server.URL + "/v1"
}

func asItIs(h http.Handler) http.Handler { return h }

// writeFile writes a file into the folder and returns its path.
func writeFile(t testing.TB, folder, name, text string) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// writeConfig writes a configuration of one account, with its API key in a file, and returns its path.
func writeConfig(t testing.TB, folder, baseURL string, ids ...int64) string {
	t.Helper()
	writeFile(t, folder, "api_key", apiKey+"\n")
	return writeFile(t, folder, "config.yml", fmt.Sprintf(`accounts:
  - name: company
    environment: sandbox
    base_url: %s
    api_key_file: api_key
    context_file: company.conf
    device_servers: [%s]
`, baseURL, strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ", "), "[]")))
}
