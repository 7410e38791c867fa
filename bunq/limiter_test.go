package bunq_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
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
func inSynctest(t *testing.T, reads int, wrap func(http.Handler) http.RoundTripper, test func(*testing.T, *limited)) {
	synctest.Test(t, func(t *testing.T) {
		l := &limited{start: time.Now(), limiter: bunq.NewLimiter(reads)}
		for range 5 {
			client, _ := connect(t, bunq.Config{Transport: wrap(l), Limiter: l.limiter})
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

func TestLimiterWindows(t *testing.T) {
	for _, test := range []struct {
		operation bunq.Operation
		reads     int
		want      []float64
	}{
		{bunq.ListDeviceServers, 3, []float64{0, 0, 0, 3, 3, 3, 6, 6}},
		{bunq.ReadDeviceServer, 1, []float64{0, 3, 6}},
		{bunq.CreateSessionServer, 3, []float64{0, 30, 60}},
		{bunq.CreateDeviceServer, 3, []float64{0, 0, 0, 0, 0, 3, 3}},
	} {
		t.Run(test.operation.String(), func(t *testing.T) {
			inSynctest(t, test.reads, bunqtest.Transport, func(t *testing.T, l *limited) {
				for i := range test.want {
					l.Go(func() {
						err := makers[test.operation](t.Context(), l.clients[i%5])
						for bunq.NotSent(err) { // a POST does not wait
							time.Sleep(apiError(t, err).RetryAfter)
							err = makers[test.operation](t.Context(), l.clients[i%5])
						}
						expectReason(t, err, bunq.ReasonNotFound)
					})
				}
				l.expect(t, test.want...)
			})
		})
	}
}

// The limit holds where requests arrive, however long they travel.
func TestLimiterTravelTimes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0))
	sleepUpTo := func(ctx context.Context, limits ...time.Duration) {
		mu.Lock()
		d := time.Duration(random.Int64N(int64(limits[random.IntN(len(limits))])))
		mu.Unlock()
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	wrap := func(api http.Handler) http.RoundTripper {
		return bunqtest.Transport(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if sleepUpTo(r.Context(), time.Microsecond, 50*time.Millisecond, 4*time.Second); r.Context().Err() == nil {
				api.ServeHTTP(w, r)
			}
			sleepUpTo(r.Context(), time.Microsecond, 4*time.Second)
		}))
	}
	inSynctest(t, 3, wrap, func(t *testing.T, l *limited) {
		for i := range 100 {
			l.Go(func() {
				sleepUpTo(t.Context(), time.Minute)
				l.read(t, i%5, []time.Duration{8 * time.Second, 12 * time.Second, time.Hour}[i%3])
			})
		}
		l.Wait()
		for i := 3; i < len(l.arrived); i++ {
			if within := l.arrived[i] - l.arrived[i-3]; within < 3-1e-9 {
				t.Errorf("four requests arrived within %v s", within)
			}
		}
	})
}

func TestLimiterGivesUpAtOnce(t *testing.T) {
	inSynctest(t, 3, bunqtest.Transport, func(t *testing.T, l *limited) {
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
		if took := time.Since(l.start); !bunq.NotSent(err) || e.RetryAfter != 3*time.Second || took != 3*time.Second {
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

func TestLimiterFairBetweenClients(t *testing.T) {
	inSynctest(t, 3, bunqtest.Transport, func(t *testing.T, l *limited) {
		for range 60 {
			l.Go(func() { l.read(t, 0, time.Hour) })
		}
		for _, at := range []time.Duration{time.Second, 10 * time.Second, 19 * time.Second} {
			time.Sleep(time.Until(l.start.Add(at)))
			if !l.read(t, 1, 2500*time.Millisecond) {
				t.Errorf("after %s, the client that was served longest ago is not the next", at)
			}
		}
	})
	inSynctest(t, 1, bunqtest.Transport, func(t *testing.T, l *limited) {
		l.Go(func() { l.read(t, 0, time.Hour) })
		synctest.Wait()
		time.AfterFunc(time.Second, func() { l.read(t, 1, time.Hour) })
		if l.read(t, 0, 4*time.Second) || time.Since(l.start) != time.Second {
			t.Errorf("a call that fits no more gave up after %s", time.Since(l.start))
		}
		time.Sleep(3 * time.Second)
	})
}

func TestLimiterAfterOutcome(t *testing.T) {
	for name, test := range map[string]struct {
		first []any // an error or the Retry-After of a 429; after 0.5 s and 1 s
		then  []float64
	}{
		"no connection":    {[]any{&net.OpError{Op: "dial", Err: io.EOF}}, []float64{.5, .5, .5, 3.5}},
		"no proxy":         {[]any{&net.OpError{Op: "proxyconnect", Err: io.EOF}}, []float64{.5, .5, .5, 3.5}},
		"broken":           {[]any{&net.OpError{Op: "read", Err: io.EOF}}, []float64{.5, .5, 3.5, 3.5}},
		"timeout":          {[]any{context.DeadlineExceeded}, []float64{.5, .5, 3.5, 3.5}},
		"no Retry-After":   {[]any{""}, []float64{30.5, 30.5, 30.5, 33.5}},
		"Retry-After":      {[]any{"7"}, []float64{7.5, 7.5, 7.5, 10.5}},
		"long Retry-After": {[]any{"2147483647"}, []float64{300.5, 300.5, 300.5, 303.5}},
		"first is longer":  {[]any{"60", ""}, []float64{60.5, 60.5, 60.5, 63.5}},
		"second is longer": {[]any{"7", "60"}, []float64{61, 61, 61, 64}},
	} {
		var sent atomic.Int32
		wrap := func(api http.Handler) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				i := int(sent.Add(1))
				if i > len(test.first) {
					return bunqtest.Transport(api).RoundTrip(r)
				}
				time.Sleep(time.Duration(i) * time.Second / 2)
				if err, ok := test.first[i-1].(error); ok {
					return nil, err
				}
				answer := unsigned(http.StatusTooManyRequests, "Retry-After", test.first[i-1].(string), "")
				return bunqtest.Transport(answer).RoundTrip(r)
			})
		}
		t.Run(name, func(t *testing.T) {
			inSynctest(t, 3, wrap, func(t *testing.T, l *limited) {
				for i := range test.first {
					l.Go(func() { l.read(t, i, time.Hour) })
				}
				l.Wait()
				for i := range test.then {
					l.Go(func() { l.read(t, i, time.Hour) })
				}
				synctest.Wait()
				fits := time.Duration(test.then[3]*float64(time.Second)) - time.Since(l.start)
				if began := time.Now(); l.read(t, 0, fits-time.Millisecond) || time.Since(began) != 0 {
					t.Errorf("a call that does not fit waited for %s", time.Since(began))
				}
				l.expect(t, test.then...)
			})
		})
	}
}

func TestLimiterOfEachHost(t *testing.T) {
	for hosts, want := range map[string]float64{
		"https://api.bunq.com/v1 https://public-api.sandbox.bunq.com/v1": 0,
		"http://127.0.0.1:1/v1 http://127.0.0.1:2/v1":                    0,
		"https://api.bunq.com/v1 https://API.bunq.com:443/v1/":           3,
	} {
		inSynctest(t, 1, bunqtest.Transport, func(t *testing.T, l *limited) {
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
