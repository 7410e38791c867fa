package bunq_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// emptyPage is the bank's answer to a reading, signed once: that costs more than all the rest.
var emptyPage = sync.OnceValue(func() *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	signed(http.StatusOK, `{"Response":[]}`)(answer, httptest.NewRequest(http.MethodGet, "/", nil))
	return answer
})

func nothingThere(w http.ResponseWriter, _ *http.Request) {
	maps.Copy(w.Header(), emptyPage().Header())
	_, _ = w.Write(emptyPage().Body.Bytes())
}

// accounts returns clients that share a limiter, each with a copy of the context file.
func accounts(t *testing.T, n int, config bunq.Config) (clients []*bunq.Client) {
	t.Helper()
	text, err := os.ReadFile(config.ContextFile)
	if err != nil {
		t.Fatal(err)
	}
	if config.Limiter == nil {
		config.Limiter = bunq.NewLimiter()
	}
	for range n {
		config.ContextFile = filepath.Join(t.TempDir(), "bunq.conf")
		if err := os.WriteFile(config.ContextFile, text, 0o600); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, newClient(t, config))
	}
	return clients
}

// readers are accounts without a key, of which each reading is one call.
func readers(t *testing.T, n int, api http.Handler) []*bunq.Client {
	t.Helper()
	return accounts(t, n, readerConfig(t, api))
}

// read makes one reading.
func read(ctx context.Context, client *bunq.Client) error {
	_, err := client.DeviceServers(ctx, 0)
	return err
}

// twoAccounts are readers whose calls are told of. A limiter of nil is one that they share.
func twoAccounts(t *testing.T, limiter *bunq.Limiter) (clients []*bunq.Client, api *counting, told *recorder) {
	t.Helper()
	api, told = count(http.HandlerFunc(nothingThere)), &recorder{}
	config := readerConfig(t, api)
	config.Observe, config.Limiter = told.observe, limiter
	return accounts(t, 2, config), api, told
}

// scrapeAtOnce has each account make one reading in the time of a scrape, and fails the test for errors.
func scrapeAtOnce(t *testing.T, clients []*bunq.Client) {
	t.Helper()
	var scrapes sync.WaitGroup
	for _, client := range clients {
		scrapes.Go(func() {
			ctx, cancel := contextFor(t, scrapeTime)
			defer cancel()
			if err := read(ctx, client); err != nil {
				t.Error(err)
			}
		})
	}
	scrapes.Wait()
}

// readAll makes readings at the same time, in the order given as far as they have to wait, and fails the test for
// errors.
func readAll(t *testing.T, readings *sync.WaitGroup, clients ...*bunq.Client) {
	t.Helper()
	for _, client := range clients {
		readings.Go(func() {
			if err := read(t.Context(), client); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
	}
}

// since returns how many seconds after the start it was each time.
func since(start time.Time, times []time.Time) (seconds []float64) {
	for _, at := range times {
		seconds = append(seconds, at.Sub(start).Seconds())
	}
	return seconds
}

// expectSent fails the test unless that is when the readings came, in seconds after the start.
func expectSent(t *testing.T, api *counting, start time.Time, want ...float64) {
	t.Helper()
	_, times := api.seen("GET")
	if diff := cmp.Diff(want, since(start, times), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("readings came after so many seconds, -want +got:\n%s", diff)
	}
}

// expectTurnedAway fails the test unless err is that of a reading whose turn would not have come in time.
func expectTurnedAway(t *testing.T, err error) {
	t.Helper()
	e := apiError(t, err)
	want := bunq.Error{Operation: bunq.ListDeviceServers, Reason: bunq.ReasonRateLimited, Err: e.Err}
	if diff := cmp.Diff(want, *e, cmpopts.EquateErrors()); diff != "" || e.Err == nil {
		t.Errorf("the error, -want +got:\n%s", diff)
	}
}

func TestReadingsGoOutThreeAtOnceAndThreeEachThreeSeconds(t *testing.T) {
	t.Parallel()
	for name, together := range map[string]int{"at the same time": 11, "one after another": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newProgram(t, bunqtest.Options{})
				keyless(t, p)
				api := count(p.api)
				p.config.Transport = bunqtest.Transport(api)
				client, start := newClient(t, p.config), time.Now()
				var readings sync.WaitGroup
				for range together {
					readings.Go(func() {
						for range 11 / together {
							if err := read(t.Context(), client); err != nil {
								t.Error(err)
							}
						}
					})
				}
				readings.Wait()
				expectSent(t, api, start, 0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 9)
			})
		})
	}
}

