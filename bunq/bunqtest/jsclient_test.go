package bunqtest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// jsTimeout bounds the fetching of the client's packages, and each of its runs: it takes its time to make a key pair.
const jsTimeout = 3 * time.Minute

// A client that others wrote against the real bunq reads the simulated one. What it sends, and gets, is in the document.
func TestThirdPartysClientLogsInAndReads(t *testing.T) {
	folder := installJSClient(t)
	for kind, life := range map[string]time.Duration{"UserCompany": time.Hour, "UserApiKey": 90 * time.Second} {
		t.Run(kind, func(t *testing.T) {
			c := readContract(t)
			api := newServer(t, bunqtest.Options{})
			api.AddUser(bunqtest.User{ID: userID, Kind: kind, APIKey: apiKey, SessionTimeout: life})
			addDevices(api, 12)
			server := httptest.NewServer(c.around(api, false))
			defer server.Close()

			start := time.Now()
			got := runJSClient(t, folder, server.URL)
			for _, problem := range c.problems {
				t.Error(problem)
			}
			all := api.DeviceServers()
			if diff := cmp.Diff(all, got.List.deviceServers()); diff != "" {
				t.Errorf("list, -in bunq +read:\n%s", diff)
			}
			if diff := cmp.Diff(all[:1], got.Single.deviceServers()); diff != "" {
				t.Errorf("its own device server, -in bunq +read:\n%s", diff)
			}
			if got.DeviceID != all[0].ID || all[0].Description != "a third party's client" {
				t.Errorf("registered %d, want the newest: %+v", got.DeviceID, all[0])
			}
			opened := got.SessionExpiryTime.Add(-life)
			if opened.Before(start.Truncate(time.Millisecond)) || opened.After(time.Now()) {
				t.Errorf("the session ends %s after %s, which is not between %s and now", life, opened, start)
			}
			if got.UserInfo[kind].ID != userID {
				t.Errorf("logged in as %v, want %s %d", got.UserInfo, kind, userID)
			}
			for _, operation := range bunq.Operations() {
				if n := api.Requests(operation); n != 1 {
					t.Errorf("%s: %d requests, want 1", operation, n)
				}
			}
		})
	}
}

// jsClientOutput is what client.js prints.
type jsClientOutput struct {
	DeviceID          int64
	SessionExpiryTime time.Time
	UserInfo          map[string]struct{ ID int64 }
	List, Single      jsPage
}

type jsPage struct {
	Response []struct {
		DeviceServer struct {
			ID                                int64
			Created, Updated, Description, IP string
			Status                            bunq.Status
		}
	}
}

func (p jsPage) deviceServers() (all []bunq.DeviceServer) {
	for _, object := range p.Response {
		d := object.DeviceServer
		created, _ := time.Parse(time.DateTime, d.Created)
		updated, _ := time.Parse(time.DateTime, d.Updated)
		all = append(all, bunq.DeviceServer{ID: d.ID, Created: created, Updated: updated, Description: d.Description, IP: d.IP, Status: d.Status})
	}
	return all
}

// installJSClient returns a folder with client.js and its packages.
func installJSClient(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing", program)
		}
		t.Skipf("%s is missing: get it with apt-get install nodejs npm, for example", program)
	}
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(filepath.Join("testdata", "js"))); err != nil {
		t.Fatal(err)
	}
	runJS(t, folder, os.Environ(), "", "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	return folder
}

// runJSClient hands the key over where no list of processes shows it.
func runJSClient(t *testing.T, folder, url string) (got jsClientOutput) {
	t.Helper()
	input := toJSON(map[string]string{"url": url, "apiKey": apiKey})
	// Of the environment it gets nothing but the path: a proxy there would be asked for 127.0.0.1.
	output := runJS(t, folder, []string{"PATH=" + os.Getenv("PATH")}, input, "node", "client.js")
	if err := json.Unmarshal(output, &got); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return got
}

func runJS(t *testing.T, folder string, environment []string, input, program string, arguments ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), jsTimeout)
	defer cancel()
	var output, complaints bytes.Buffer
	command := exec.CommandContext(ctx, program, arguments...)
	command.Dir, command.Env, command.WaitDelay = folder, slices.Clone(environment), time.Second
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader([]byte(input)), &output, &complaints
	if err := command.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s%s", program, arguments, err, output.Bytes(), complaints.Bytes())
	}
	return output.Bytes()
}
