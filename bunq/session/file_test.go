package session_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/apicontext"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/bunq/session"
)

// moveFolder moves the folder of the context file away until it is called again.
func (p *program) moveFolder(t *testing.T) {
	t.Helper()
	folder := filepath.Dir(p.config.ContextFile)
	from, to := folder, folder+".away"
	if _, err := os.Stat(folder); err != nil {
		from, to = to, from
	}
	check(t, os.Rename(from, to))
}

// The session is saved later, and a restart uses it, even without the API key.
func TestSaveFails(t *testing.T) {
	withAPI(t, bunqtest.Options{}, time.Hour, func(t *testing.T, api *recorder) {
		p := start(t, api)
		p.moveFolder(t)
		time.Sleep(2 * time.Hour) // renewals
		p.expect(t, session.OK)
		p.moveFolder(t)
		time.Sleep(31 * time.Second)
		p.stop()
		logins := len(api.seen(bunq.CreateSessionServer))
		p = p.next(t, api)
		p.config.APIKey = func() (string, error) { return "", os.ErrNotExist }
		p.start(t).expect(t, session.OK)
		if n := len(api.seen(bunq.CreateSessionServer)); n != logins {
			t.Error("a restart logged in again")
		}
	})
}

// What bunq has made must not be made twice, even if it cannot be saved at first.
func TestSaveFailsAtFirstStart(t *testing.T) {
	for operation, want := range map[bunq.Operation]session.LoginState{
		bunq.CreateInstallation: session.Unknown, // and nothing is registered
		bunq.CreateDeviceServer: session.OK,
	} {
		withAPI(t, bunqtest.Options{}, time.Hour, func(t *testing.T, api *recorder) {
			p := setup(t, api)
			api.answer(operation, func(w http.ResponseWriter, r *http.Request) {
				p.moveFolder(t)
				api.answer(operation, nil)
				api.Server.ServeHTTP(w, r)
			})
			p.start(t).expect(t, want)
			p.moveFolder(t)
			time.Sleep(31 * time.Second)
			p.expectOne(t, api, 1)
		})
	}
}

func TestFileReplacedWhileRunning(t *testing.T) {
	withAPI(t, bunqtest.Options{}, time.Hour, func(t *testing.T, api *recorder) {
		first, other := start(t, api), start(t, api)
		time.Sleep(time.Minute)
		first.edit(t, other.file(t))
		time.Sleep(2 * time.Hour)
		first.expect(t, session.OK)
		if got, want := first.State().DeviceServerID, other.State().DeviceServerID; got != want {
			t.Errorf("own device server is %d, want %d of the new file", got, want)
		}
	})
}

func TestLockedByAnotherProcess(t *testing.T) {
	withExpired(t, bunqtest.Options{}, func(t *testing.T, p *program, api *recorder) {
		unlock, err := apicontext.Lock(p.config.ContextFile)
		check(t, err)
		requests := len(api.all())
		p.start(t)
		time.Sleep(time.Minute)
		p.expect(t, session.Unknown)
		if more := api.all()[requests:]; len(more) != 0 || p.State().FileErr != nil {
			t.Errorf("requests %q, error of the file: %v", more, p.State().FileErr)
		}
		unlock()
		time.Sleep(5 * time.Second)
		p.expect(t, session.OK)
	})
}

func TestSessionOfAnSDKIsUsed(t *testing.T) {
	withAPI(t, bunqtest.Options{}, 24*time.Hour, func(t *testing.T, api *recorder) {
		sdk := start(t, api)
		sdk.stop()
		sdk.edit(t, map[string]any{
			"device_server_id": nil, "installation_created": nil, "session_requested": nil, "proxy_url": nil, "custom": "kept",
		})
		requests := len(api.all())
		p := sdk.next(t, api)
		p.config.APIKey = func() (string, error) { return "", nil } // that of the file is used
		p.start(t)
		p.expect(t, session.OK)
		check(t, os.Remove(p.config.ContextFile)) // it is written again
		time.Sleep(25 * time.Hour)
		p.expect(t, session.OK)
		if got := api.all()[requests:]; len(got) == 0 || strings.Contains(strings.Join(got, " "), "device-server POST") ||
			len(api.seen(bunq.CreateDeviceServer)) != 1 || p.file(t)["custom"] != "kept" {
			t.Errorf("requests %q, file %v", got, p.file(t))
		}
	})
}