// far is an API at the end of a network that takes its time both ways. What nobody waits for any more goes no further.
func far(seed uint64, api http.Handler) http.HandlerFunc {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0))
	goes := func(r *http.Request) bool {
		mu.Lock()
		most := []time.Duration{time.Microsecond, 50 * time.Millisecond, 4 * time.Second}[random.IntN(3)]
		takes := time.Duration(random.Int64N(int64(most)))
		mu.Unlock()
		select {
		case <-time.After(takes):
			return true
		case <-r.Context().Done():
			return false
		}
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if goes(r) {
			api.ServeHTTP(w, r)
			goes(r)
		}
	}
}

func TestBunqSeesThreeReadingsInThreeSecondsHoweverLongTheyTravel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newProgram(t, bunqtest.Options{})
				keyless(t, p)
				arrived, told := count(p.api), &recorder{}
				p.config.Transport, p.config.Observe = bunqtest.Transport(far(seed, arrived)), told.observe
				random := rand.New(rand.NewPCG(seed, 1))
				var readings sync.WaitGroup
				for _, client := range accounts(t, 5, p.config) {
					for range 24 {
						begins, lasts := time.Duration(random.Int64N(int64(time.Minute))), time.Hour
						if random.IntN(3) == 0 { // and may be given up anywhere
							lasts = time.Duration(random.Int64N(int64(12 * time.Second)))
						}
						readings.Go(func() {
							time.Sleep(begins)
							ctx, cancel := contextFor(t, lasts)
							defer cancel()
							if err := read(ctx, client); err != nil && lasts == time.Hour {
								t.Error(err)
							}
						})
					}
				}
				readings.Wait()
				if slices.ContainsFunc(told.calls, func(c bunq.Call) bool { return c.StatusCode == http.StatusTooManyRequests }) {
					t.Error("bunq answers 429")
				}
				_, times := arrived.seen("GET")
				for i := 3; i < len(times); i++ {
					if within := times[i].Sub(times[i-3]); within < 3*time.Second {
						t.Errorf("four readings came within %s", within)
					}
				}
			})
		})
	}
}

func TestAccountsOfOneAddressLogInOneAfterAnotherAndReadMeanwhile(t *testing.T) {
	t.Parallel()
	const n = 5
	for name, takes := range map[string]time.Duration{"at once": 0, "slow": 300 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := newAPI(t, bunqtest.Options{})
				arrived, told, limiter := count(api), &recorder{}, bunq.NewLimiter()
				var clients []*bunq.Client
				for range n {
					config := newConfig(t, slowly(takes, arrived))
					config.Limiter, config.Observe = limiter, told.observe
					clients = append(clients, newClient(t, config))
				}
				states := map[bunq.LoginState]int{}
				for range 3*n + 1 {
					next := time.Now().Add(10 * time.Second)
					scrapeAtOnce(t, clients)
					clear(states)
					for _, client := range clients {
						states[client.Login().State]++
					}
					if waiting := states[bunq.LoginRateLimited]; waiting+states[bunq.LoginOK] != n {
						t.Errorf("the logins are %v", states)
					}
					time.Sleep(time.Until(next))
				}
				if states[bunq.LoginOK] != n || api.Sessions() != n {
					t.Errorf("after %d half minutes, the logins are %v, and there are %d sessions", n, states, api.Sessions())
				}
				for _, call := range told.calls {
					if call.StatusCode == http.StatusTooManyRequests {
						t.Errorf("bunq answers %v", call.Err)
					}
				}
				_, logins := arrived.seen("POST /v1/session-server")
				if apart(t, logins); len(logins) != n {
					t.Errorf("%d logins, want %d", len(logins), n)
				}
				for _, pause := range pauses(logins) {
					if takes == 0 && pause != 30 || pause > 31 {
						t.Errorf("the next login came after %v s, want as soon as bunq allows it", pause)
					}
				}
				if got := len(api.DeviceServers()); got != n {
					t.Errorf("%d device servers, want %d", got, n)
				}
			})
		})
	}
}

