package bunq_test

import (
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/flock"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

func TestClientWaitsForAnotherProcessThatLogsInWithItsFile(t *testing.T) {
	t.Parallel()
	bank() // outside of the bubbles
	for _, test := range []struct {
		name   string
		before changes // of the file of a program that is logged in
		reads  bool    // with the installation, meanwhile
		other  changes // what the other process makes of the file
		logins int     // that are left for this one
	}{
		{"it opens a session", notLoggedIn, true, nil, 0},
		{"it fails", notLoggedIn, true, notLoggedIn, 1},
		{"it registers, and opens a session", notRegistered, false, nil, 0},
		{"it registers", notRegistered, false, notLoggedIn, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := count(bank().api)
				config := restartConfig(t, api, contextWith(t, test.before))
				other := flock.New(config.ContextFile + ".lock")
				if err := other.Lock(); err != nil {
					t.Fatal(err)
				}
				defer func() { _ = other.Close() }()
				client := newClient(t, config)
				for range 3 {
					ctx, cancel := contextFor(t, 8*time.Second)
					_, err := list(ctx, client)
					cancel()
					login := client.Login()
					want := "another login with " + config.ContextFile + " is under way, of another process or from before a reload: it holds " + config.ContextFile + ".lock"
					if login.State != bunq.LoginUnknown || login.Err == nil || login.Err.Error() != want {
						t.Errorf("the login is %+v, want %s", login, want)
					}
					if test.reads != (err == nil) || err != nil && err.Error() != want {
						t.Errorf("the reading ends with %v", err)
					}
				}
				if posts, _ := api.seen("POST"); posts != nil {
					t.Errorf("it sent %q", posts)
				}
				if err := os.WriteFile(config.ContextFile, []byte(contextWith(t, test.other)), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := other.Unlock(); err != nil {
					t.Fatal(err)
				}
				mustRead(t, client)
				posts, _ := api.seen("POST")
				if login := client.Login(); login.State != bunq.LoginOK || strings.Join(posts, "") != strings.Repeat("POST /v1/session-server", test.logins) {
					t.Errorf("the login is %+v, and it sent %q; want %d logins", login, posts, test.logins)
				}
			})
		})
	}
}

func TestProcessesThatStartAtOnceWithOneFileRegisterOneDeviceServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, bunqtest.Options{})
		config := newConfig(t, answering(api, bunq.CreateDeviceServer, slowly(3*time.Second, api)))
		var processes sync.WaitGroup
		for range 2 {
			processes.Go(func() {
				client := newClient(t, config)
				if _, err := list(t.Context(), client); err != nil {
					t.Error(err)
				}
				if own := client.Login().DeviceServerID; own != api.DeviceServers()[0].ID {
					t.Errorf("one has the device server %d", own)
				}
			})
		}
		processes.Wait()
		for operation, want := range map[bunq.Operation]int{bunq.CreateInstallation: 1, bunq.CreateDeviceServer: 1, bunq.CreateSessionServer: 1} {
			if got := api.Requests(operation); got != want {
				t.Errorf("%s: %d requests, want %d", operation, got, want)
			}
		}
	})
}
