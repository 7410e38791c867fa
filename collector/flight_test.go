package collector_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/collector"
)

// visit is a scrape beside others: when it comes, and what becomes of it.
type visit struct {
	comes    time.Duration
	timeout  time.Duration
	goesAway time.Duration // after it came; 0: never

	families []*dto.MetricFamily
	took     time.Duration
	ended    time.Time
}

// visits lets scrapes come, and returns when all have ended.
func visits(t *testing.T, account *collector.Account, all ...*visit) {
	t.Helper()
	var wg sync.WaitGroup
	for _, v := range all {
		wg.Go(func() {
			time.Sleep(v.comes)
			begun := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), v.timeout)
			defer cancel()
			if v.goesAway > 0 {
				defer time.AfterFunc(v.goesAway, cancel).Stop()
			}
			registry := prometheus.NewRegistry()
			registry.MustRegister(collector.Scrape(ctx, []*collector.Account{account}))
			var err error
			if v.families, err = registry.Gather(); err != nil {
				t.Error(err)
			}
			v.took, v.ended = time.Since(begun), time.Now()
		})
	}
	wg.Wait()
}

// expect fails the test unless the scrape took so long and shows as many of the watched device servers, newest first.
func (v *visit) expect(t *testing.T, name string, took time.Duration, watched []int64, shown int) {
	t.Helper()
	if v.took != took {
		t.Errorf("%s took %v, want %v", name, v.took, took)
	}
	got := exposedBy(v.families)
	for i, id := range watched {
		if got.shows(id) != (i < shown) {
			t.Errorf("%s shows the %d-th newest: %v, want the first %d", name, i+1, got.shows(id), shown)
			return
		}
		if _, ok := got[fmt.Sprintf("device_server_created_timestamp_seconds company %d", id)]; ok != (i < shown) {
			t.Errorf("%s has series of the %d-th newest: %v, want those of the first %d", name, i+1, ok, shown)
			return
		}
	}
}

// succeeded fails the test unless the scrape shows this time as bunq's last answer.
func (v *visit) succeeded(t *testing.T, name string, up float64, last time.Time) {
	t.Helper()
	expect(t, v.families, up, "bunq_up", "company")
	got, _ := value(v.families, "bunq_last_success_timestamp_seconds", "company")
	if want := float64(last.UnixMicro()) / 1e6; got != want {
		t.Errorf("%s: the last success was %v s after the right time", name, got-want)
	}
}

// registered returns an account that has read once, and has all that bunq allows at its disposal.
func registered(t *testing.T, w *world, watched ...int64) (account *collector.Account, success time.Time) {
	t.Helper()
	account, _ = newAccount(t, "company", w, watched...)
	account.Watch(watched[:1])
	scrape(t, time.Minute, account)
	success = time.Now()
	account.Watch(watched)
	time.Sleep(time.Hour)
	w.asked()
	return account, success
}

func TestScrapesAtTheSameTimeAreOneReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bunqtest.Options{}, span(210, 1)...).newestOwn()
		watched := ids(w.DeviceServers())[1:]
		account, _ := registered(t, w, watched...)
		w.latency = 100 * time.Millisecond
		var all []*visit
		for i := range 64 { // within the reading, which takes 200 ms
			all = append(all, &visit{comes: time.Duration(i) * 3 * time.Millisecond, timeout: defaultTimeout})
		}
		begun := time.Now()
		visits(t, account, all...)
		calls := w.asked()
		if len(calls) != 2 {
			t.Errorf("%d requests, want the 2 of one scrape", len(calls))
		}
		whole, seen := readWhole(t, calls)
		login := account.State().Login
		want := w.expected(watched, seen, login.DeviceServerID, whole)
		for i, v := range all {
			v.expect(t, fmt.Sprint("scrape ", i), 200*time.Millisecond-v.comes, watched, len(watched))
			v.succeeded(t, fmt.Sprint("scrape ", i), 1, begun.Add(200*time.Millisecond))
			exposedBy(v.families).expect(t, want)
			expect(t, v.families, 3, "bunq_api_requests_total", "company", "200", "device-server", "GET")
		}
	})
}