func TestRegistrationsGoOutFiveEachThreeSeconds(t *testing.T) {
	t.Parallel()
	bank() // outside of the bubble
	synctest.Test(t, func(t *testing.T) {
		api := count(answering(http.NotFoundHandler(), bunq.CreateDeviceServer, failing(http.StatusTeapot, nil, "")))
		start := time.Now()
		var readings sync.WaitGroup
		for _, client := range accounts(t, 7, restartConfig(t, api, contextWith(t, notRegistered))) {
			readings.Go(func() { _ = loginError(t, client) })
		}
		readings.Wait()
		_, times := api.seen("POST /v1/device-server")
		if diff := cmp.Diff([]float64{0, 0, 0, 0, 0, 3, 3}, since(start, times)); diff != "" {
			t.Errorf("registrations came after so many seconds, -want +got:\n%s", diff)
		}
	})
}

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

func TestReadingWhoseTurnComesTooLateIsToldSoAtOnce(t *testing.T) {
	t.Parallel()
	emptyPage()
	synctest.Test(t, func(t *testing.T) {
		clients, api, told := twoAccounts(t, nil)
		start := time.Now()
		var readings sync.WaitGroup
		defer readings.Wait()
		readAll(t, &readings, clients[0], clients[0], clients[0])

		ctx, cancel := contextFor(t, 2900*time.Millisecond)
		defer cancel()
		err := read(ctx, clients[1])
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %s, want no time", took)
		}
		expectTurnedAway(t, err)
		const want = "GET device-server: rate_limited: bunq allows 3 readings in 3 s from one address, all accounts together, and the turn of this one would come too late: scrape less often, or raise scrape_timeout"
		if err.Error() != want {
			t.Errorf("the error is %v, want %s", err, want)
		}
		call := bunq.Call{Operation: bunq.ListDeviceServers, Err: apiError(t, err)}
		if diff := cmp.Diff([]bunq.Call{call}, told.calls[3:], cmpopts.EquateErrors()); diff != "" {
			t.Errorf("calls after the first three, -want +told:\n%s", diff)
		}

		ctx, cancel = contextFor(t, 3100*time.Millisecond)
		defer cancel()
		if err := read(ctx, clients[1]); err != nil {
			t.Error(err)
		}
		expectSent(t, api, start, 0, 0, 0, 3)
	})
}

