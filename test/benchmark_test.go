package test

import (
	"context"
	"crypto/rsa"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	gokitlog "github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/bunq/session"
	"bunq_exporter/collector"
	"bunq_exporter/internal/config"
	"bunq_exporter/internal/web"
)

// serveUnlimited is the program with a rate limit that no benchmark reaches, for one account.
func serveUnlimited(configFile string) {
	debug.SetGCPercent(65) // as the program does
	account, handler := newAccount(configFile, bunq.Config{Limiter: bunq.NewLimiter(2000)}, nil, gokitlog.NewNopLogger())
	go account.Run(context.Background())
	log.Printf("address=%s", httptest.NewServer(handler).Listener.Addr())
	select {}
}

// newAccount returns the account of a configuration, which is not logged in yet, and what serves its metrics.
func newAccount(configFile string, client bunq.Config, key *rsa.PrivateKey, logger gokitlog.Logger) (
	*collector.Account, http.Handler,
) {
	loaded, err := config.Load(configFile)
	if err != nil {
		panic(err)
	}
	c := loaded.Accounts[0]
	client.BaseURL, client.UserAgent = c.BaseURL, "test/1"
	account := collector.NewAccount(c.Name, collector.Selection(c.DeviceServers), client, session.Config{
		Environment: c.Environment, APIKey: c.APIKey, ContextFile: c.ContextFile, Description: c.Description, Key: key,
	}, logger)
	handler, err := web.New(web.Options{
		Configuration: func() web.Configuration { return web.Configuration{Accounts: []*collector.Account{account}} },
		Exporter:      prometheus.NewRegistry(), Requests: prometheus.NewRegistry(), TelemetryPath: "/metrics",
		TimeoutOffset: 500 * time.Millisecond, Logger: logger,
	})
	if err != nil {
		panic(err)
	}
	return account, handler
}

// newPopulated returns an API that has n device servers once the exporter has registered its own, and a configuration
// that watches them.
func newPopulated(b testing.TB, n int64, options bunqtest.Options) (a *api, configFile string) {
	b.Helper()
	a = serveAPI(b, options)
	var ids []int64
	for id := int64(1); id < n; id++ {
		a.add(id, fmt.Sprintf("bookkeeping synchronization %d", id))
		ids = append(ids, id)
	}
	return a, writeConfig(b, b.TempDir(), a.url, ids...)
}

// replay makes an API answer each read as it did the first time, which costs almost nothing.
func (a *api) replay() {
	var answers sync.Map // by URL
	a.setIntercept(func(w http.ResponseWriter, r *http.Request) bool {
		answer, ok := answers.Load(r.RequestURI)
		if !ok {
			recorder := httptest.NewRecorder()
			a.Server.ServeHTTP(recorder, r)
			recorder.Header().Del("X-Bunq-Client-Request-Id") // differs from request to request
			answer, _ = answers.LoadOrStore(r.RequestURI, recorder)
		}
		copyAnswer(w, answer.(*httptest.ResponseRecorder))
		return true
	})
}

var upPattern = regexp.MustCompile(`(?m)^bunq_device_server_up\{.*\} 1$`)

// countRead returns the number of device servers that a scrape has read.
func countRead(exposition string) int { return len(upPattern.FindAllString(exposition, -1)) }

// startBenchmark starts a program that reads n device servers from an API that costs almost nothing.
func startBenchmark(b *testing.B, a *api, n int, mode, binary string, args ...string) *process {
	b.Helper()
	p := launchProgram(b, mode, binary, args...)
	p.findURL()
	a.awaitSession(b)
	if a.intercept.Load() == nil {
		a.replay()
	}
	if got := countRead(p.scrape()); got != n {
		b.Fatalf("%d of %d device servers were read", got, n)
	}
	return p
}

