package session_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bunq_exporter/bunq"
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
		ended := p.file(t)["session_context"].(map[string]any)
		ended["expiry_time"] = "1999-12-31 23:59:59.000000" // as where a timer stands still: the machine was suspended
		p.edit(t, map[string]any{"session_context": ended})
		time.Sleep(2 * time.Minute)
		p.expect(t, session.OK)
	})
}
