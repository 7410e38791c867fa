package bunq_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/renameio/v2"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// needsRoot skips a test that gives files to other users. Where everything must hold, it fails instead.
func needsRoot(t *testing.T) {
	t.Helper()
	const how = "only root can give files away: run it with sudo, as in sudo $(which go) test ./bunq"
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("CI") == "true":
		t.Fatal(how)
	default:
		t.Skip(how)
	}
}

// refusesItsFile fails the test unless the client says what is wrong with its context file, and sends nothing. FILE
// stands for its name.
func refusesItsFile(t *testing.T, config bunq.Config, api *counting, want string) {
	t.Helper()
	client := newClient(t, config)
	_, err := list(t.Context(), client)
	if want := "reading the API context: " + strings.ReplaceAll(want, "FILE", config.ContextFile); err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
	if login := client.Login(); login.State != bunq.LoginUnknown || login.Err == nil || login.Err.Error() != err.Error() {
		t.Errorf("the login is %+v", login)
	}
	if requests, _ := api.seen(""); requests != nil {
		t.Errorf("it sent %q", requests)
	}
}

func TestContextFileThatOthersCanOpenIsRefused(t *testing.T) {
	t.Parallel()
	for _, mode := range []fs.FileMode{0o644, 0o640, 0o604, 0o622, 0o601} {
		api := count(bank().api)
		config := restartConfig(t, api, contextWith(t, nil))
		if err := os.Chmod(config.ContextFile, mode); err != nil {
			t.Fatal(err)
		}
		refusesItsFile(t, config, api, fmt.Sprintf("FILE is open to others (mode %04o), and holds secrets: chmod 600 it", mode))
	}
}

func TestContextFileOfAnotherUserIsRefused(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	api := count(bank().api)
	config := restartConfig(t, api, contextWith(t, nil))
	if err := os.Chown(config.ContextFile, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	refusesItsFile(t, config, api, "FILE belongs to the user with the id 65534, but this program runs as 0: give the file to that user (chown 0), "+
		"or run this program as its owner")
}

// owned is a file as its owner and mode describe it.
type owned struct {
	fs.FileInfo
	owner uint32
	mode  fs.FileMode
}

func (o owned) Mode() fs.FileMode { return o.mode }
func (o owned) Sys() any          { return &syscall.Stat_t{Uid: o.owner} }

// A container is given files of root's, readable for its group.
func TestContextFileIsOfItsUserOrOfRoot(t *testing.T) {
	t.Parallel()
	const user = 1000
	for file, fine := range map[owned]bool{
		{nil, user, 0o600}: true, {nil, user, 0o400}: true, {nil, user, 0o440}: false,
		{nil, 0, 0o600}: true, {nil, 0, 0o440}: true, {nil, 0, 0o640}: true, {nil, 0, 0o660}: false, {nil, 0, 0o444}: false, {nil, 0, 0o450}: false,
		{nil, 1001, 0o600}: false, {nil, 1001, 0o666}: false,
	} {
		if err := bunq.CheckAccess("bunq.conf", file, user); (err == nil) != fine {
			t.Errorf("of %d, mode %04o: %v", file.owner, file.mode, err)
		}
	}
}

func TestContextFileOfRootsThatAGroupCanReadIsAccepted(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	path := filepath.Join(t.TempDir(), "bunq.conf")
	if err := os.WriteFile(path, nil, 0o440); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := bunq.CheckAccess(path, info, 65534); err != nil {
		t.Error(err)
	}
}

func TestLinkToAContextFileStaysALink(t *testing.T) {
	t.Parallel()
	config := restartConfig(t, bank().api, contextWith(t, notLoggedIn))
	link, target := config, config.ContextFile
	link.ContextFile = filepath.Join(t.TempDir(), "link.conf")
	if err := os.Symlink(target, link.ContextFile); err != nil {
		t.Fatal(err)
	}
	mustRead(t, newClient(t, link))
	if to, err := os.Readlink(link.ContextFile); err != nil || to != target {
		t.Errorf("the link leads to %q (%v), want %s", to, err, target)
	}
	if info, err := os.Lstat(target); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file itself is %v (%v)", info, err)
	}
	if readContextFile(t, config)["session_context"] == nil {
		t.Error("the session is not in the file itself")
	}
}

