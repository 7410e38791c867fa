package collector_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

const (
	timeout  = 9500 * time.Millisecond // of most scrapes
	interval = 15 * time.Second        // between scrapes
)

// fakeAPI is a simulated API that notes the requests and can be made to fail.
type fakeAPI struct {
	*bunqtest.Server

	mu       sync.Mutex
	latency  time.Duration
	fault    fault
	requests []string // such as "GET device-server?count=200"
}

// fault responds in place of the API if it returns true.
type fault func(http.ResponseWriter, *http.Request) bool

// newAPI returns a strict simulated API with one user.
func newAPI(options bunqtest.Options) *fakeAPI {
	options.Strict = true
	api := &fakeAPI{Server: bunqtest.New(options)}
	api.AddUser(bunqtest.User{ID: 1, Kind: "UserPerson", APIKey: apiKey, SessionTimeout: time.Hour})
	return api
}

// ServeHTTP implements [http.Handler].
func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+strings.TrimPrefix(r.URL.RequestURI(), "/v1/"))
	latency, fault := f.latency, f.fault
	f.mu.Unlock()
	select {
	case <-time.After(latency):
	case <-r.Context().Done():
		return
	}
	if fault == nil || !fault(w, r) {
		f.Server.ServeHTTP(w, r)
	}
}

func (f *fakeAPI) set(latency time.Duration, fault fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.latency, f.fault = latency, fault
}

// received returns the requests since the last call.
func (f *fakeAPI) received() []string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.requests = nil }()
	return f.requests
}

// expect fails the test unless these requests were received since the last call.
func (f *fakeAPI) expect(t testing.TB, want ...string) {
	t.Helper()
	if got := f.received(); !slices.Equal(got, want) {
		t.Errorf("requests %q, want %q", got, want)
	}
}

// hang does not respond.
func hang(_ http.ResponseWriter, r *http.Request) bool {
	<-r.Context().Done()
	return true
}

// hangOnce does not respond to the first request.
func hangOnce() fault {
	var once sync.Once
	return func(_ http.ResponseWriter, r *http.Request) (hung bool) {
		once.Do(func() { hung = true })
		return hung && hang(nil, r)
	}
}

// on limits a fault to the requests whose URI ends with the text.
func on(end string, f fault) fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		return strings.HasSuffix(r.URL.RequestURI(), end) && f(w, r)
	}
}

// respond responds with the status and the body.
func (f *fakeAPI) respond(status int, body string) fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		f.Answer(w, r, status, []byte(body))
		return true
	}
}

// refuse responds with an error.
func (f *fakeAPI) refuse(status int, description string) fault {
	return f.respond(status, fmt.Sprintf(`{"Error":[{"error_description":%q}]}`, description))
}

// list is the body of a page. It has a next one below the id older, unless that is 0.
func list(older int, objects ...string) string {
	next := "null"
	if older > 0 {
		next = fmt.Sprintf(`"/v1/device-server?older_id=%d&count=200"`, older)
	}
	return fmt.Sprintf(`{"Response":[%s],"Pagination":{"older_url":%s}}`, strings.Join(objects, ","), next)
}

func object(id int) string {
	return fmt.Sprintf(`{"DeviceServer":{"id":%d,"description":"","ip":"192.0.2.7","status":"ACTIVE"}}`, id)
}

func text(id int64) string { return strconv.FormatInt(id, 10) }

// expectRead fails the test unless exactly the device servers of the first list were read.
func (m metrics) expectRead(t testing.TB, read, unread []int64) {
	t.Helper()
	for _, id := range read {
		m.expect(t, 1, "bunq_device_server_up", "company", text(id))
		m.expect(t, 1, "bunq_device_server_status", "company", text(id), "ACTIVE")
	}
	for _, id := range unread {
		m.expect(t, 0, "bunq_device_server_up", "company", text(id))
		m.expect(t, absent, "bunq_device_server_status", "company", text(id), "ACTIVE")
		m.expect(t, absent, "bunq_device_server_created_timestamp_seconds", "company", text(id))
	}
}

// expectErrors fails the test unless so many list calls failed for the reason.
func (m metrics) expectErrors(t testing.TB, want float64, reason bunq.Reason) {
	t.Helper()
	m.expect(t, want, "bunq_api_request_errors_total", "company", "device-server", "GET", string(reason))
}
