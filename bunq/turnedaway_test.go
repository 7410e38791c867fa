package bunq_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bunq_exporter/bunq"
)

// expectTurnedAway fails the test unless err is that of a reading whose turn would not have come in time.
func expectTurnedAway(t *testing.T, err error) {
	t.Helper()
	e := apiError(t, err)
	want := bunq.Error{Operation: bunq.ListDeviceServers, Reason: bunq.ReasonRateLimited, Err: e.Err}
	if diff := cmp.Diff(want, *e, cmpopts.EquateErrors()); diff != "" || e.Err == nil {
		t.Errorf("the error, -want +got:\n%s", diff)
	}
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
