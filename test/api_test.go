package test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

const apiKey = "sandbox_5ecretsecretsecret5ecretsecretsecret5ecretsecret"

// api is a simulated API with one user.
type api struct {
	*bunqtest.Server
	url       string
	intercept atomic.Pointer[interceptor]
}

// interceptor sees each request first, and reports whether it has answered it.
type interceptor func(http.ResponseWriter, *http.Request) bool

// newAPI returns an API without rate limits and with device server 4711.
func newAPI(t testing.TB) *api {
	t.Helper()
	a := serveAPI(t, bunqtest.Options{Unlimited: true})
	a.add(4711, "a server")
	return a
}

func serveAPI(t testing.TB, options bunqtest.Options) *api {
	t.Helper()
	a := &api{Server: bunqtest.New(options)}
	a.AddUser(bunqtest.User{ID: 1, Kind: "UserPerson", APIKey: apiKey, SessionTimeout: time.Hour})
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	a.url = server.URL + "/v1"
	return a
}

// add adds an ACTIVE device server.
func (a *api) add(id int64, description string) {
	now := time.Now()
	a.AddDeviceServer(1, bunq.DeviceServer{
		ID: id, Created: now, Updated: now, Description: description, IP: "192.0.2.8", Status: bunq.StatusActive,
	})
}

func (a *api) setIntercept(f interceptor) { a.intercept.Store(&f) }

// hold keeps answers to some requests back until they are released. The first one to arrive closes a channel.
func (a *api) hold(which func(*http.Request) bool) (arrived <-chan struct{}, release func()) {
	first, answer := make(chan struct{}), make(chan struct{})
	arrive := sync.OnceFunc(func() { close(first) })
	a.setIntercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if which(r) {
			arrive()
			<-answer
		}
		return false
	})
	return first, sync.OnceFunc(func() { close(answer) })
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f := a.intercept.Load(); f != nil && *f != nil && (*f)(w, r) {
		return
	}
	a.Server.ServeHTTP(w, r)
}

func copyAnswer(w http.ResponseWriter, answer *httptest.ResponseRecorder) {
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// count returns the number of requests with a method.
func (a *api) count(method string) (n int) {
	for _, o := range []bunq.Operation{
		bunq.CreateInstallation, bunq.CreateDeviceServer, bunq.CreateSessionServer, bunq.ListDeviceServers,
		bunq.ReadDeviceServer,
	} {
		if o.Method == method {
			n += a.Requests(o)
		}
	}
	return n
}

func (a *api) awaitSession(t testing.TB) {
	t.Helper()
	eventually(t, "a session is open", func() bool { return a.Requests(bunq.CreateSessionServer) == 1 })
}

func isRegistration(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/device-server")
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

// writeAccounts writes a configuration with an account for each name, which takes the place of "company" in the URL too.
func writeAccounts(t testing.TB, folder, baseURL string, names ...string) string {
	t.Helper()
	_, account, _ := strings.Cut(readFile(t, writeConfig(t, folder, baseURL, 4711)), "\n")
	text := "accounts:\n"
	for _, name := range names {
		text += strings.ReplaceAll(account, "company", name)
	}
	return writeFile(t, folder, "config.yml", text)
}

// watch starts the program for device servers of the API, and returns the folder of its files too.
func watch(t testing.TB, a *api, ids ...int64) (e *process, folder string) {
	t.Helper()
	folder = t.TempDir()
	return start(t, "--config.file="+writeConfig(t, folder, a.url, ids...), "--web.enable-lifecycle"), folder
}