func TestWhoIsTurnedAwayIsToldWhatHelps(t *testing.T) {
	t.Parallel()
	emptyPage()
	refusing := failing(http.StatusTooManyRequests, map[string]string{"Retry-After": "60"}, "")
	const (
		readings = "GET device-server: rate_limited: bunq allows 3 readings in 3 s from one address, all accounts together, "
		logins   = "POST session-server: rate_limited: bunq allows 1 login in 30 s from one address, all accounts together, "
	)
	for name, test := range map[string]struct {
		api   http.HandlerFunc // for those before
		key   bool             // so that they log in
		after time.Duration
		want  string
	}{
		"after a 429":          {refusing, false, 10 * time.Second, "GET device-server: rate_limited: bunq has answered 429, so it is left alone for 50s"},
		"too many":             {nothingThere, false, 0, readings + "and the turn of this one would come too late: scrape less often, or raise scrape_timeout"},
		"slow answers":         {hanging, false, 2 * time.Second, readings + "and the turn of this one would come too late: scrape less often, or raise scrape_timeout"},
		"no answers":           {hanging, false, 4 * time.Second, readings + "and it has not answered earlier ones yet"},
		"another's login":      {bank().api.ServeHTTP, true, time.Second, logins + "and the turn of this one would come too late: it is tried again in a later scrape"},
		"a 429 to another's":   {answering(bank().api, bunq.CreateSessionServer, refusing).ServeHTTP, true, 10 * time.Second, "POST session-server: rate_limited: bunq has answered 429, so it is left alone for 50s"},
		"another's that hangs": {answering(bank().api, bunq.CreateSessionServer, hanging).ServeHTTP, true, 10 * time.Second, logins + "and the turn of this one would come too late: it is tried again in a later scrape"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				config := readerConfig(t, test.api)
				if test.key {
					config = restartConfig(t, test.api, contextWith(t, notLoggedIn))
				}
				clients := accounts(t, 4, config)
				earlier := clients[:3]
				if test.key {
					earlier = clients[:1]
				}
				defer time.Sleep(time.Minute) // logins go on without those who asked for them
				var before sync.WaitGroup
				defer before.Wait()
				for _, client := range earlier {
					before.Go(func() {
						ctx, cancel := contextFor(t, 5*time.Second)
						defer cancel()
						_ = read(ctx, client)
					})
				}
				synctest.Wait()
				time.Sleep(test.after)
				ctx, cancel := contextFor(t, 2*time.Second)
				defer cancel()
				err := read(ctx, clients[3])
				if test.key {
					err = clients[3].Login().Err
				}
				if err == nil || err.Error() != test.want {
					t.Errorf("the error is %v, want %s", err, test.want)
				}
			})
		})
	}
}

func TestReadingThatWouldBeAnsweredTooLateIsToldSoAtOnce(t *testing.T) {
	t.Parallel()
	emptyPage()
	synctest.Test(t, func(t *testing.T) {
		client, start := readers(t, 1, slowly(time.Second, http.HandlerFunc(nothingThere)))[0], time.Now()
		var readings sync.WaitGroup
		defer readings.Wait()
		readAll(t, &readings, client, client, client)
		readings.Wait()
		early, cancel := context.WithDeadline(t.Context(), start.Add(4900*time.Millisecond))
		defer cancel()
		err := read(early, client)
		if expectTurnedAway(t, err); time.Since(start) != time.Second {
			t.Errorf("it took %s, want no time", time.Since(start)-time.Second)
		}
		late, cancel := context.WithDeadline(t.Context(), start.Add(5100*time.Millisecond))
		defer cancel()
		if err := read(late, client); err != nil {
			t.Error(err)
		}
	})
}