func TestEachScrapeEndsInItsOwnTimeWithWhatWasReadUntilThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bunqtest.Options{}, span(3000, 1)...).newestOwn()
		watched := ids(w.DeviceServers())[1:]
		account, success := registered(t, w, watched...)
		w.latency = 100 * time.Millisecond
		var all []*visit
		tests := []struct {
			timeout, took time.Duration
			pages         int
		}{
			{50 * time.Millisecond, 50 * time.Millisecond, 0},
			{150 * time.Millisecond, 150 * time.Millisecond, 1},
			{time.Second, time.Second, 3},
			{3050 * time.Millisecond, 3050 * time.Millisecond, 3},
			{4 * time.Second, 4 * time.Second, 6},
			{9450 * time.Millisecond, 9450 * time.Millisecond, 10},
			{9700 * time.Millisecond, 9600 * time.Millisecond, 12}, // the thirteenth would come too late
		}
		for _, test := range tests {
			for range 4 {
				all = append(all, &visit{timeout: test.timeout})
			}
		}
		visits(t, account, all...)
		for i, v := range all {
			test := tests[i/4]
			name := fmt.Sprint("scrape of ", test.timeout)
			v.expect(t, name, test.took, watched, max(0, 200*test.pages-1)) // its own device server is the newest
			up, last := 1.0, v.ended
			if test.pages == 0 {
				up, last = 0, success
			}
			v.succeeded(t, name, up, last)
			expect(t, v.families, v.took.Seconds(), "bunq_scrape_duration_seconds", "company")
		}
		if n := statuses(w.asked()); len(n) != 1 || n[http.StatusOK] != 12 {
			t.Errorf("answers by status: %v, want 12 of 200", n)
		}
	})
}

// Where a deadline is the very time of an answer, a scrape shows what others go on adding to.
func TestScrapesThatEndAtTheTimeOfAnAnswerShowWholePages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bunqtest.Options{}, span(2000, 1)...).newestOwn()
		watched := ids(w.DeviceServers())[1:]
		account, _ := registered(t, w, watched...)
		all := []*visit{{timeout: defaultTimeout}}
		for i := range 12 {
			all = append(all, &visit{timeout: time.Duration(i%2+1) * 3 * time.Second})
		}
		visits(t, account, all...)
		for i, v := range all {
			got := exposedBy(v.families)
			shown := 0
			for shown < len(watched) && got.shows(watched[shown]) {
				shown++
			}
			pages, least := (shown+1)/200, int(v.took/time.Second) // 3 in 3 s
			if i > 0 && ((shown+1)%200 != 0 || pages < least || pages > least+3) || i == 0 && shown != len(watched) {
				t.Errorf("after %v, the newest %d are shown", v.took, shown)
			}
			v.expect(t, "it", v.took, watched, shown)
			v.succeeded(t, "it", 1, v.ended)
		}
	})
}

func TestAScrapeThatCanWaitForLongerExtendsTheReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bunqtest.Options{}, span(5000, 1)...).newestOwn()
		watched := ids(w.DeviceServers())[1:]
		account, _ := registered(t, w, watched...)
		w.latency = 100 * time.Millisecond
		first, longer, last := &visit{timeout: 5 * time.Second}, &visit{comes: time.Second, timeout: 15 * time.Second}, &visit{comes: 4900 * time.Millisecond, timeout: 1550 * time.Millisecond}
		visits(t, account, first, longer, last)
		first.expect(t, "the first", 5*time.Second, watched, 6*200-1)
		last.expect(t, "the last", 1550*time.Millisecond, watched, 8*200-1)
		// 3 pages each 3.1 s until the 16th second
		longer.expect(t, "the one that can wait", 14800*time.Millisecond, watched, 18*200-1)
		if n := statuses(w.asked()); len(n) != 1 || n[http.StatusOK] != 18 {
			t.Errorf("answers by status: %v, want 18 of 200", n)
		}
	})
}

// hang lets the API's next answer take for ever, and tells when its caller gave up.
func (w *world) hang() (gaveUp func() time.Time) {
	var mu sync.Mutex
	var hung bool
	var ended time.Time
	w.fault = func(_ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if hung {
			return false
		}
		hung = true
		<-r.Context().Done()
		ended = time.Now()
		return true
	}
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return ended
	}
}

