package bunq_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq"
)

// field is many accounts, each scraped once in an interval at a time of its own, as Prometheus does it, behind addresses
// that a program each runs at.
type field struct {
	accounts, addresses int
	interval            time.Duration
	lasts               time.Duration
	latency             time.Duration // of the way to bunq and back
	seed                uint64        // of the times of the scrapes
}

// seen is what became of it.
type seen struct {
	firstFresh time.Duration // until each account had been read once
	longestGap time.Duration // between two readings of one account
	fresh      float64       // share of the scrapes
	mostAtOnce int           // requests of one address within three seconds
}

// scrapeTime is what Prometheus's default timeout leaves.
const scrapeTime = 9500 * time.Millisecond

// address is where requests come from, to an API that counts them and answers all alike.
type address struct {
	mu       sync.Mutex
	arrivals []time.Time
	most     int
	latency  time.Duration
	answer   func() *http.Response
}

func (a *address) RoundTrip(*http.Request) (*http.Response, error) {
	time.Sleep(a.latency / 2)
	a.mu.Lock()
	now := time.Now()
	a.arrivals = append(a.arrivals, now)
	for now.Sub(a.arrivals[0]) >= 3*time.Second {
		a.arrivals = a.arrivals[1:]
	}
	a.most = max(a.most, len(a.arrivals))
	a.mu.Unlock()
	time.Sleep(a.latency / 2)
	return a.answer(), nil
}

// play runs a field on the virtual clock.
func (f field) play(t *testing.T) (s seen) {
	t.Helper()
	config := readerConfig(t, nil)
	recorded := page(1)
	answer := func() *http.Response {
		return &http.Response{StatusCode: recorded.Code, Header: recorded.Header(), Body: io.NopCloser(bytes.NewReader(recorded.Body.Bytes()))}
	}
	synctest.Test(t, func(t *testing.T) {
		var addresses []*address
		var programs []bunq.Config
		for range f.addresses {
			a := &address{latency: f.latency, answer: answer}
			program := config
			program.Transport, program.Limiter = a, bunq.NewLimiter()
			addresses, programs = append(addresses, a), append(programs, program)
		}
		begun := time.Now()
		random := rand.New(rand.NewPCG(f.seed, uint64(f.accounts)))
		var mu sync.Mutex
		var scrapes, fresh int
		var accounts sync.WaitGroup
		for i := range f.accounts {
			client := newClient(t, programs[i%f.addresses])
			offset := time.Duration(random.Int64N(int64(f.interval)))
			accounts.Go(func() {
				last := begun
				for n := 0; ; n++ {
					time.Sleep(time.Until(begun.Add(offset + time.Duration(n)*f.interval)))
					if time.Since(begun) >= f.lasts {
						break
					}
					ctx, cancel := context.WithTimeout(t.Context(), scrapeTime)
					_, err := client.DeviceServers(ctx, 0)
					cancel()
					mu.Lock()
					scrapes++
					if err == nil {
						fresh++
						if last.Equal(begun) {
							s.firstFresh = max(s.firstFresh, time.Since(begun))
						} else {
							s.longestGap = max(s.longestGap, time.Since(last))
						}
						last = time.Now()
					}
					mu.Unlock()
				}
				mu.Lock()
				defer mu.Unlock()
				s.longestGap = max(s.longestGap, begun.Add(f.lasts).Sub(last))
			})
		}
		accounts.Wait()
		s.fresh = float64(fresh) / float64(scrapes)
		for _, a := range addresses {
			s.mostAtOnce = max(s.mostAtOnce, a.most)
		}
	})
	return s
}

// TestManyAccountsAllHaveTheirTurn is as large as ACCOUNTS says: docs/performance.md has the table of 10,000.
func TestManyAccountsAllHaveTheirTurn(t *testing.T) {
	accounts, err := strconv.Atoi(cmp.Or(os.Getenv("ACCOUNTS"), "1000"))
	if err != nil {
		t.Fatal(err)
	}
	for _, addresses := range []int{1, 10, 200} {
		t.Run(fmt.Sprintf("addresses=%d", addresses), func(t *testing.T) {
			t.Parallel()
			const latency = 100 * time.Millisecond
			each := max(accounts/addresses, 1)
			turn := time.Duration(each) * (3*time.Second + latency) / 3 // of all accounts of an address, one after the other
			f := field{accounts, addresses, time.Minute, 3*turn + 5*time.Minute, latency, 1}
			s := f.play(t)
			t.Logf("%d accounts behind %d addresses, scraped once a minute: each is fresh after %s, and again within %s; %.1f %% of the scrapes are; at most %d requests in 3 s",
				accounts, addresses, s.firstFresh.Round(time.Second), s.longestGap.Round(time.Second), 100*s.fresh, s.mostAtOnce)
			if s.mostAtOnce != 3 {
				t.Errorf("an address sent %d requests within 3 s, want the 3 that bunq allows", s.mostAtOnce)
			}
			// More accounts are scraped at one time than at another, so some wait a little longer than their turn.
			if longest := turn*5/4 + 2*f.interval; s.firstFresh > longest || s.longestGap > longest {
				t.Errorf("an account was first read after %s, or not for %s; want all within %s", s.firstFresh, s.longestGap, longest)
			}
		})
	}
}

// TestHowManyAccountsOneAddressCanWatch finds out how many are fresh in each scrape. With ACCOUNTS it takes longer.
func TestHowManyAccountsOneAddressCanWatch(t *testing.T) {
	intervals, seeds := []time.Duration{15 * time.Second, 30 * time.Second, time.Minute}, uint64(2)
	if os.Getenv("ACCOUNTS") != "" {
		intervals, seeds = append(intervals, 2*time.Minute, 5*time.Minute, 15*time.Minute), 10
	}
	for _, interval := range intervals {
		t.Run(interval.String(), func(t *testing.T) {
			t.Parallel()
			const latency = 100 * time.Millisecond
			allows := int(3 * interval / (3*time.Second + latency))
			for _, share := range []float64{1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5} {
				accounts := int(share * float64(allows))
				worst := 1.0
				for seed := range seeds {
					worst = min(worst, field{accounts, 1, interval, 20 * interval, latency, seed}.play(t).fresh)
				}
				t.Logf("%d accounts, %.0f %% of what bunq allows: at worst %.2f %% of the scrapes are fresh", accounts, 100*share, 100*worst)
				if worst == 1 {
					return
				}
			}
			t.Error("not even half of what bunq allows is fresh in each scrape")
		})
	}
}