// BenchmarkScrape measures a scrape, and the resident memory of the process after all of them.
func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{200, 2400} {
		b.Run(fmt.Sprintf("devices=%d", n), func(b *testing.B) {
			a, configFile := newPopulated(b, int64(n), bunqtest.Options{Unlimited: true})
			p := startBenchmark(b, a, n, "unlimited", os.Args[0], configFile)
			defer p.kill()
			for b.Loop() {
				p.scrape()
			}
			b.ReportMetric(p.memory("VmRSS"), "MiB")
		})
	}
}

// BenchmarkStart measures the time from the start of the stripped binary, with a context file, to the end of the
// first scrape.
func BenchmarkStart(b *testing.B) {
	binary := build(b)
	a, configFile := newPopulated(b, 200, bunqtest.Options{Unlimited: true})
	for b.Loop() {
		startBenchmark(b, a, 200, "program", binary, "--config.file="+configFile, "--web.listen-address=127.0.0.1:0").kill()
	}
	info, err := os.Stat(binary)
	check(b, err)
	b.ReportMetric(float64(info.Size())/(1<<20), "MiB-binary")
}

// BenchmarkLimits measures scrapes of 9.5 s at an API with bunq's rate limits.
func BenchmarkLimits(b *testing.B) {
	for _, n := range []int64{200, 1000, 2400, 5000} {
		for _, latency := range []time.Duration{0, 80 * time.Millisecond, 200 * time.Millisecond} {
			b.Run(fmt.Sprintf("devices=%d/latency=%s", n, latency), func(b *testing.B) { benchmarkLimits(b, n, latency) })
		}
	}
}

func benchmarkLimits(b *testing.B, n int64, latency time.Duration) {
	a, configFile := newPopulated(b, n, bunqtest.Options{})
	a.setIntercept(func(http.ResponseWriter, *http.Request) bool {
		time.Sleep(latency)
		return false
	})
	e := start(b, "--config.file="+configFile)
	a.awaitSession(b)
	for b.Loop() {
		b.StopTimer()
		time.Sleep(3 * time.Second) // earlier reads do not count any more
		before := a.count(http.MethodGet)
		b.StartTimer()
		text := e.scrape()
		expectLines(b, text, `bunq_api_requests_total{account="company",code="429",endpoint="device-server",method="GET"} 0`)
		b.ReportMetric(float64(countRead(text)), "read")
		b.ReportMetric(float64(a.count(http.MethodGet)-before), "requests")
	}
}

// BenchmarkOtherAccounts measures scrapes of an account while bunq does not answer for a second one and takes three
// seconds for a third, and scrapes of it alone, in turn.
func BenchmarkOtherAccounts(b *testing.B) {
	a := newAPI(b)
	a.setIntercept(func(_ http.ResponseWriter, r *http.Request) bool {
		name, path, _ := strings.Cut(r.URL.Path[1:], "/")
		if r.URL.Path = "/" + path; r.Method == http.MethodGet && name == "dead" {
			<-r.Context().Done()
		} else if r.Method == http.MethodGet && name == "slow" {
			time.Sleep(3 * time.Second)
		}
		return false
	})
	url := strings.TrimSuffix(a.url, "v1") + "company/v1"
	e := start(b, "--config.file="+writeAccounts(b, b.TempDir(), url, "good", "slow", "dead"))
	e.awaitUp("good")
	scrape := func(name string) string { return get(b, e.url+"/probe?account="+name, timeoutHeader, "4") }
	var alone, beside time.Duration
	for b.Loop() {
		for _, took := range []*time.Duration{&alone, &beside} {
			time.Sleep(3 * time.Second) // earlier reads do not count any more
			var others sync.WaitGroup
			if took == &beside {
				others.Go(func() { expectLines(b, scrape("slow"), `bunq_up{account="slow"} 1`) })
				others.Go(func() { expectLines(b, scrape("dead"), `bunq_up{account="dead"} 0`) })
				time.Sleep(100 * time.Millisecond) // so that their requests are sent
			}
			start := time.Now()
			expectLines(b, scrape("good"), `bunq_up{account="good"} 1`)
			*took += time.Since(start)
			others.Wait()
		}
	}
	b.ReportMetric(float64(beside)/float64(alone), "beside/alone")
}