func TestTimeThatReadingsWaitedIsTold(t *testing.T) {
	t.Parallel()
	emptyPage()
	synctest.Test(t, func(t *testing.T) {
		config, told := readerConfig(t, slowly(time.Second, http.HandlerFunc(nothingThere))), &recorder{}
		config.Observe = told.observe
		client := newClient(t, config)
		var readings sync.WaitGroup
		defer readings.Wait()
		readAll(t, &readings, slices.Repeat([]*bunq.Client{client}, 8)...)
		readings.Wait()
		var waited []float64
		for _, call := range told.calls {
			if waited = append(waited, call.Waited.Seconds()); call.Duration != time.Second {
				t.Errorf("a call took %s, want 1s without the time that it waited", call.Duration)
			}
		}
		if diff := cmp.Diff([]float64{0, 0, 0, 4, 4, 4, 8, 8}, waited); diff != "" {
			t.Errorf("calls waited for so many seconds, -want +told:\n%s", diff)
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

func TestReadingIsToldAsSoonAsSlowAnswersLeaveNoTurnForIt(t *testing.T) {
	t.Parallel()
	emptyPage()
	synctest.Test(t, func(t *testing.T) {
		client, start := readers(t, 1, slowly(20*time.Second, http.HandlerFunc(nothingThere)))[0], time.Now()
		var readings sync.WaitGroup
		defer readings.Wait()
		readAll(t, &readings, client, client, client)
		ctx, cancel := contextFor(t, 8*time.Second)
		defer cancel()
		expectTurnedAway(t, read(ctx, client))
		if took := time.Since(start); took != 6*time.Second { // an answer now would count until 9 s
			t.Errorf("it took %s, want 6s", took)
		}
	})
}

func TestAfterA429NothingIsSentForAsLongAsBunqSays(t *testing.T) {
	t.Parallel()
	emptyPage()
	for name, test := range map[string]struct {
		retryAfter string
		want       float64
	}{
		"says nothing":   {"", 30},
		"says 7 seconds": {"7", 7},
		"says 68 years":  {"2147483647", 3600},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var refused sync.Once
				api := count(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					answer := http.HandlerFunc(nothingThere)
					refused.Do(func() {
						answer = failing(http.StatusTooManyRequests, map[string]string{"Retry-After": test.retryAfter}, "")
					})
					answer(w, r)
				}))
				clients, start := readers(t, 3, slowly(time.Second, api)), time.Now()
				var readings sync.WaitGroup
				defer readings.Wait()
				readings.Go(func() {
					if e := apiError(t, read(t.Context(), clients[0])); e.StatusCode != http.StatusTooManyRequests {
						t.Errorf("the error is %v, want bunq's own", e)
					}
				})
				time.Sleep(2 * time.Second) // bunq was asked after one, and so its answer came after one
				readAll(t, &readings, clients[1], clients[2], clients[0], clients[1])
				ctx, cancel := contextFor(t, 4*time.Second)
				defer cancel()
				began := time.Now()
				err := read(ctx, clients[2])
				if expectTurnedAway(t, err); time.Since(began) != 0 {
					t.Errorf("it took %s, want no time", time.Since(began))
				}
				want := fmt.Sprintf("GET device-server: rate_limited: bunq has answered 429, so it is left alone for %s",
					time.Duration(test.want-1)*time.Second)
				if err.Error() != want {
					t.Errorf("the error is %v, want %s", err, want)
				}
				readings.Wait()
				allowed := 2 + test.want
				expectSent(t, api, start, 1, allowed, allowed, allowed, allowed+4)
			})
		})
	}
}

func TestAnotherProgramBehindTheAddressCostsOne429AndAPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProgram(t, bunqtest.Options{Penalty: 20 * time.Second})
		keyless(t, p)
		api, told := count(p.api), &recorder{}
		p.config.Observe = told.observe
		start := time.Now()
		other := newClient(t, p.config) // has a limiter of its own, as another program has
		var readings sync.WaitGroup
		defer readings.Wait()
		readAll(t, &readings, other, other, other)
		p.config.Transport = bunqtest.Transport(api)
		clients := accounts(t, 2, p.config)
		expectReason(t, read(t.Context(), clients[0]), bunq.ReasonRateLimited)
		readAll(t, &readings, clients[0], clients[1], clients[1], clients[0])
		readings.Wait()
		expectSent(t, api, start, 0, 30, 30, 30, 33)
		if got := len(slices.DeleteFunc(told.calls, func(c bunq.Call) bool { return c.Err == nil })); got != 1 {
			t.Errorf("%d calls failed, want one", got)
		}
	})
}

