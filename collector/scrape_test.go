package collector_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/collector"
)

// scraper is a scrape that may overlap with others.
type scraper struct {
	start, timeout time.Duration
	disconnect     time.Duration // after the start; 0: it does not

	metrics
	took time.Duration
}

// runScrapers returns when all scrapes have ended.
func runScrapers(t *testing.T, a *account, all ...*scraper) {
	t.Helper()
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(func() {
			time.Sleep(s.start)
			ctx, cancel := context.WithTimeout(t.Context(), s.timeout)
			defer cancel()
			if s.disconnect > 0 {
				time.AfterFunc(s.disconnect, cancel)
			}
			start := time.Now()
			s.metrics = gather(ctx, t, a)
			s.took = time.Since(start)
		})
	}
	wg.Wait()
}

func (s *scraper) expectTook(t *testing.T, want time.Duration) {
	t.Helper()
	if s.took != want {
		t.Errorf("the scrape from %v took %v, want %v", s.start, s.took, want)
	}
}

func TestScrapeDeadlineOnSecondPage(t *testing.T) {
	withAccount(t, bunqtest.Options{}, 300, []int64{300, 4, 3, 2, 1}, func(t *testing.T, api *fakeAPI, a *account) {
		api.set(0, on("&older_id=102", hang))
		s := &scraper{timeout: timeout}
		runScrapers(t, a, s)
		s.expectTook(t, timeout)
		s.expect(t, 1, "bunq_up", "company")
		s.expectRead(t, []int64{a.own(), 300}, []int64{4, 3, 2, 1})
		s.expect(t, 1, "bunq_unexpected_device_server_info", "company", `a "quoted" server`, "299", "192.0.2.7", "ACTIVE")
		s.expect(t, absent, "bunq_device_servers", "company", "ACTIVE")
		s.expect(t, 0, "bunq_device_server_list_complete", "company")
		s.expectErrors(t, 1, bunq.ReasonTimeout)
		s.expect(t, timeout.Seconds(), "bunq_scrape_duration_seconds", "company")
		s.expect(t, 1, "bunq_api_requests_total", "company", "none", "device-server", "GET")
	})
}

// A scrape that ends early shows what is known by then, and the read goes on for the others.
func TestScraperDisconnects(t *testing.T) {
	withAccount(t, bunqtest.Options{}, 250, []int64{250, 1}, func(t *testing.T, api *fakeAPI, a *account) {
		api.set(time.Second, nil)
		first := &scraper{timeout: timeout, disconnect: 1500 * time.Millisecond}
		other := &scraper{timeout: timeout, start: 500 * time.Millisecond}
		early := &scraper{timeout: time.Second, start: 500 * time.Millisecond}
		runScrapers(t, a, first, other, early)
		first.expectTook(t, first.disconnect)
		early.expectTook(t, early.timeout)
		for _, s := range []*scraper{first, early} {
			s.expect(t, 1, "bunq_up", "company")
			s.expectRead(t, []int64{250}, []int64{1})
			s.expect(t, 1.5, "bunq_scrape_duration_seconds", "company") // since the read began
			s.expect(t, absent, "bunq_device_servers", "company", "ACTIVE")
		}
		other.expectTook(t, 2500*time.Millisecond) // two pages and one device server
		other.expectRead(t, []int64{250, 1}, nil)
		other.expectErrors(t, 0, bunq.ReasonTimeout)

		api.set(0, hang)
		runScrapers(t, a, first)
		first.expectErrors(t, 0, bunq.ReasonTimeout)
		time.Sleep(interval)
	})
}

func TestScrapesShareRead(t *testing.T) {
	watched := []int64{210, 5, 4, 3, 2, 1}
	withAccount(t, bunqtest.Options{}, 210, watched, func(t *testing.T, api *fakeAPI, a *account) {
		api.set(100*time.Millisecond, nil)
		var all []*scraper
		for i := range 64 {
			all = append(all, &scraper{start: time.Duration(i) * 3 * time.Millisecond, timeout: timeout})
		}
		start := time.Now()
		time.AfterFunc(50*time.Millisecond, func() { a.Reload(collector.Selection{IDs: watched}) }) // as before
		runScrapers(t, a, all...)
		api.expect(t, firstPage, firstPage+"&older_id=12")
		for _, s := range all {
			s.expectRead(t, watched, nil)
			s.expect(t, 211, "bunq_device_servers", "company", "ACTIVE")
			s.expect(t, float64(start.UnixMilli()+200)/1e3, "bunq_last_success_timestamp_seconds", "company")
			s.expectTook(t, 200*time.Millisecond-s.start)
		}
	})
}

func TestJoinWithLaterDeadline(t *testing.T) {
	withAccount(t, bunqtest.Options{}, 1, []int64{1}, func(t *testing.T, api *fakeAPI, a *account) {
		api.set(0, hangOnce())
		first := &scraper{timeout: time.Second}
		later := &scraper{timeout: timeout, start: 500 * time.Millisecond}
		runScrapers(t, a, first, later)
		first.expectTook(t, time.Second)
		first.expectRead(t, nil, []int64{1})
		later.expectTook(t, 500*time.Millisecond) // until the first read ends
		later.expectRead(t, []int64{1}, nil)
		api.expect(t, firstPage, firstPage)
	})
}

func TestReloadDuringRead(t *testing.T) {
	withAccount(t, bunqtest.Options{}, 2, []int64{1}, func(t *testing.T, api *fakeAPI, a *account) {
		api.set(0, hangOnce())
		time.AfterFunc(time.Second, func() { a.Reload(collector.Selection{IDs: []int64{2}}) })
		before, after := &scraper{timeout: timeout}, &scraper{timeout: timeout, start: 2 * time.Second}
		runScrapers(t, a, before, after)
		before.expect(t, 0, "bunq_device_server_up", "company", "1")
		after.expectTook(t, 0)
		after.expectRead(t, []int64{2}, nil)
		after.expect(t, absent, "bunq_device_server_up", "company", "1")
		if watched := a.State().Result.Watched; watched[0] != 2 { // though the other read has ended since
			t.Errorf("the last result is of %v", watched)
		}
	})
}

func TestScrapeSendsNoPOST(t *testing.T) {
	withAccount(t, bunqtest.Options{}, 1, []int64{1, 99}, func(t *testing.T, api *fakeAPI, a *account) {
		idle := idleAccount(t, "idle", apiKey, nil, api, 1)
		for range 10 {
			m := scrape(t, timeout, a, idle)
			m.expectRead(t, []int64{1}, []int64{99})
			m.expect(t, 0, "bunq_scrape_duration_seconds", "company")
			m.expect(t, 0, "bunq_up", "idle")
			m.expect(t, 1, "bunq_login_state", "idle", "unknown")
			m.expect(t, timeout.Seconds(), "bunq_scrape_duration_seconds", "idle")
		}
		api.expect(t, slices.Repeat([]string{firstPage}, 10)...) // 99 is not on the account
	})
}
