package collector_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/collector"
)

// statuses counts answers by status.
func statuses(calls []*call) map[int]int {
	n := map[int]int{}
	for _, c := range calls {
		n[c.status]++
	}
	return n
}

// errorsOf returns how many errors of a reason were counted for both readings of device servers.
func errorsOf(families []*dto.MetricFamily, reason string) float64 {
	list, _ := value(families, "bunq_api_request_errors_total", "company", "device-server", "GET", reason)
	one, _ := value(families, "bunq_api_request_errors_total", "company", "device-server/{id}", "GET", reason)
	return list + one
}

func TestTwelvePagesAreFreshInOneScrapeWithinBunqsLimits(t *testing.T) {
	for name, devices := range map[string][]bunq.DeviceServer{
		"own is the newest": span(2399, 1), "own is the oldest": span(7400, 5001),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, bunqtest.Options{})
				if name == "own is the newest" {
					w.newestOwn()
				}
				account, _ := newAccount(t, "company", w, 1)
				scrape(t, defaultTimeout, account) // registers
				for _, d := range devices {
					w.AddDeviceServer(1, d)
				}
				watched := ids(devices)
				account.Watch(watched)
				for _, w.latency = range []time.Duration{0, 0, 50 * time.Millisecond, 50 * time.Millisecond} {
					time.Sleep(interval)
					w.asked()
					families := scrape(t, defaultTimeout, account)
					got := exposedBy(families)
					for _, id := range watched {
						if !got.shows(id) {
							t.Fatalf("%d is not shown, with a latency of %v", id, w.latency)
						}
					}
					if n := statuses(w.asked()); len(n) != 1 || n[http.StatusOK] != 12 {
						t.Errorf("answers by status: %v, want 12 of 200", n)
					}
					if n, _ := value(families, "bunq_api_requests_total", "company", "429", "device-server", "GET"); n != 0 || errorsOf(families, "rate_limited") != 0 {
						t.Error("a 429 or a reading whose turn did not come is counted")
					}
				}
			})
		})
	}
}

// turns scrapes the account so many times, and returns in which scrapes each device server was read.
func (w *world) turns(t *testing.T, account *collector.Account, timeout time.Duration, scrapes int) (turns map[int64][]int, calls [][]*call) {
	t.Helper()
	turns = map[int64][]int{}
	for i := range scrapes {
		begun := time.Now()
		for id := range scrapeOnly(t, timeout, account).DeviceServers {
			turns[id] = append(turns[id], i)
		}
		calls = append(calls, w.asked())
		time.Sleep(interval - time.Since(begun))
	}
	return turns, calls
}

// scrapeOnly scrapes, and returns what was read as the status page has it: an exposition of thousands takes a while.
func scrapeOnly(t *testing.T, timeout time.Duration, account *collector.Account) collector.Reading {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	metrics := make(chan prometheus.Metric)
	go func() {
		defer close(metrics)
		collector.Scrape(ctx, []*collector.Account{account}).Collect(metrics)
	}()
	for range metrics {
	}
	reading := account.State().Reading
	return reading
}

// expectTurns fails the test if a device server is not read for more than so many scrapes.
func expectTurns(t *testing.T, turns map[int64][]int, watched []int64, scrapes, most int) {
	t.Helper()
	starved := 0
	for _, id := range watched {
		before, longest := -1, 0
		for _, i := range append(slices.Clone(turns[id]), scrapes) {
			longest = max(longest, i-before)
			before = i
		}
		if longest <= most {
			continue
		}
		if starved++; starved <= 5 {
			t.Errorf("%d is read in the scrapes %v of %d, want each %d", id, turns[id], scrapes, most)
		}
	}
	if starved > 5 {
		t.Errorf("%d have no turn in time", starved)
	}
}

func TestAccountTooLargeForOneScrapeIsReadInTurns(t *testing.T) {
	for _, test := range []struct {
		devices int
		latency time.Duration
		reading bunqtest.OlderID
		pages   int // in a scrape
		scrapes int
	}{
		{10_000, 0, bunqtest.OlderIDCompares, 12, 20},
		{3_000, 50 * time.Millisecond, bunqtest.OlderIDRefused, 12, 8},
		{3_000, time.Second, bunqtest.OlderIDShowsNothing, 7, 8},
	} {
		t.Run(fmt.Sprint(test.devices, " ", test.latency), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, bunqtest.Options{UnknownOlderID: test.reading}, span(int64(test.devices), 1)...).newestOwn()
				w.latency = test.latency
				watched := ids(w.DeviceServers())[1:]
				account, _ := newAccount(t, "company", w, watched...)

				families := scrape(t, defaultTimeout, account)
				calls := w.asked()
				_, seen := readWhole(t, calls)
				login := account.State().Login
				exposedBy(families).expect(t, w.expected(watched, seen, login.DeviceServerID, false))
				if ended := errorsOf(families, "rate_limited") + errorsOf(families, "timeout"); ended != 1 || test.latency < time.Second && len(seen) != 200*len(calls) {
					t.Errorf("%d device servers in %d requests, %v errors that tell of the rest", len(seen), len(calls), ended)
				}
				time.Sleep(interval)

				turns, rounds := w.turns(t, account, defaultTimeout, test.scrapes)
				fewest := math.MaxInt
				for i, calls := range rounds {
					n := statuses(calls)
					if n[http.StatusOK]+n[0] != len(calls) || n[0] > 1 { // the last one may not be in time
						t.Errorf("scrape %d: answers by status %v", i, n)
					}
					fewest = min(fewest, n[http.StatusOK])
				}
				pages := (test.devices + 1 + 199) / 200
				if fewest < test.pages {
					t.Errorf("%d pages in a scrape, want %d", fewest, test.pages)
				}
				expectTurns(t, turns, watched, test.scrapes, (pages+fewest-1)/fewest+1)
			})
		})
	}
}