func TestAnAnswerThatIsLostCostsTheScrapesOfItsTimeAloneThoughAllOverlap(t *testing.T) {
	for name, test := range map[string]struct {
		devices int64
		answers int32 // before the one that is lost
	}{
		"the only one": {1, 0},
		"the second":   {300, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, bunqtest.Options{}, span(test.devices, 1)...).newestOwn()
				watched := ids(w.DeviceServers())[1:]
				account, success := registered(t, w, watched...)
				var n atomic.Int32
				w.fault = func(_ http.ResponseWriter, r *http.Request) bool {
					if n.Add(1) != test.answers+1 {
						return false
					}
					<-r.Context().Done()
					return true
				}
				begun := time.Now()
				var all []*visit
				for i := range 16 { // of two scrapers in turn
					all = append(all, &visit{comes: time.Duration(i) * interval / 2, timeout: defaultTimeout})
				}
				visits(t, account, all...)
				for i, v := range all {
					name := fmt.Sprint("the scrape that came after ", v.comes)
					if i > 1 { // whoever began the reading that lost the answer has ended by then
						v.expect(t, name, 0, watched, len(watched))
						v.succeeded(t, name, 1, begun.Add(v.comes))
						continue
					}
					v.expect(t, name, defaultTimeout, watched, max(0, 200*int(test.answers)-1))
					if test.answers == 0 {
						v.succeeded(t, name, 0, []time.Time{success, begun.Add(interval)}[i]) // the third ends before the second
					}
				}
			})
		})
	}
}

func TestAScrapeAfterAReloadShowsTheNewIDsThoughAReadingIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bunqtest.Options{}, span(3000, 1)...).newestOwn()
		before := ids(w.DeviceServers())[1:]
		account, _ := registered(t, w, before...)
		w.latency = 100 * time.Millisecond
		time.AfterFunc(time.Second, func() { account.Watch([]int64{1}) })
		early, late := &visit{timeout: defaultTimeout}, &visit{comes: time.Second + 1, timeout: defaultTimeout}
		visits(t, account, early, late)
		for name, v := range map[string]struct {
			*visit
			shown, other int64
		}{"before the reload": {early, 3000, 1}, "after it": {late, 1, 3000}} {
			got := exposedBy(v.families)
			if !got.shows(v.shown) || got.shows(v.other) {
				t.Errorf("the scrape that began %s shows %d: %v, and %d: %v", name, v.shown, got.shows(v.shown), v.other, got.shows(v.other))
			}
		}
		_, old := value(late.families, "bunq_device_server_up", "company", "3000")
		if reading := account.State().Reading; old || len(reading.Watched) != 1 {
			t.Errorf("after the reload, 3000 has a series: %v, and the last reading is of %d", old, len(reading.Watched))
		}
	})
}

// lingering takes a while to end a request that is cancelled.
type lingering struct{ http.RoundTripper }

const linger = 10 * time.Millisecond

// RoundTrip implements [http.RoundTripper].
func (l lingering) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := l.RoundTripper.RoundTrip(r)
	if err != nil {
		time.Sleep(linger)
	}
	return response, err
}

func TestTheLastScrapeToLeaveEndsTheRequestAndCountsItWhileTheNextBeginsAnew(t *testing.T) {
	for name, goesAway := range map[string]time.Duration{"in its own time": 0, "because its client went away": 3500 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, watched := newWorld(t, bunqtest.Options{}, span(3, 1)...), []int64{3, 2, 1}
				config := newConfig(t.TempDir(), w)
				config.Transport = lingering{config.Transport}
				account, _ := newAccountOf(t, config, "company", watched...)
				scrape(t, time.Minute, account)
				success := time.Now()
				time.Sleep(time.Minute)
				w.asked()

				gaveUp, begun, end := w.hang(), time.Now(), 4*time.Second
				first, second := &visit{timeout: 2 * time.Second}, &visit{comes: time.Second, timeout: 2 * time.Second}
				last := &visit{timeout: end, goesAway: goesAway}
				if goesAway > 0 {
					end = goesAway
				}
				next := &visit{comes: end + linger/2, timeout: time.Second}
				visits(t, account, last, second, first, next)

				if got := gaveUp().Sub(begun); got != end {
					t.Errorf("the request ended after %v, want %v", got, end)
				}
				for _, v := range []*visit{first, second} {
					v.expect(t, "an earlier one", 2*time.Second, watched, 0)
					v.succeeded(t, "an earlier one", 0, success)
					expect(t, v.families, 0, "bunq_api_request_errors_total", "company", "device-server", "GET", "timeout")
				}
				last.expect(t, "the last", end+linger, watched, 0)
				expect(t, last.families, 0, "bunq_up", "company")
				expect(t, last.families, 1, "bunq_api_request_errors_total", "company", "device-server", "GET", "timeout")
				expect(t, last.families, 1, "bunq_api_requests_total", "company", "none", "device-server", "GET")
				next.expect(t, "the next", 0, watched, 3)
				next.succeeded(t, "the next", 1, next.ended)
				if n := len(w.asked()); n != 2 {
					t.Errorf("%d requests, want the one that hung and one of the next", n)
				}
				if reading := account.State().Reading; len(reading.DeviceServers) != 3 {
					t.Error("the last reading is the one that ended last, not the one that began last")
				}
			})
		})
	}
}

