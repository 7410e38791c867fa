package session_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/apicontext"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/bunq/session"
)

// spoilers put something in place of a context file that does not exist.
var spoilers = map[string]func(path string) error{
	"damaged":    func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) },
	"folder":     func(path string) error { return os.Mkdir(path, 0o700) },
	"named pipe": func(path string) error { return syscall.Mkfifo(path, 0o600) },
	"other environment": func(path string) error {
		return os.WriteFile(path, []byte(`{"environment_type":"PRODUCTION"}`), 0o600)
	},
	"no folder": func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
}

func TestContextFileUnusable(t *testing.T) {
	for name, spoil := range spoilers {
		t.Run(name, func(t *testing.T) {
			withAPI(t, bunqtest.Options{}, time.Hour, func(t *testing.T, api *recorder) {
				p := setup(t, api)
				check(t, spoil(p.config.ContextFile))
				p.start(t)
				time.Sleep(time.Minute)
				p.expect(t, session.Unknown)
				err := p.State().Err
				if err == nil || !strings.Contains(err.Error(), p.config.ContextFile) || len(api.all()) != 0 {
					t.Errorf("error %v, requests %q", err, api.all())
				}
				if p.State().FileErr == nil {
					t.Error("no error of the file")
				}
				if lines := p.logged(""); len(lines) != 1 || !strings.Contains(lines[0], "level=error") {
					t.Errorf("logged %q, want one line", lines)
				}
				folder := filepath.Dir(p.config.ContextFile)
				check(t, errors.Join(os.RemoveAll(folder), os.Mkdir(folder, 0o700)))
				time.Sleep(3 * time.Second)
				p.expect(t, session.OK) // without a restart
				if lines := p.logged("up to date again"); len(lines) != 1 || p.State().FileErr != nil {
					t.Errorf("logged %q, error of the file: %v", lines, p.State().FileErr)
				}
			})
		})
	}
}

func TestKeyUnusableWithContext(t *testing.T) {
	for ended, want := range map[time.Duration]session.LoginState{
		time.Minute: session.OK, 2 * time.Hour: session.Unknown,
	} {
		withAPI(t, bunqtest.Options{}, time.Hour, func(t *testing.T, api *recorder) {
			p := start(t, api)
			p.stop()
			time.Sleep(ended)
			p = p.next(t, api)
			p.config.APIKey = func() (string, error) { return "", os.ErrNotExist }
			p.start(t).expect(t, want)
			p.mustRead(t) // with the session or the installation
		})
	}
}

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

func TestSaveFails(t *testing.T) {
	withAPI(t, bunqtest.Options{}, time.Hour, func(t *testing.T, api *recorder) {
		p := start(t, api)
		p.moveFolder(t)
		time.Sleep(2 * time.Hour) // renewals
		p.expect(t, session.OK)
		p.mustRead(t)
		if p.State().FileErr == nil || p.State().Renewals == 0 {
			t.Errorf("state is %+v", p.State())
		}
		if lines := p.logged("level=error"); len(lines) != 2 || !strings.Contains(lines[1], "saving API context") {
			t.Errorf("logged %q", lines)
		}
		p.moveFolder(t)
		time.Sleep(31 * time.Second)
		if lines := p.logged("up to date again"); len(lines) != 1 || p.State().FileErr != nil {
			t.Errorf("logged %q, not saved: %v", lines, p.State().FileErr)
		}
		p.stop()
		logins := len(api.seen(bunq.CreateSessionServer))
		p.next(t, api).start(t).expect(t, session.OK)
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
			p.start(t)
			p.expect(t, want)
			if lines := p.logged("level=error"); len(lines) != 1 || p.State().FileErr == nil {
				t.Errorf("logged %q, error of the file: %v", lines, p.State().FileErr)
			}
			p.moveFolder(t)
			time.Sleep(31 * time.Second)
			p.expectOne(t, api, 1)
			if lines := p.logged("up to date again"); len(lines) != 1 || p.State().FileErr != nil {
				t.Errorf("logged %q, error of the file: %v", lines, p.State().FileErr)
			}
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