func TestLinkToAContextFileThatIsYetToBeMadeStaysALink(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, file, target string
		links              map[string]string
	}{
		{"absolute", "bunq.conf", "target.conf", map[string]string{"bunq.conf": "ROOT/target.conf"}},
		{"to another link", "bunq.conf", "target.conf", map[string]string{"bunq.conf": "ROOT/next.conf", "next.conf": "target.conf"}},
		{"in a folder that is a link", "link/bunq.conf", "real/target.conf", map[string]string{"link": "real/folder", "real/folder/bunq.conf": "../target.conf"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			in := func(path string) string { return filepath.Join(root, path) }
			if err := os.MkdirAll(in("real/folder"), 0o700); err != nil {
				t.Fatal(err)
			}
			for link, to := range test.links {
				if err := os.Symlink(strings.ReplaceAll(to, "ROOT", root), in(link)); err != nil {
					t.Fatal(err)
				}
			}
			config := newConfig(t, bank().api)
			config.ContextFile = in(test.file)
			mustRead(t, newClient(t, config))
			for link := range test.links {
				if info, err := os.Lstat(in(link)); err != nil || info.Mode()&fs.ModeSymlink == 0 {
					t.Errorf("%s is %v (%v), want a link", link, info, err)
				}
			}
			if info, err := os.Lstat(in(test.target)); err != nil || info.Mode() != 0o600 {
				t.Errorf("the file itself is %v (%v)", info, err)
			}
		})
	}
}

// An SDK or a person does not know of the lock.
func TestContextThatIsPutInPlaceDuringAHandshakeIsLeftThereAndUsed(t *testing.T) {
	t.Parallel()
	for _, operation := range []bunq.Operation{bunq.CreateInstallation, bunq.CreateDeviceServer, bunq.CreateSessionServer} {
		t.Run(operation.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				other := newProgram(t, bunqtest.Options{})
				text, err := os.ReadFile(other.config.ContextFile)
				if err != nil {
					t.Fatal(err)
				}
				config := newConfig(t, other.api)
				config.Transport = bunqtest.Transport(answering(other.api, operation, func(w http.ResponseWriter, r *http.Request) {
					if err := os.WriteFile(config.ContextFile, text, 0o600); err != nil {
						t.Error(err)
					}
					other.api.ServeHTTP(w, r)
				}))
				client := newClient(t, config)
				_, _ = list(t.Context(), client)
				time.Sleep(time.Minute)
				mustRead(t, client)
				if login := client.Login(); login.State != bunq.LoginOK || login.DeviceServerID != other.own {
					t.Errorf("the login is %+v, want one with device server %d", login, other.own)
				}
				got, want := readContextFile(t, config)["installation_context"], readDocument(t, text)["installation_context"]
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error("the installation that was put in place has been overwritten")
				}
			})
		})
	}
}

func TestTemporaryFilesOfKilledProcessesAreRemovedAtTheStart(t *testing.T) {
	t.Parallel()
	for _, config := range []bunq.Config{restartConfig(t, bank().api, contextWith(t, notLoggedIn)), readerConfig(t, bank().api)} {
		folder := filepath.Dir(config.ContextFile)
		const old, fresh = 2 * time.Minute, 30 * time.Second
		leave := func(path string, age time.Duration) {
			if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			killed, err := renameio.NewPendingFile(config.ContextFile, renameio.WithTempDir(folder))
			if err != nil {
				t.Fatal(err)
			}
			_ = killed.Close()
			leave(killed.Name(), old)
		}
		others := map[string]time.Duration{
			".bunq.conf123": fresh, ".bunq.conf": old, ".bunq.conf12a": old, ".bunq.conf.123": old, ".bunq.conf-1": old,
			".sandbox.conf123": old, "bunq.conf123": old, "bunq.conf.bak": old,
		}
		for name, age := range others {
			path := filepath.Join(folder, name)
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			leave(path, age)
		}
		mustRead(t, newClient(t, config))
		want := map[string]bool{"bunq.conf": true}
		if config.APIKey != nil {
			want["bunq.conf.lock"] = true
		}
		for name := range others {
			want[name] = true
		}
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for _, entry := range entries {
			got[entry.Name()] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the folder, -want +got:\n%s", diff)
		}
	}
}
