package main

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/config"
)

// The measurements of docs/performance.md.

// replay is an API that costs next to nothing: it answers a reading with what the simulated API answered it first.
type replay struct {
	api *bunqtest.Server
	url string

	mu      sync.Mutex
	answers map[string]*httptest.ResponseRecorder // by URL
	asked   int
}

// newReplay returns an API without limits.
func newReplay(b *testing.B, api *bunqtest.Server) *replay {
	b.Helper()
	r := &replay{api: api, answers: map[string]*httptest.ResponseRecorder{}}
	server := httptest.NewServer(r)
	b.Cleanup(server.Close)
	r.url = server.URL + "/v1"
	return r
}

// newPopulated returns a simulated API that will have n device servers once the exporter has registered its own.
func newPopulated(b *testing.B, n int, options bunqtest.Options) *bunqtest.Server {
	b.Helper()
	api, err := bunqtest.New(options)
	if err != nil {
		b.Fatal(err)
	}
	api.AddUser(bunqtest.User{ID: 1, Kind: "UserPerson", APIKey: apiKey, SessionTimeout: 7 * 24 * time.Hour})
	created := time.Date(2024, 6, 13, 23, 19, 16, 215235000, time.UTC)
	for i := range n - 1 {
		api.AddDeviceServer(1, bunq.DeviceServer{
			ID: int64(1 + i), Created: created.Add(time.Duration(i) * time.Hour), Updated: created.Add(time.Duration(i) * time.Hour),
			Description: fmt.Sprintf("bookkeeping synchronisation %d", i), IP: fmt.Sprintf("198.51.100.%d", i%250), Status: bunq.StatusActive,
		})
	}
	return api
}

func (r *replay) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodGet {
		r.api.ServeHTTP(w, request)
		return
	}
	r.mu.Lock()
	answer, ok := r.answers[request.URL.RequestURI()]
	if !ok {
		answer = httptest.NewRecorder()
		r.api.ServeHTTP(answer, request)
		if answer.Code == http.StatusOK {
			r.answers[request.URL.RequestURI()] = answer
		}
	}
	r.asked++
	r.mu.Unlock()
	pass(w, answer)
}

func (r *replay) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// record has every device server read on its own once, and returns the paths of these readings.
func (r *replay) record(b *testing.B) (paths []string) {
	b.Helper()
	config := bunq.Config{
		Environment: bunq.Sandbox, BaseURL: r.url, APIKey: func() (string, error) { return apiKey, nil },
		ContextFile: filepath.Join(b.TempDir(), "bunq.conf"), Description: "recorder", UserAgent: "bunq_exporter/test", Limiter: &bunq.Limiter{},
	}
	client, err := bunq.New(config)
	if err != nil {
		b.Fatal(err)
	}
	for _, d := range r.api.DeviceServers() {
		if _, err := client.DeviceServer(b.Context(), d.ID); err != nil {
			b.Fatal(err)
		}
		paths = append(paths, fmt.Sprintf("/device-server/%d", d.ID))
	}
	return paths
}

// watching returns the exporter's HTTP handler, and the file of its context. It is registered, and watches all device
// servers that the API has then, its own among them.
func watching(b *testing.B, api *bunqtest.Server, limiter *bunq.Limiter, baseURL string) (handler http.Handler, contextFile string) {
	b.Helper()
	logger := log.NewNopLogger()
	account := config.Account{
		Name: "company", Environment: bunq.Sandbox, BaseURL: baseURL, APIKeyInline: apiKey,
		ContextFile: filepath.Join(b.TempDir(), "bunq.conf"), Description: "bunq_exporter", DeviceServers: []int64{1},
	}
	w := newWatch(func() (*config.Config, error) { return &config.Config{Accounts: []config.Account{account}}, nil }, logger)
	w.limiter = limiter
	reload := func() {
		if err := w.reload(); err != nil {
			b.Fatal(err)
		}
	}
	reload()
	handler, err := newHandler(options{disableExporterMetrics: true, telemetryPath: "/metrics", timeoutOffset: 500 * time.Millisecond}, w, logger)
	if err != nil {
		b.Fatal(err)
	}
	scrapeOnce(handler)
	account.DeviceServers = nil
	for _, d := range api.DeviceServers() {
		account.DeviceServers = append(account.DeviceServers, d.ID)
	}
	reload()
	return handler, account.ContextFile
}

// scrapeOnce returns the exposition that a scrape of the handler answers.
func scrapeOnce(handler http.Handler) string {
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return answer.Body.String()
}

func fresh(exposition string) int {
	up := 0
	for line := range strings.Lines(exposition) {
		if strings.HasPrefix(line, "bunq_device_server_up{") && strings.HasSuffix(line, " 1\n") {
			up++
		}
	}
	return up
}

// minimum is the least that somebody must do who wants the same: get the pages, verify their signature, decode them.
type minimum struct {
	url string
	key *rsa.PublicKey
}

func newMinimum(b *testing.B, contextFile, baseURL string) *minimum {
	b.Helper()
	text, err := os.ReadFile(contextFile)
	if err != nil {
		b.Fatal(err)
	}
	var kept struct {
		Installation struct {
			Server string `json:"public_key_server"`
		} `json:"installation_context"`
	}
	if err := json.Unmarshal(text, &kept); err != nil {
		b.Fatal(err)
	}
	block, _ := pem.Decode([]byte(kept.Installation.Server))
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		b.Fatal(err)
	}
	return &minimum{baseURL, key.(*rsa.PublicKey)}
}

