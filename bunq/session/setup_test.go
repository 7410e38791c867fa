package session_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/bunq/session"
)

const apiKey = "sandbox_0123456789abcdef"

// rejection is bunq's answer to everything that may be wrong with a login.
const rejection = "User credentials are incorrect. Incorrect API key or IP address."

// recorder records the requests of an API, some of which a test answers itself.
type recorder struct {
	*bunqtest.Server

	mu       sync.Mutex
	requests []string
	times    []time.Time
	answers  map[bunq.Operation]http.HandlerFunc
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// withAPI runs a test in a synctest bubble with a strict simulated API that has one user.
func withAPI(t *testing.T, options bunqtest.Options, timeout time.Duration, test func(*testing.T, *recorder)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		options.Strict = true
		api := &recorder{Server: bunqtest.New(options), answers: map[bunq.Operation]http.HandlerFunc{}}
		api.AddUser(bunqtest.User{ID: 1, Kind: "UserPerson", APIKey: apiKey, SessionTimeout: timeout})
		test(t, api)
	})
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	operation := bunq.Operation{Method: req.Method, Endpoint: strings.TrimPrefix(req.URL.Path, "/v1/")}
	r.mu.Lock()
	r.requests, r.times = append(r.requests, operation.String()), append(r.times, time.Now())
	answer, ok := r.answers[operation]
	r.mu.Unlock()
	if ok {
		answer(w, req)
		return
	}
	r.Server.ServeHTTP(w, req)
}

// answer answers an operation in place of the API; nil removes that again.
func (r *recorder) answer(o bunq.Operation, h http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answers[o] = h; h == nil {
		delete(r.answers, o)
	}
}

// respond answers an operation with a status and a body.
func (r *recorder) respond(o bunq.Operation, status int, body string) {
	r.answer(o, func(w http.ResponseWriter, req *http.Request) { r.Answer(w, req, status, []byte(body)) })
}

// fail answers an operation with a status and a description.
func (r *recorder) fail(o bunq.Operation, status int, description string) {
	r.respond(o, status, `{"Error":[{"error_description":"`+description+`"}]}`)
}

// lose lets an operation take effect, but loses its answer.
func (r *recorder) lose(o bunq.Operation) {
	r.answer(o, func(w http.ResponseWriter, req *http.Request) {
		r.Server.ServeHTTP(httptest.NewRecorder(), req)
		w.WriteHeader(http.StatusBadGateway)
	})
}

// seen returns when an operation was requested.
func (r *recorder) seen(o bunq.Operation) (times []time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, request := range r.requests {
		if request == o.String() {
			times = append(times, r.times[i])
		}
	}
	return times
}

// all returns all requests.
func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// pauses returns the times between requests, in seconds.
func pauses(times []time.Time) (pauses []float64) {
	for i := range times[1:] {
		pauses = append(pauses, times[i+1].Sub(times[i]).Seconds())
	}
	return pauses
}

// program is one run of a session.
type program struct {
	*session.Session
	client  *bunq.Client
	config  session.Config
	limiter *bunq.Limiter
	log     chan string // lines
	stop    func()
}

// Write implements [io.Writer].
func (p *program) Write(line []byte) (int, error) {
	p.log <- string(line)
	return len(line), nil
}

// setup returns a program that is not running, with an empty folder for its context file.
func setup(t *testing.T, api http.Handler) *program {
	t.Helper()
	return (&program{config: session.Config{
		Environment: bunq.Sandbox,
		APIKey:      func() (string, error) { return apiKey, nil },
		ContextFile: filepath.Join(t.TempDir(), "bunq.conf"),
		Description: "bunq_exporter",
		Key:         bunqtest.ClientKey(0),
	}, limiter: bunq.NewLimiter(bunq.MaxReads)}).next(t, api)
}

// next returns a further run of the program with the same configuration.
func (p *program) next(t *testing.T, api http.Handler) *program {
	t.Helper()
	n := &program{config: p.config, limiter: p.limiter, log: make(chan string, 1000)}
	n.client = bunq.NewClient(bunq.Config{
		BaseURL: bunq.Sandbox.BaseURL(), UserAgent: "bunq_exporter/test",
		Transport: bunqtest.Transport(api), Limiter: n.limiter,
	})
	return n
}

// start runs the session until the test ends or stop is called, and waits until it is idle.
func (p *program) start(t *testing.T) *program {
	t.Helper()
	p.Session = session.New(p.config, p.client, log.NewLogfmtLogger(p))
	ctx, stop := context.WithCancel(t.Context())
	p.stop = func() {
		stop()
		synctest.Wait()
	}
	t.Cleanup(p.stop) // before the folder of the context file is removed
	go p.Run(ctx)
	synctest.Wait()
	return p
}

func start(t *testing.T, api http.Handler) *program { return setup(t, api).start(t) }

func (p *program) expect(t *testing.T, want session.LoginState) {
	t.Helper()
	synctest.Wait()
	if state := p.State(); state.Login != want {
		t.Errorf("login state is %s, want %s: %v", state.Login.Name, want.Name, state.Err)
	}
}

// read reads the list, with other credentials where bunq rejects the first ones.
func (p *program) read(t *testing.T) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	credentials, err := p.Credentials(ctx, "")
	for err == nil {
		var failed error
		for _, err := range p.client.DeviceServers(ctx, credentials) {
			failed = err
		}
		if !bunq.Rejected(failed) {
			return failed
		}
		p.Reject(credentials.Token)
		if credentials, err = p.Credentials(ctx, credentials.Token); err != nil {
			return failed
		}
	}
	return err
}

func (p *program) mustRead(t *testing.T) {
	t.Helper()
	if err := p.read(t); err != nil {
		t.Errorf("read failed: %v", err)
	}
}

// file returns the content of the context file.
func (p *program) file(t *testing.T) (document map[string]any) {
	t.Helper()
	text, err := os.ReadFile(p.config.ContextFile)
	check(t, err)
	check(t, json.Unmarshal(text, &document))
	return document
}

// edit changes keys of the context file; nil removes one.
func (p *program) edit(t *testing.T, changes map[string]any) {
	t.Helper()
	document := p.file(t)
	for key, value := range changes {
		if document[key] = value; value == nil {
			delete(document, key)
		}
	}
	text, err := json.Marshal(document)
	check(t, err)
	check(t, os.WriteFile(p.config.ContextFile, text, 0o600))
}

// logged returns the lines of the log with a text, and forgets them all.
func (p *program) logged(text string) (lines []string) {
	synctest.Wait()
	for len(p.log) > 0 {
		if line := <-p.log; strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}