func TestReadingsThatNeverLeftDoNotCountAndOthersDo(t *testing.T) {
	t.Parallel()
	emptyPage()
	for name, test := range map[string]struct {
		err  error // after a second
		next float64
	}{
		"no connection":          {&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}, 1},
		"no way past the proxy":  {fmt.Errorf("proxy: %w", &net.OpError{Op: "proxyconnect", Net: "tcp", Err: io.EOF}), 1},
		"broken while it waited": {&net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}, 4},
		"broken off":             {io.EOF, 4},
		"no answer in time":      {context.DeadlineExceeded, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := count(http.HandlerFunc(nothingThere))
				config, broken := readerConfig(t, api), make(chan struct{}, 3)
				whole := config.Transport
				config.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
					select {
					case broken <- struct{}{}:
						<-r.Context().Done()
						return nil, test.err
					default:
						return whole.RoundTrip(r)
					}
				})
				client, start := newClient(t, config), time.Now()
				var readings sync.WaitGroup
				for range 3 {
					readings.Go(func() {
						ctx, cancel := contextFor(t, time.Second)
						defer cancel()
						if err := read(ctx, client); err == nil {
							t.Error("it is read")
						}
					})
				}
				synctest.Wait()
				readAll(t, &readings, client, client, client) // wait meanwhile
				readings.Wait()
				expectSent(t, api, start, test.next, test.next, test.next)
			})
		})
	}
}

func TestEachHostHasLimitsOfItsOwn(t *testing.T) {
	t.Parallel()
	emptyPage()
	for name, test := range map[string]struct {
		first, second bunq.Config
		want          float64
	}{
		"sandbox and production":    {bunq.Config{Environment: bunq.Sandbox}, bunq.Config{Environment: bunq.Production}, 0},
		"two hosts":                 {bunq.Config{BaseURL: "https://a.example/v1"}, bunq.Config{BaseURL: "https://b.example/v1"}, 0},
		"two ports":                 {bunq.Config{BaseURL: "http://127.0.0.1:1/v1"}, bunq.Config{BaseURL: "http://127.0.0.1:2/v1"}, 0},
		"the same":                  {bunq.Config{Environment: bunq.Production}, bunq.Config{Environment: bunq.Production}, 3},
		"the same in other letters": {bunq.Config{BaseURL: "https://API.bunq.com/v1"}, bunq.Config{BaseURL: "https://api.BUNQ.com/v1"}, 3},
		"the environment's own":     {bunq.Config{Environment: bunq.Production}, bunq.Config{BaseURL: "https://Api.Bunq.Com/v1/"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				limiter, start := bunq.NewLimiter(), time.Now()
				var readings sync.WaitGroup
				defer readings.Wait()
				for i, side := range []bunq.Config{test.first, test.second} {
					api := count(http.HandlerFunc(nothingThere))
					config := readerConfig(t, api)
					editContext(t, config, changes{"environment_type": nil})
					config.Environment, config.BaseURL, config.Limiter = side.Environment, side.BaseURL, limiter
					client := newClient(t, config)
					readAll(t, &readings, client, client, client)
					readings.Wait()
					at := float64(i) * test.want
					expectSent(t, api, start, at, at, at)
				}
			})
		})
	}
}

func TestReadingThatIsCancelledMakesRoomForTheNext(t *testing.T) {
	t.Parallel()
	emptyPage()
	synctest.Test(t, func(t *testing.T) {
		limiter := bunq.NewLimiter()
		clients, api, told := twoAccounts(t, limiter)
		start := time.Now()
		var readings sync.WaitGroup
		defer readings.Wait()
		readAll(t, &readings, clients[0], clients[0], clients[0])
		cancelled, cancel := context.WithCancel(t.Context())
		readings.Go(func() {
			err := read(cancelled, clients[0])
			if took := time.Since(start); took != time.Second || !errors.Is(err, context.Canceled) {
				t.Errorf("after %s it ends with %v, want 1s and a cancelled context", took, err)
			}
			expectTurnedAway(t, err)
		})
		synctest.Wait()
		readAll(t, &readings, clients[0], clients[0], clients[0], clients[0])
		if turns, timers := limiter.Waiting(); turns != 5 || timers != 1 {
			t.Errorf("%d turns and %d timers wait, want 5 and 1", turns, timers)
		}
		time.Sleep(time.Second)
		cancel()
		readings.Wait()
		if call := told.calls[3]; call.Waited != time.Second || call.RequestID != "" {
			t.Errorf("the observer is told %+v, want that it waited 1s and was not sent", call)
		}
		expectSent(t, api, start, 0, 0, 0, 3, 3, 3, 6)
	})
}