func (m *minimum) read(b *testing.B) (read int) {
	const first = "/device-server?count=200"
	for path := first; path != ""; {
		request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, m.url+path, nil)
		if err != nil {
			b.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			b.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil {
			b.Fatal(err)
		}
		signature, err := base64.StdEncoding.DecodeString(response.Header.Get("X-Bunq-Server-Signature"))
		if err != nil {
			b.Fatal(err)
		}
		sum := sha256.Sum256(body)
		if err := rsa.VerifyPKCS1v15(m.key, crypto.SHA256, sum[:], signature); err != nil {
			b.Fatal(err)
		}
		var page struct {
			Response []struct {
				DeviceServer struct {
					ID                                        int64
					Created, Updated, Description, IP, Status string
				}
			}
			Pagination struct {
				Older *string `json:"older_url"`
			}
		}
		if err := json.Unmarshal(body, &page); err != nil {
			b.Fatal(err)
		}
		read += len(page.Response)
		path = ""
		if page.Pagination.Older != nil {
			older, _, _ := strings.Cut(strings.TrimPrefix(*page.Pagination.Older, "/v1/device-server?"), "&")
			path = first + "&" + older
		}
	}
	return read
}

// BenchmarkScrape is a whole scrape, from the request to the last byte of the exposition, as fast as it can.
func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{1, 10, 200, 600, 1200, 2400} {
		b.Run(fmt.Sprintf("devices=%d", n), func(b *testing.B) {
			api := newPopulated(b, n, bunqtest.Options{Unlimited: true})
			handler, _ := watching(b, api, &bunq.Limiter{}, newReplay(b, api).url)
			exposition := scrapeOnce(handler)
			expectFresh(b, exposition, n)
			b.ReportAllocs()
			for b.Loop() {
				scrapeOnce(handler)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(n), "µs/device")
			b.ReportMetric(float64(strings.Count(exposition, "\nbunq_device_server_"))/float64(n), "series/device")
		})
	}
}

// BenchmarkScrapeBesideMinimum takes turns with the minimum, so that a noisy machine disturbs both.
func BenchmarkScrapeBesideMinimum(b *testing.B) {
	for _, n := range []int{1, 10, 200, 2400} {
		b.Run(fmt.Sprintf("devices=%d", n), func(b *testing.B) {
			api := newPopulated(b, n, bunqtest.Options{Unlimited: true})
			server := newReplay(b, api)
			handler, contextFile := watching(b, api, &bunq.Limiter{}, server.url)
			expectFresh(b, scrapeOnce(handler), n)
			least := newMinimum(b, contextFile, server.url)
			if got := least.read(b); got != n {
				b.Fatalf("the minimum reads %d of %d device servers", got, n)
			}
			var scrapes, minimum time.Duration
			for b.Loop() {
				start := time.Now()
				scrapeOnce(handler)
				middle := time.Now()
				least.read(b)
				scrapes, minimum = scrapes+middle.Sub(start), minimum+time.Since(middle)
			}
			b.ReportMetric(float64(scrapes.Microseconds())/float64(b.N), "µs/scrape")
			b.ReportMetric(float64(minimum.Microseconds())/float64(b.N), "µs/minimum")
			b.ReportMetric(scrapes.Seconds()/minimum.Seconds(), "×minimum")
		})
	}
}

func expectFresh(b *testing.B, exposition string, want int) {
	b.Helper()
	if got := fresh(exposition); got != want {
		b.Fatalf("%d of %d device servers are fresh", got, want)
	}
}

// BenchmarkFreshAtBunqsLimits is one scrape with Prometheus's default timeout of 10 s, in real time, at an API that keeps
// to bunq's limits.
func BenchmarkFreshAtBunqsLimits(b *testing.B) {
	for _, test := range []struct {
		n       int
		latency time.Duration // of the way there and back, each half of it
	}{{1, 0}, {200, 0}, {1000, 0}, {2400, 0}, {5000, 0}, {10_000, 0}, {2400, 80 * time.Millisecond}, {2400, 200 * time.Millisecond}} {
		n := test.n
		b.Run(fmt.Sprintf("devices=%d/latency=%s", n, test.latency), func(b *testing.B) {
			api := newPopulated(b, n, bunqtest.Options{})
			refused := &refusals{Handler: api, latency: test.latency}
			server := httptest.NewServer(refused)
			defer server.Close()
			handler, _ := watching(b, api, bunq.NewLimiter(), server.URL+"/v1")
			var exposition string
			before := 0
			for b.Loop() {
				b.StopTimer()
				time.Sleep(3 * time.Second) // bunq's window is empty
				before = api.Requests(bunq.ListDeviceServers) + api.Requests(bunq.ReadDeviceServer)
				b.StartTimer()
				exposition = scrapeOnce(handler)
			}
			if n := refused.count.Load(); n > 0 {
				b.Errorf("bunq has answered 429 %d times", n)
			}
			b.ReportMetric(float64(fresh(exposition)), "fresh")
			b.ReportMetric(float64(api.Requests(bunq.ListDeviceServers)+api.Requests(bunq.ReadDeviceServer)-before), "requests")
			b.ReportMetric(float64(refused.count.Load()), "429s")
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/scrape")
		})
	}
}

// refusals counts the answers 429 of an API that is some way off.
type refusals struct {
	http.Handler
	latency time.Duration
	count   atomic.Int64
}

func (r *refusals) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	time.Sleep(r.latency / 2)
	answer := httptest.NewRecorder()
	r.Handler.ServeHTTP(answer, request)
	if answer.Code == http.StatusTooManyRequests {
		r.count.Add(1)
	}
	time.Sleep(r.latency / 2)
	pass(w, answer)
}

func pass(w http.ResponseWriter, answer *httptest.ResponseRecorder) {
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}
