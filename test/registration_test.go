package test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bunq_exporter/bunq/bunqtest"
)

// trial is a registration during which something happens.
type trial struct {
	*testing.T
	*api
	folder string // of the configuration and the context file

	mu       sync.Mutex
	steps    int // requests that arrived, and answers that were sent
	at       int // the step with which it happens; 0: at a random time
	happen   func()
	happened atomic.Bool
}

func newTrial(t *testing.T, folder string) *trial {
	t.Helper()
	x := &trial{T: t, api: serveAPI(t, bunqtest.Options{Unlimited: true}), folder: folder}
	writeConfig(t, folder, x.url, 1)
	x.setIntercept(x.serve)
	return x
}

// serve is slow, and completes a request even if its client is gone, as bunq may.
func (x *trial) serve(w http.ResponseWriter, r *http.Request) bool {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return true // of a process that was killed
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	longest := 20 * time.Millisecond
	if isRegistration(r) {
		longest = 600 * time.Millisecond // longer than a restart, which then looks for the device server too early
	}
	x.step()
	time.Sleep(rand.N(longest / 2))
	x.Server.ServeHTTP(w, r)
	time.Sleep(rand.N(longest / 2))
	_ = http.NewResponseController(w).Flush()
	x.step()
	return true
}

func (x *trial) step() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.steps++; x.steps == x.at {
		time.AfterFunc(rand.N(4*time.Millisecond), x.happen)
	}
}

func (x *trial) launch() *process {
	return launch(x, "--config.file="+x.folder+"/config.yml", "--web.listen-address=127.0.0.1:0")
}

// launchUntil starts the program. The event happens once: at a random time, or just after a random request or its
// answer.
func (x *trial) launchUntil(event func(*process)) *process {
	x.Helper()
	x.mu.Lock()
	e := x.launch()
	x.happened.Store(false)
	x.happen = sync.OnceFunc(func() {
		event(e)
		x.happened.Store(true)
	})
	if x.at = x.steps + 1 + rand.IntN(6); rand.IntN(3) == 0 {
		x.at = 0
		time.AfterFunc(rand.N(1500*time.Millisecond), x.happen)
	}
	x.mu.Unlock()
	x.scrapeUntil(e, x.happened.Load)
	return e
}

// scrapeUntil scrapes until something holds.
func (x *trial) scrapeUntil(e *process, holds func() bool) {
	x.Helper()
	eventually(x, "the end of a part of a trial", func() bool {
		if match := regexp.MustCompile(listening).FindStringSubmatch(e.text()); match != nil { // or not yet
			_, _, _ = call(x.Context(), http.MethodGet, "http://"+match[1]+"/metrics", timeoutHeader, "2")
		}
		return holds()
	})
}

// expectUp wants the account to be read in the end: an unconfirmed registration is looked for during a minute.
func (x *trial) expectUp(e *process) {
	x.Helper()
	e.findURL()
	e.awaitUp("company")
}

// readContext wants the context file, if there is one, to be complete.
func (x *trial) readContext() (content struct {
	DeviceServerID int64 `json:"device_server_id"`
	Requested      any   `json:"device_server_requested"`
}) {
	x.Helper()
	path := filepath.Join(x.folder, "company.conf")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return content
	}
	if err := cmp.Or(err, json.Unmarshal(text, &content)); err != nil {
		x.Errorf("context file: %v: %q", err, text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		x.Errorf("context file: %v, %v", err, info)
	}
	return content
}

// finish wants an undisturbed start to end with exactly one device server: the one in the file.
func (x *trial) finish() {
	x.Helper()
	e := x.launch()
	x.expectUp(e)
	e.kill()
	if all, content := x.DeviceServers(), x.readContext(); len(all) != 1 || content.DeviceServerID != all[0].ID {
		x.Errorf("bunq has the device servers %+v, the file says %d", all, content.DeviceServerID)
	}
}

// trials runs trials, twelve at a time: they mostly wait. It returns their number.
func trials(share int, try func()) int {
	n, _ := strconv.Atoi(os.Getenv("TRIALS"))
	n = cmp.Or(n, 12) / share
	var running sync.WaitGroup
	slots := make(chan struct{}, 12)
	for range n {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			try()
		})
	}
	running.Wait()
	return n
}

func TestKilledRegistrations(t *testing.T) {
	t.Parallel()
	var kills, unconfirmed atomic.Int64
	n := trials(1, func() {
		x := newTrial(t, t.TempDir())
		for range 1 + rand.IntN(2) {
			x.launchUntil((*process).kill)
			kills.Add(1)
			if x.readContext().Requested != nil {
				unconfirmed.Add(1)
			}
		}
		x.finish()
	})
	t.Logf("%d registrations, %d kills, after %d of which the registration was unconfirmed; one device server each",
		n, kills.Load(), unconfirmed.Load())
}

func TestTwoProcessesRegisterOnce(t *testing.T) {
	t.Parallel()
	trials(4, func() {
		x := newTrial(t, t.TempDir())
		first, second := x.launch(), x.launch()
		x.expectUp(first)
		x.expectUp(second)
		if all := x.DeviceServers(); len(all) != 1 {
			t.Errorf("bunq has the device servers %+v", all)
		}
	})
}