func TestNoTimerRunsWhileNoReadingWaits(t *testing.T) {
	t.Parallel()
	emptyPage()
	for name, last := range map[string]func(*testing.T, *bunq.Client){
		"none ever did": func(*testing.T, *bunq.Client) {},
		"the last was served": func(t *testing.T, client *bunq.Client) {
			if err := read(t.Context(), client); err != nil {
				t.Error(err)
			}
		},
		"the last was turned away": func(t *testing.T, client *bunq.Client) {
			ctx, cancel := contextFor(t, time.Second)
			defer cancel()
			expectTurnedAway(t, read(ctx, client))
		},
		"the last was cancelled": func(t *testing.T, client *bunq.Client) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			expectTurnedAway(t, read(ctx, client))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				config := readerConfig(t, http.HandlerFunc(nothingThere))
				config.Limiter = bunq.NewLimiter()
				client := newClient(t, config)
				var readings sync.WaitGroup
				defer readings.Wait()
				readAll(t, &readings, client, client, client)
				last(t, client)
				if turns, timers := config.Limiter.Waiting(); turns != 0 || timers != 0 {
					t.Errorf("%d turns and %d timers wait, want none", turns, timers)
				}
			})
		})
	}
}

func TestRegistrationWhoseTurnDoesNotComeLeavesNoTrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, bunqtest.Options{})
		config := newConfig(t, answering(api, bunq.CreateDeviceServer, failing(http.StatusTooManyRequests, map[string]string{"Retry-After": "60"}, "")))
		config.Limiter = bunq.NewLimiter()
		start := time.Now()
		_, err := list(t.Context(), newClient(t, config)) // fills the window for a minute
		expectReason(t, err, bunq.ReasonRateLimited)

		arrived := count(api)
		config.ContextFile, config.Transport = filepath.Join(t.TempDir(), "bunq.conf"), bunqtest.Transport(arrived)
		client := newClient(t, config)
		time.Sleep(time.Until(start.Add(29 * time.Second)))
		_, err = list(t.Context(), client)
		if e := apiError(t, err); e.Operation != bunq.CreateDeviceServer || e.Reason != bunq.ReasonRateLimited || e.StatusCode != 0 {
			t.Errorf("the error is %v", err)
		}
		if took := time.Since(start); took != 29*time.Second {
			t.Errorf("it took %s, want no time", took-29*time.Second)
		}
		if login := client.Login(); login.State != bunq.LoginRateLimited {
			t.Errorf("the login is %+v", login)
		}
		if requested := readContextFile(t, config)["device_server_requested"]; requested != nil {
			t.Errorf("the file says that %q was requested", requested)
		}
		time.Sleep(2 * time.Second)
		mustRead(t, client)
		_, posts := arrived.seen("POST")
		if diff := cmp.Diff([]float64{29, 60, 60}, since(start, posts)); diff != "" {
			t.Errorf("installation, registration and login came after so many seconds, -want +got:\n%s", diff)
		}
		if got := len(api.DeviceServers()); got != 1 || client.Login().State != bunq.LoginOK {
			t.Errorf("%d device servers, and the login is %+v", got, client.Login())
		}
	})
}

