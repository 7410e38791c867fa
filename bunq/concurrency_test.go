package bunq_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

func contextFor(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

// slowly answers after a while, unless the request ends before.
func slowly(d time.Duration, api http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(d):
			api.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}
}

func TestManyReadersShareOneLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := shortSessions(t, bunqtest.Options{}, 10*time.Minute)
		page := func(w http.ResponseWriter, r *http.Request) {
			api.Answer(w, r, http.StatusOK, []byte(`{"Response":[]}`))
		}
		unlimited := answering(api, bunq.ListDeviceServers, page)
		client := newClient(t, newConfig(t, answering(unlimited, bunq.CreateSessionServer, slowly(2*time.Second, api))))
		for range 3 { // the first start, and the ends of two sessions
			start := time.Now()
			var readers sync.WaitGroup
			for range 64 {
				readers.Go(func() {
					if _, err := list(t.Context(), client); err != nil {
						t.Error(err)
					}
				})
			}
			readers.Wait()
			if got := client.Login().SessionExpiry; !got.Equal(start.Add(10 * time.Minute)) {
				t.Errorf("the session ends at %s, want ten minutes after it was asked for at %s", got, start)
			}
			time.Sleep(10 * time.Minute)
		}
		for operation, want := range map[bunq.Operation]int{bunq.CreateInstallation: 1, bunq.CreateDeviceServer: 1, bunq.CreateSessionServer: 3} {
			if got := api.Requests(operation); got != want {
				t.Errorf("%s: %d requests, want %d", operation, got, want)
			}
		}
		if got := client.Login().SessionRenewals; got != 2 {
			t.Errorf("%d renewals, want 2", got)
		}
	})
}

func TestWaitForAnothersLoginEndsWithTheReading(t *testing.T) {
	t.Parallel()
	bank() // outside of the bubble
	synctest.Test(t, func(t *testing.T) {
		api := answering(bank().api, bunq.CreateDeviceServer, hanging)
		client := newClient(t, restartConfig(t, api, contextWith(t, notRegistered)))
		var first sync.WaitGroup
		first.Go(func() {
			ctx, cancel := contextFor(t, time.Minute)
			defer cancel()
			_, err := list(ctx, client)
			expectReason(t, err, bunq.ReasonTimeout)
		})
		synctest.Wait()
		ctx, cancel := contextFor(t, time.Second)
		defer cancel()
		start := time.Now()
		_, err := list(ctx, client)
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %s, want 1s", took)
		}
		const want = "bunq has not answered the login yet: context deadline exceeded"
		if !errors.Is(err, context.DeadlineExceeded) || err.Error() != want {
			t.Errorf("the error is %v, want %s", err, want)
		}
		first.Wait()
	})
}

func TestLoginThatHangsHoldsUpOneReadingForHalfOfItsTimeAndNoOther(t *testing.T) {
	t.Parallel()
	bank() // outside of the bubble
	synctest.Test(t, func(t *testing.T) {
		client := newClient(t, restartConfig(t, answering(bank().api, bunq.CreateSessionServer, hanging), contextWith(t, notLoggedIn)))
		for i, want := range []time.Duration{4 * time.Second, 0, 0} {
			ctx, cancel := contextFor(t, 8*time.Second)
			start := time.Now()
			if _, err := list(ctx, client); err != nil {
				t.Errorf("reading %d, with the installation: %v", i, err)
			}
			cancel()
			if took := time.Since(start); took != want {
				t.Errorf("reading %d took %s, want %s", i, took, want)
			}
			if login := client.Login(); login.State != bunq.LoginUnreachable {
				t.Errorf("reading %d: the login is %+v", i, login)
			}
			time.Sleep(5 * time.Second)
		}
		time.Sleep(time.Minute) // for the login to give up
	})
}

func TestReadingThatIsCancelledDuringALoginIsNoNewsForTheOthers(t *testing.T) {
	t.Parallel()
	bank() // outside of the bubble
	synctest.Test(t, func(t *testing.T) {
		api := answering(bank().api, bunq.CreateSessionServer, slowly(2*time.Second, bank().api))
		client := newClient(t, restartConfig(t, api, contextWith(t, notLoggedIn)))
		cancelled, cancel := context.WithCancel(t.Context())
		var first sync.WaitGroup
		first.Go(func() {
			if _, err := list(cancelled, client); !errors.Is(err, context.Canceled) {
				t.Errorf("the error is %v", err)
			}
		})
		time.Sleep(time.Second)
		before := client.Login()
		cancel()
		first.Wait()
		if after := client.Login(); after != before {
			t.Errorf("the login is %+v, and was %+v", after, before)
		}
		ctx, done := contextFor(t, 8*time.Second)
		defer done()
		if _, err := list(ctx, client); err != nil || client.Login().State != bunq.LoginOK { // waits for the login
			t.Errorf("%v; the login is %+v", err, client.Login())
		}
	})
}

func TestReadingWithHardlyAnyTimeIsNotHeldUpByAnotherProcess(t *testing.T) {
	t.Parallel()
	for i := range 200 { // whatever it is at when its time ends
		client := newClient(t, restartConfig(t, bank().api, contextWith(t, notLoggedIn)))
		ctx, cancel := contextFor(t, time.Duration(i)*2*time.Microsecond)
		_, err := list(ctx, client)
		cancel()
		if login := client.Login(); strings.Contains(fmt.Sprint(err, login.Err), ".lock") {
			t.Errorf("%d: %v; the login is %+v", i, err, login)
		}
		for client.Login().State != bunq.LoginOK { // the login goes on, and writes into the test's folder
			ctx, cancel := contextFor(t, time.Second)
			_, _ = list(ctx, client)
			cancel()
		}
	}
}