func TestDeviceServersThatTheListDoesNotShowAreReadInTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bunqtest.Options{OwnInstallationOnly: true}, span(40, 1)...)
		watched := ids(w.DeviceServers())
		account, _ := newAccount(t, "company", w, watched...)
		turns, rounds := w.turns(t, account, defaultTimeout, 20)
		for i, calls := range rounds {
			if n := statuses(calls); len(calls) != 12 || len(n) != 1 {
				t.Errorf("scrape %d: answers by status %v", i, n)
			}
		}
		expectTurns(t, turns, watched, 20, (40+10)/11+1)
	})
}

func TestAWatchListThatChangesWhileSomeHaveNotHadTheirTurnLosesNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bunqtest.Options{}, span(5000, 1)...).newestOwn()
		all := ids(w.DeviceServers())[1:]
		account, _ := newAccount(t, "company", w, all...)
		for _, watched := range [][]int64{
			{5000, 4999}, {1}, {5000, 4000, 2600, 2599}, {5000, 2600, 2598, 1}, {6000, 5000, 1}, all[2800:], slices.Concat(all[:900], all[4100:]),
		} {
			account.Watch(all)
			scrapeOnly(t, defaultTimeout, account)
			time.Sleep(interval)
			w.asked()
			account.Watch(watched)
			if got := w.expectExposed(t, account, scrape(t, defaultTimeout, account), watched); got > 1+len(watched) {
				t.Errorf("%d requests for %v", got, watched)
			}
			time.Sleep(interval)
		}
	})
}

func TestAWatchListThatChangesWhileSomeAreStillToBeReadOneByOneLosesNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bunqtest.Options{OwnInstallationOnly: true}, span(40, 1)...)
		all := ids(w.DeviceServers())
		account, _ := newAccount(t, "company", w, all...)
		for _, watched := range [][]int64{{40}, {1}, {30, 29, 28}, {40, 30, 20, 1}, {50}, all[:11], all[29:]} {
			account.Watch(all)
			scrapeOnly(t, defaultTimeout, account)
			time.Sleep(interval)
			account.Watch(watched)
			got := exposedBy(scrape(t, defaultTimeout, account))
			for _, id := range watched {
				if got.shows(id) != (id <= 40) {
					t.Errorf("%d of %v is shown: %v", id, watched, got.shows(id))
				}
			}
			time.Sleep(interval)
		}
	})
}

// fails are the ways in which bunq may fail at one thing for ever.
var fails = map[string]func(*world, http.ResponseWriter, *http.Request){
	"malformed": func(w *world, rw http.ResponseWriter, r *http.Request) {
		w.Answer(rw, r, http.StatusOK, []byte(`{"Response":[{"DeviceServer":{"id":-1}}]}`))
	},
	"times out": func(_ *world, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
}

func TestADeviceServerThatAlwaysFailsLeavesTheOthersTheirTurn(t *testing.T) {
	const failing = 25
	for name, fail := range fails {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, bunqtest.Options{OwnInstallationOnly: true}, span(40, 1)...)
				w.fault = func(rw http.ResponseWriter, r *http.Request) bool {
					if !strings.HasSuffix(r.URL.Path, fmt.Sprint("/", failing)) {
						return false
					}
					fail(w, rw, r)
					return true
				}
				watched := ids(w.DeviceServers())
				account, _ := newAccount(t, "company", w, watched...)
				turns, _ := w.turns(t, account, defaultTimeout, 20)
				if len(turns[failing]) > 0 {
					t.Errorf("%d is read", failing)
				}
				watched = slices.DeleteFunc(watched, func(id int64) bool { return id == failing })
				expectTurns(t, turns, watched, 20, (40+10)/11+1)
			})
		})
	}
}

func TestThoseThatDoNotFitBehindTheListHaveTheirTurnToo(t *testing.T) {
	for _, reading := range []bunqtest.OlderID{bunqtest.OlderIDCompares, bunqtest.OlderIDRefused} {
		t.Run(fmt.Sprint(reading), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, bunqtest.Options{UnknownOlderID: reading}, span(2400, 1)...).newestOwn()
				watched := ids(w.DeviceServers())[1:]
				account, _ := newAccount(t, "company", w, watched...)
				turns, _ := w.turns(t, account, defaultTimeout, 6)
				expectTurns(t, turns, watched, 6, 3)
			})
		})
	}
}
