package bunq_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// limited is an API that finds nothing and records when requests arrive, and clients that share a limiter.
type limited struct {
	sync.WaitGroup // of readings
	start          time.Time
	limiter        *bunq.Limiter
	clients        []*bunq.Client

	mu      sync.Mutex
	arrived []float64 // seconds after the start
}

// inSynctest runs a test in a bubble, which fails it for goroutines that do not end.
func inSynctest(t *testing.T, reads int, test func(*testing.T, *limited)) {
	synctest.Test(t, func(t *testing.T) {
		l := &limited{start: time.Now(), limiter: bunq.NewLimiter(reads)}
		for range 5 {
			client, _ := connect(t, bunq.Config{Transport: bunqtest.Transport(l), Limiter: l.limiter})
			l.clients = append(l.clients, client)
		}
		test(t, l)
		l.Wait()
	})
}

func (l *limited) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrived = append(l.arrived, time.Since(l.start).Seconds())
	w.WriteHeader(http.StatusNotFound)
}

func (l *limited) expect(t *testing.T, want ...float64) {
	t.Helper()
	if l.Wait(); cmp.Diff(want, l.arrived) != "" {
		t.Errorf("requests arrived after %v s, want %v", l.arrived, want)
	}
}

// read makes one call within some time, and reports whether it was sent.
func (l *limited) read(t *testing.T, client int, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return !errors.Is(read(ctx, l.clients[client]), bunq.ReasonRateLimited)
}

func TestLimiterGivesUpAtOnce(t *testing.T) {
	inSynctest(t, 3, func(t *testing.T, l *limited) {
		for range 7 {
			l.Go(func() { l.read(t, 0, time.Hour) })
		}
		synctest.Wait() // four calls wait
		client, calls := connect(t, bunq.Config{Transport: bunqtest.Transport(l), Limiter: l.limiter})
		_ = read(t.Context(), client) // is next
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		err := read(ctx, client)
		cancel()
		e, call := apiError(t, err), (*calls)[1]
		expectReason(t, err, bunq.ReasonRateLimited)
		took, isExplained := time.Since(l.start), strings.Contains(e.Error(), "3 reads in 3s")
		if !bunq.NotSent(err) || !isExplained || e.RetryAfter != 3*time.Second || took != 3*time.Second {
			t.Errorf("after %s: %+v", took, e)
		}
		if (*calls)[0].Waited != 3*time.Second || call.Waited != 0 || call.RequestID != "" || call.Err != e {
			t.Errorf("calls are %+v", *calls)
		}
		time.Sleep(time.Minute)
		if e := apiError(t, read(ctx, client)); e.Reason != bunq.ReasonRateLimited || e.RetryAfter != 0 {
			t.Errorf("canceled before: %+v", e)
		}
		l.expect(t, 0, 0, 0, 3, 3, 3, 6, 6)
	})
}

// A call of another client, served longer ago, takes the time that a call had.
func TestLimiterOvertakenCallGivesUp(t *testing.T) {
	inSynctest(t, 1, func(t *testing.T, l *limited) {
		l.Go(func() { l.read(t, 0, time.Hour) })
		synctest.Wait()
		time.AfterFunc(time.Second, func() { l.read(t, 1, time.Hour) })
		if l.read(t, 0, 4*time.Second) || time.Since(l.start) != time.Second {
			t.Errorf("a call that fits no more gave up after %s", time.Since(l.start))
		}
		time.Sleep(3 * time.Second)
	})
}

func TestLimiterOfEachHost(t *testing.T) {
	for hosts, want := range map[string]float64{
		"https://api.bunq.com/v1 https://public-api.sandbox.bunq.com/v1": 0,
		"http://127.0.0.1:1/v1 http://127.0.0.1:2/v1":                    0,
		"https://api.bunq.com/v1 https://API.bunq.com:443/v1/":           3,
	} {
		inSynctest(t, 1, func(t *testing.T, l *limited) {
			for _, base := range strings.Fields(hosts) {
				client, _ := connect(t, bunq.Config{BaseURL: base, Transport: bunqtest.Transport(l), Limiter: l.limiter})
				_ = read(t.Context(), client)
			}
			l.expect(t, 0, want)
		})
	}
}

// BenchmarkLimiter adds a call that does not fit to 100 that wait.
func BenchmarkLimiter(b *testing.B) {
	limiter := bunq.NewLimiter(bunq.MaxReads)
	client, _ := connect(b, bunq.Config{Transport: endless(0), Limiter: limiter})
	for range 103 {
		go func() { _ = read(b.Context(), client) }()
	}
	time.Sleep(time.Second) // until they wait
	for b.Loop() {
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		_ = read(ctx, client)
		cancel()
	}
}
