package test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bunq_exporter/bunq/bunqtest"
)

// slowAPI is a simulated API with a base URL for each trial. It completes a request even if its client is gone, as
// bunq may.
type slowAPI struct {
	*api
	trials sync.Map // of *trial, by number
}

func newSlowAPI(t *testing.T) *slowAPI {
	a := &slowAPI{api: serveAPI(t, bunqtest.Options{Unlimited: true})}
	a.setIntercept(a.serve)
	return a
}

func (a *slowAPI) serve(w http.ResponseWriter, r *http.Request) bool {
	number, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	found, ok := a.trials.Load(number)
	body, err := io.ReadAll(r.Body)
	if !ok || err != nil {
		return true // of a process that was killed
	}
	trial := found.(*trial)
	request := trial.requests.Add(1)
	longest := 20 * time.Millisecond
	if isRegistration(r) {
		longest = 600 * time.Millisecond // longer than a restart, which then looks for the device server too early
	}
	trial.reach(request, false)
	time.Sleep(rand.N(longest / 2))
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	http.StripPrefix("/v1/"+number, a.Server).ServeHTTP(answer, r)
	time.Sleep(rand.N(longest / 2))
	copyAnswer(w, answer)
	_ = http.NewResponseController(w).Flush()
	trial.reach(request, true)
	return true
}

// trial is a registration during which something happens.
type trial struct {
	*testing.T
	number string
	folder string // of the context file
	config string
	api    *slowAPI

	requests atomic.Int64
	mu       sync.Mutex
	event    func() // nil after it happened
	at       int64  // the request with which it happens; 0: at a random time
	answered bool   // after the answer, not before
}

func (a *slowAPI) newTrial(t *testing.T, number int, folder string) *trial {
	t.Helper()
	x := &trial{T: t, number: strconv.Itoa(number), folder: folder, api: a}
	a.AddUser(bunqtest.User{
		ID: int64(number), Kind: "UserPerson", APIKey: "sandbox_" + x.number, SessionTimeout: time.Hour,
	})
	a.trials.Store(x.number, x)
	x.config = writeFile(t, t.TempDir(), "config.yml", fmt.Sprintf(`accounts:
  - name: company
    environment: sandbox
    base_url: %s/%s/v1
    api_key: sandbox_%[2]s
    description: trial %[2]s
    context_file: %[3]s/company.conf
    device_servers: [1]
`, a.url, x.number, folder))
	return x
}

// start starts the program. The event happens once: at a random time, or just after a random request or its answer.
func (x *trial) start(event func(*process)) *process {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := launch(x, "--config.file="+x.config, "--web.listen-address=127.0.0.1:0")
	x.event, x.at, x.answered = func() { event(e) }, 0, rand.IntN(2) == 0
	switch {
	case event == nil:
		x.event = nil
	case rand.IntN(3) > 0:
		x.at = x.requests.Load() + 1 + rand.Int64N(3)
	default:
		time.AfterFunc(rand.N(1500*time.Millisecond), x.happen)
	}
	return e
}

func (x *trial) reach(request int64, answered bool) {
	x.mu.Lock()
	due := request == x.at && answered == x.answered
	x.mu.Unlock()
	if due {
		time.AfterFunc(rand.N(4*time.Millisecond), x.happen)
	}
}

func (x *trial) happen() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.event != nil {
		x.event()
		x.event = nil
	}
}

func (x *trial) happened() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.event == nil
}

// isUp scrapes once, and reports whether the account is read.
func (x *trial) isUp(e *process) bool {
	match := regexp.MustCompile(listening).FindStringSubmatch(e.text())
	if match == nil {
		return false // not yet
	}
	_, text, _ := call(x.Context(), http.MethodGet, "http://"+match[1]+"/metrics", timeoutHeader, "2")
	return hasLine(text, `bunq_up{account="company"} 1`)
}

// scrapeUntil scrapes until something holds.
func (x *trial) scrapeUntil(e *process, holds func() bool) {
	x.Helper()
	eventually(x, "trial "+x.number, func() bool {
		x.isUp(e)
		return holds()
	})
}

// expectUp wants the account to be read in the end: an unconfirmed registration is looked for during a minute.
func (x *trial) expectUp(e *process) {
	x.Helper()
	eventually(x, "the account of trial "+x.number+" is read", func() bool { return x.isUp(e) })
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
		x.Errorf("trial %s: context file: %v: %q", x.number, err, text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		x.Errorf("trial %s: context file: %v, %v", x.number, err, info)
	}
	return content
}

// own returns the device servers of the trial.
func (x *trial) own() (ids []int64) {
	for _, d := range x.api.DeviceServers() {
		if d.Description == "trial "+x.number {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

// finish wants an undisturbed start to end with exactly one device server: the one in the file.
func (x *trial) finish() {
	x.Helper()
	e := x.start(nil)
	x.expectUp(e)
	e.kill()
	if ids, content := x.own(), x.readContext(); len(ids) != 1 || content.DeviceServerID != ids[0] {
		x.Errorf("trial %s: bunq has the device servers %d, the file says %d", x.number, ids, content.DeviceServerID)
	}
}

// trials returns the number of trials.
func trials() int {
	n, _ := strconv.Atoi(os.Getenv("TRIALS"))
	return cmp.Or(n, 12)
}

// inParallel runs the trials, twelve at a time: they mostly wait.
func inParallel(n int, try func(number int)) {
	var workers sync.WaitGroup
	var next atomic.Int64
	for range 12 {
		workers.Go(func() {
			for number := next.Add(1); number <= int64(n); number = next.Add(1) {
				try(int(number))
			}
		})
	}
	workers.Wait()
}

func TestKilledRegistrations(t *testing.T) {
	t.Parallel()
	a, n := newSlowAPI(t), trials()
	var kills, unconfirmed atomic.Int64
	inParallel(n, func(number int) {
		x := a.newTrial(t, number, t.TempDir())
		for range 1 + rand.IntN(2) {
			x.scrapeUntil(x.start((*process).kill), x.happened)
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
	a := newSlowAPI(t)
	inParallel(trials()/4, func(number int) {
		x := a.newTrial(t, number, t.TempDir())
		first, second := x.start(nil), x.start(nil)
		x.expectUp(first)
		x.expectUp(second)
		if ids := x.own(); len(ids) != 1 {
			t.Errorf("trial %d: bunq has the device servers %d", number, ids)
		}
	})
}
