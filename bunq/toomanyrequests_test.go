package bunq_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

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

func TestUsesTellWhatCountsWhatWaitsAndWhatIsHeldBack(t *testing.T) {
	t.Parallel()
	emptyPage()
	synctest.Test(t, func(t *testing.T) {
		refuses := false
		config := readerConfig(t, slowly(time.Second, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if refuses {
				failing(http.StatusTooManyRequests, nil, "")(w, r)
				return
			}
			nothingThere(w, r)
		})))
		config.Limiter = bunq.NewLimiter()
		clients := accounts(t, 5, config)
		expect := func(when string, want ...bunq.Use) {
			t.Helper()
			for i := range want {
				want[i].Host, want[i].Limit = "public-api.sandbox.bunq.com", "3 readings in 3 s"
			}
			if diff := cmp.Diff(want, config.Limiter.Uses()); diff != "" {
				t.Errorf("%s: -want +got:\n%s", when, diff)
			}
		}
		expect("before the first call")
		var readings sync.WaitGroup
		defer readings.Wait()
		readAll(t, &readings, clients...)
		expect("when five have come", bunq.Use{Counted: 3, Waiting: 2})
		time.Sleep(5 * time.Second)
		expect("when all are answered, and two still count", bunq.Use{Counted: 2})
		time.Sleep(3 * time.Second)
		expect("when none counts", bunq.Use{})
		refuses = true
		_ = apiError(t, read(t.Context(), clients[0]))
		expect("after a 429", bunq.Use{Counted: 1, Closed: time.Now().Add(30 * time.Second)})
		time.Sleep(30 * time.Second)
		expect("when the pause is over", bunq.Use{})
	})
}