func TestAScrapeWhoseClientGoesAwayDisturbsNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bunqtest.Options{}, span(3000, 1)...).newestOwn()
		watched := ids(w.DeviceServers())[1:]
		account, _ := registered(t, w, watched...)
		w.latency = 100 * time.Millisecond
		gone, stays := &visit{timeout: time.Minute, goesAway: 150 * time.Millisecond}, &visit{comes: 120 * time.Millisecond, timeout: 4 * time.Second}
		visits(t, account, gone, stays)
		gone.expect(t, "the one that went away", 150*time.Millisecond, watched, 199)
		stays.expect(t, "the one that stayed", 4*time.Second, watched, 6*200-1)
		stays.succeeded(t, "the one that stayed", 1, stays.ended)
		if n := statuses(w.asked()); len(n) != 1 || n[http.StatusOK] != 6 {
			t.Errorf("answers by status: %v, want 6 of 200", n)
		}
	})
}

// A scrape that cannot be waited for, one that is told to wait for too long, and one that reads all.
func TestNothingRunsBetweenScrapes(t *testing.T) {
	w := newWorld(t, bunqtest.Options{}, span(700, 1)...)
	var watched []int64
	for _, d := range w.DeviceServers() {
		watched = append(watched, d.ID)
	}
	account, _ := newAccount(t, "company", w, 700)
	before := goleak.IgnoreCurrent()
	nothingRuns := func(what string) {
		t.Helper()
		if err := goleak.Find(before); err != nil {
			t.Errorf("after %s: %v", what, err)
		}
	}
	expect(t, scrape(t, time.Minute, account), 1, "bunq_up", "company")
	nothingRuns("a scrape")
	account.Watch(watched)
	if got := exposedBy(scrape(t, time.Second, account)); !got.shows(700) || got.shows(1) {
		t.Error("want as much as bunq's limits allow")
	}
	nothingRuns("a scrape that bunq's limits end")
	w.hang()
	expect(t, scrape(t, 20*time.Millisecond, account), 0, "bunq_up", "company")
	nothingRuns("a scrape of an API that hangs")
}

// listed returns how many device servers the exposition has on the account.
func listed(families []*dto.MetricFamily) (total float64) {
	for _, status := range bunq.Statuses() {
		n, _ := value(families, "bunq_device_servers", "company", string(status))
		total += n
	}
	return total
}

// The counts that are shown must not be the map that goes on being counted in, however slowly they are taken.
func TestWhatIsReadOneByOneIsNotAddedToWhatTheListShows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bunqtest.Options{OwnInstallationOnly: true}, span(40, 1)...)
		account, _ := registered(t, w, ids(w.DeviceServers())...)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		slow := make(chan prometheus.Metric)
		go func() {
			defer close(slow)
			collector.Scrape(ctx, []*collector.Account{account}).Collect(slow)
		}()
		taken := gathered{}
		var taking sync.WaitGroup
		taking.Go(func() {
			time.Sleep(5 * time.Second)
			for metric := range slow {
				taken = append(taken, metric)
			}
		})
		longer, shorter := &visit{timeout: defaultTimeout}, &visit{timeout: 4 * time.Second}
		visits(t, account, longer, shorter)
		taking.Wait()
		registry := prometheus.NewRegistry()
		registry.MustRegister(taken)
		families, err := registry.Gather()
		if err != nil {
			t.Error(err)
		}
		for after, n := range map[string]float64{"1s": listed(families), "4s": listed(shorter.families), "9s": listed(longer.families)} {
			if n != 1 {
				t.Errorf("after %s, the list is shown to have %v device servers, want its own alone", after, n)
			}
		}
	})
}

// gathered are metrics that were collected before.
type gathered []prometheus.Metric

// Describe implements [prometheus.Collector].
func (gathered) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (g gathered) Collect(metrics chan<- prometheus.Metric) {
	for _, metric := range g {
		metrics <- metric
	}
}
