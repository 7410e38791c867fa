package bunq_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// bunq keeps every device server for ever: a slow answer must not lead to a second one.
func TestSlowRegistrationMakesOneDeviceServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, bunqtest.Options{})
		// As bunq does, it goes on when nobody waits for the answer any more.
		client := newClient(t, newConfig(t, answering(api, bunq.CreateDeviceServer, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(18 * time.Second)
			api.ServeHTTP(w, r)
		})))
		start := time.Now()
		for i := range 4 {
			ctx, cancel := contextFor(t, 5*time.Second)
			_, err := list(ctx, client)
			cancel()
			const want = "bunq has not answered the login yet: context deadline exceeded"
			if last := i == 3; last && err != nil || !last && (!errors.Is(err, context.DeadlineExceeded) || err.Error() != want) {
				t.Errorf("reading %d: the error is %v, want %s from all but the last", i, err, want)
			}
			if took, want := time.Since(start), min(time.Duration(i+1)*5*time.Second, 18*time.Second); took != want {
				t.Errorf("reading %d ended after %s, want %s", i, took, want)
			}
		}
		time.Sleep(time.Minute) // for device servers that are still on their way
		if got := len(api.DeviceServers()); got != 1 {
			t.Errorf("%d device servers, want 1", got)
		}
		if got, want := client.Login().DeviceServerID, api.DeviceServers()[0].ID; got != want {
			t.Errorf("own device server is %d, want %d", got, want)
		}
	})
}

func TestRegistrationWithoutAnswerEndsAfterHalfAMinute(t *testing.T) {
	t.Parallel()
	bank() // outside of the bubble
	synctest.Test(t, func(t *testing.T) {
		api := answering(bank().api, bunq.CreateDeviceServer, hanging)
		start := time.Now()
		_, err := list(t.Context(), newClient(t, restartConfig(t, api, contextWith(t, notRegistered))))
		if e := apiError(t, err); e.Operation != bunq.CreateDeviceServer || e.Reason != bunq.ReasonTimeout {
			t.Errorf("the error is %v", err)
		}
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("it took %s, want 30s", took)
		}
	})
}

func TestStartIsTakenUpWhereItStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, bunqtest.Options{})
		config := newConfig(t, api)
		down := failing(http.StatusServiceUnavailable, nil, "")
		for i, operation := range []bunq.Operation{bunq.CreateInstallation, bunq.CreateDeviceServer, bunq.CreateSessionServer} {
			config.Transport = bunqtest.Transport(answering(api, operation, down))
			client := newClient(t, config)
			_, _ = list(t.Context(), client)
			time.Sleep(time.Minute) // bunq may still be at work on what was asked for before
			_, _ = list(t.Context(), client)
			if e := apiError(t, client.Login().Err); e.Operation != operation {
				t.Errorf("start %d: the error is %v", i, e)
			}
			time.Sleep(time.Minute)
		}
		config.Transport = bunqtest.Transport(api)
		mustRead(t, newClient(t, config))
		for operation, want := range map[bunq.Operation]int{bunq.CreateInstallation: 1, bunq.CreateDeviceServer: 1, bunq.CreateSessionServer: 1} {
			if got := api.Requests(operation); got != want {
				t.Errorf("%s: %d requests, want %d", operation, got, want)
			}
		}
	})
}

func TestRegistrationThatCannotBeKeptIsNotDoneTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, bunqtest.Options{})
		config := newConfig(t, api)
		config.ContextFile = filepath.Join(t.TempDir(), "state", "bunq.conf")
		folder, away := filepath.Dir(config.ContextFile), filepath.Dir(config.ContextFile)+".away"
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		config.Transport = bunqtest.Transport(answering(api, bunq.CreateDeviceServer, func(w http.ResponseWriter, r *http.Request) {
			if err := os.Rename(folder, away); err != nil {
				t.Error(err)
			}
			api.ServeHTTP(w, r)
		}))
		client := newClient(t, config)
		for range 3 {
			mustRead(t, client) // a full disk must not make the monitor blind
			if err := client.Login().Unsaved; err == nil || !strings.HasPrefix(err.Error(), "keeping the API context: ") {
				t.Errorf("the login tells of %v", err)
			}
			time.Sleep(time.Minute)
		}
		if err := os.Rename(away, folder); err != nil {
			t.Fatal(err)
		}
		mustRead(t, client)
		if err := client.Login().Unsaved; err != nil {
			t.Errorf("the login still tells of %v", err)
		}
		if got := api.Requests(bunq.CreateDeviceServer); got != 1 {
			t.Errorf("registered %d times, want once", got)
		}
		if got, want := readContextFile(t, config)["device_server_id"], float64(api.DeviceServers()[0].ID); got != want {
			t.Errorf("the file says device server %v, want %v", got, want)
		}
	})
}