func TestLoginThatWaitedForItsTurnLongIsSentAllTheSame(t *testing.T) {
	t.Parallel()
	emptyPage()
	synctest.Test(t, func(t *testing.T) {
		api := count(slowly(time.Second, bank().api))
		var readings sync.WaitGroup
		clients, start := accounts(t, 2, restartConfig(t, api, contextWith(t, notLoggedIn))), time.Now()
		readAll(t, &readings, clients...)
		readings.Wait()
		for i, client := range clients {
			if login := client.Login(); login.State != bunq.LoginOK {
				t.Errorf("account %d: the login is %+v", i, login)
			}
		}
		_, logins := api.seen("POST")
		if diff := cmp.Diff([]float64{0, 31}, since(start, logins)); diff != "" {
			t.Errorf("logins came after so many seconds, -want +got:\n%s", diff)
		}
	})
}

func TestOfTwo429sTheLongerPauseHolds(t *testing.T) {
	t.Parallel()
	emptyPage()
	synctest.Test(t, func(t *testing.T) {
		retryAfter := make(chan string, 2)
		retryAfter <- "60"
		retryAfter <- "" // of a gateway, say
		api := count(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case value := <-retryAfter:
				failing(http.StatusTooManyRequests, map[string]string{"Retry-After": value}, "")(w, r)
			default:
				nothingThere(w, r)
			}
		}))
		client, start := readers(t, 1, slowly(time.Second, api))[0], time.Now()
		var readings sync.WaitGroup
		for range 2 {
			readings.Go(func() { expectReason(t, read(t.Context(), client), bunq.ReasonRateLimited) })
			time.Sleep(time.Second / 2)
		}
		readings.Wait()
		readAll(t, &readings, client)
		readings.Wait()
		expectSent(t, api, start, 1, 1.5, 62)
	})
}

func TestReadingThatHangsDoesNotTurnAwayWhoeverWaits(t *testing.T) {
	t.Parallel()
	emptyPage()
	synctest.Test(t, func(t *testing.T) {
		hangs := make(chan struct{}, 1)
		hangs <- struct{}{}
		api := count(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-hangs:
				hanging(w, r)
			default:
				nothingThere(w, r)
			}
		}))
		clients, start := readers(t, 2, api), time.Now()
		var readings sync.WaitGroup
		readings.Go(func() {
			ctx, cancel := contextFor(t, 8*time.Second)
			defer cancel()
			expectReason(t, read(ctx, clients[0]), bunq.ReasonTimeout)
		})
		synctest.Wait()
		time.Sleep(time.Until(start.Add(7 * time.Second)))
		readAll(t, &readings, clients[1], clients[1])
		readings.Go(func() { // its turn is at 10 s
			ctx, cancel := contextFor(t, 8*time.Second)
			defer cancel()
			if err := read(ctx, clients[1]); err != nil {
				t.Errorf("after %s: %v", time.Since(start), err)
			}
		})
		readings.Wait()
		expectSent(t, api, start, 0, 7, 7, 10)
	})
}

func TestNothingIsSentOnceThe429HasBegunThoughItsBodyTakesLong(t *testing.T) {
	t.Parallel()
	emptyPage()
	synctest.Test(t, func(t *testing.T) {
		api := count(http.HandlerFunc(nothingThere))
		config, refused := readerConfig(t, api), false
		whole := config.Transport
		config.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if refused {
				return whole.RoundTrip(r)
			}
			refused = true
			answer, err := slowBody{}.RoundTrip(r)
			answer.StatusCode = http.StatusTooManyRequests
			return answer, err
		})
		client, start := newClient(t, config), time.Now()
		var readings sync.WaitGroup
		readings.Go(func() {
			ctx, cancel := contextFor(t, 5*time.Second)
			defer cancel()
			expectReason(t, read(ctx, client), bunq.ReasonRateLimited)
		})
		time.Sleep(time.Second)
		readAll(t, &readings, client)
		readings.Wait()
		expectSent(t, api, start, 30)
	})
}
