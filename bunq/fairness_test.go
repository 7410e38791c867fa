package bunq_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq"
)

func TestEachAccountGetsItsShareThoughTheyAreMoreThanTheLimitAllows(t *testing.T) {
	t.Parallel()
	emptyPage()
	const (
		n        = 24
		interval = 15 * time.Second
		timeout  = 9500 * time.Millisecond
		hour     = int(time.Hour / interval) // readings of each account

		// Each other account goes before one once, and in the time of one reading nine do: so the third is served.
		longest = 3*interval + timeout
	)
	for name, test := range map[string]struct {
		offset func(i int) time.Duration
		hourly int // readings that the limit allows
	}{
		"spread over the interval": {func(i int) time.Duration { return time.Duration(i) * interval / n }, 3500},
		"almost at the same time":  {func(i int) time.Duration { return time.Duration(i) * time.Millisecond }, 12 * hour}, // as a little after 0, 3, 6 and 9 s
		"in an order that varies":  {func(int) time.Duration { return 0 }, 12 * hour},
		"all but one at the start": {func(i int) time.Duration { return time.Duration(i/(n-1)) * 2 * time.Second }, 12 * hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start, total := time.Now(), 0
				var mu sync.Mutex
				var scrapes sync.WaitGroup
				for i, client := range readers(t, n, slowly(50*time.Millisecond, http.HandlerFunc(nothingThere))) {
					scrapes.Go(func() {
						begins, last := start.Add(test.offset(i)), start
						for range hour {
							time.Sleep(time.Until(begins))
							ctx, cancel := context.WithDeadline(t.Context(), begins.Add(timeout))
							err := read(ctx, client)
							cancel()
							begins = begins.Add(interval)
							if err != nil {
								continue
							}
							if gap := time.Since(last); gap > longest {
								t.Errorf("account %d was not read for %s", i, gap)
							}
							last = time.Now()
							mu.Lock()
							total++
							mu.Unlock()
						}
						if gap := time.Since(last); gap > longest {
							t.Errorf("account %d was not read for the last %s", i, gap)
						}
					})
				}
				scrapes.Wait()
				if total < test.hourly {
					t.Errorf("%d readings in an hour, want %d", total, test.hourly)
				}
			})
		})
	}
}

func TestAccountWithManyReadingsLeavesOthersTheirTurn(t *testing.T) {
	t.Parallel()
	emptyPage()
	synctest.Test(t, func(t *testing.T) {
		clients, start := readers(t, 3, http.HandlerFunc(nothingThere)), time.Now()
		many, one, other := clients[0], clients[1], clients[2]
		var readings sync.WaitGroup
		defer readings.Wait()
		readAll(t, &readings, slices.Repeat([]*bunq.Client{many}, 100)...)
		for _, at := range []time.Duration{time.Second, 10 * time.Second, 19 * time.Second} {
			time.Sleep(time.Until(start.Add(at)))
			for _, client := range []*bunq.Client{one, other} {
				readings.Go(func() {
					if err := read(t.Context(), client); err != nil {
						t.Error(err)
					}
					if took := time.Since(start.Add(at)); took > 2*time.Second {
						t.Errorf("after %s, the account with one reading was kept waiting for %s, want 2s", at, took)
					}
				})
			}
		}
		readings.Wait()
		if took := time.Since(start); took != 35*3*time.Second { // 106 in all
			t.Errorf("it took %s, want 1m45s", took)
		}
	})
}

func TestAccountThatWasServedLongerAgoGoesBeforeOthersAndWhoFitsNoMoreIsToldAtOnce(t *testing.T) {
	t.Parallel()
	emptyPage()
	synctest.Test(t, func(t *testing.T) {
		clients, api, told := twoAccounts(t, nil)
		start := time.Now()
		first, newcomer := clients[0], clients[1]
		var readings sync.WaitGroup
		defer readings.Wait()
		readAll(t, &readings, first, first, first)
		ends := make(chan error, 3)
		for range 3 {
			readings.Go(func() {
				ctx, cancel := contextFor(t, 5*time.Second)
				defer cancel()
				ends <- read(ctx, first)
			})
		}
		time.Sleep(time.Second)
		if len(ends) != 0 {
			t.Errorf("one ends early with %v", <-ends)
		}
		readings.Go(func() {
			if err := read(t.Context(), newcomer); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took != 3*time.Second {
				t.Errorf("the newcomer is served after %s, want 3s", took)
			}
		})
		synctest.Wait()
		if len(ends) != 1 {
			t.Errorf("%d of three have ended when the newcomer came, want the one that fits no more", len(ends))
		} else {
			expectTurnedAway(t, <-ends)
		}
		readings.Wait()
		if call := told.calls[3]; call.Waited != time.Second || call.RequestID != "" {
			t.Errorf("the observer is told %+v, want that it waited 1s and was not sent", call)
		}
		for range 2 {
			if err := <-ends; err != nil {
				t.Error(err)
			}
		}
		expectSent(t, api, start, 0, 0, 0, 3, 3, 3)
	})
}
