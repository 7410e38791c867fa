package main

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
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bunq_exporter/bunq/bunqtest"
)

// asProgram makes the test binary the exporter: "whole", or "unlimited" to measure it.
const asProgram = "RUN_AS_BUNQ_EXPORTER"

func TestMain(m *testing.M) {
	switch os.Getenv(asProgram) {
	case "whole":
		main()
	case "unlimited":
		os.Exit(runUnlimited())
	}
	os.Exit(m.Run())
}

// process is an exporter that can be killed.
type process struct {
	*exec.Cmd
	url    string
	stderr *buffer
}

func startProcess(t testing.TB, configFile, as string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(t.Context(), os.Args[0], "--config.file="+configFile, "--web.listen-address=127.0.0.1:0"), stderr: newBuffer()}
	p.Env = append(os.Environ(), asProgram+"="+as)
	p.Stderr = p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	p.url = "http://" + p.stderr.find(t, `address=(127\.0\.0\.1:\d+)`)
	return p
}

// kill is SIGKILL.
func (p *process) kill() {
	_ = p.Process.Kill()
	_ = p.Wait()
}

// bank is a slow API, each of whose users has a base URL of its own. It goes on with a request when nobody waits for the
// answer any more, as bunq may.
type bank struct {
	api    *bunqtest.Server
	url    string
	trials sync.Map // of *trial, by number
}

func newBank(t *testing.T) *bank {
	t.Helper()
	api, err := bunqtest.New(bunqtest.Options{Unlimited: true})
	if err != nil {
		t.Fatal(err)
	}
	b := &bank{api: api}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

func (b *bank) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	number, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	found, ok := b.trials.Load(number)
	body, err := io.ReadAll(r.Body)
	if !ok || err != nil {
		return // of a process that is dead
	}
	trial := found.(*trial)
	request := trial.requests.Add(1)
	longest := 20 * time.Millisecond
	if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/device-server") {
		trial.registrations.Add(1)
		longest = 600 * time.Millisecond // longer than a restart: the next start comes too early to see it made
	}
	trial.meets(request, false)
	time.Sleep(rand.N(longest))
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	http.StripPrefix("/"+number, b.api).ServeHTTP(answer, r)
	time.Sleep(rand.N(longest))
	for key, values := range answer.Header() {
		w.Header()[key] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
	_ = http.NewResponseController(w).Flush()
	trial.meets(request, true)
}

// trial is one registration that something happens to.
type trial struct {
	t      *testing.T
	number string
	folder string
	config string
	bank   *bank

	requests      atomic.Int64
	registrations atomic.Int64 // of these
	mu            sync.Mutex
	strike        func() // what happens, once
	at            int64  // at which request, counted from 1; 0 is at a time
	answered      bool   // when it is answered, or else when it comes
}

func (b *bank) newTrial(t *testing.T, number int, folder string) *trial {
	t.Helper()
	x := &trial{t: t, number: strconv.Itoa(number), folder: folder, bank: b}
	b.api.AddUser(bunqtest.User{ID: int64(number), Kind: "UserPerson", APIKey: "sandbox_" + x.number, SessionTimeout: time.Hour})
	b.trials.Store(x.number, x)
	x.config = writeFile(t, t.TempDir(), "config.yml", fmt.Sprintf(`accounts:
  - name: company
    environment: sandbox
    base_url: %s/%s/v1
    api_key: sandbox_%s
    description: trial %s
    context_file: %s/company.conf
    device_servers: [1]
`, b.url, x.number, x.number, x.number, folder))
	return x
}

// expectStrike has something happen at a random instant of a start: at some time, or just after a request or its answer.
func (x *trial) expectStrike(strike func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.strike, x.at, x.answered = strike, 0, rand.IntN(2) == 0
	if rand.IntN(3) > 0 {
		x.at = x.requests.Load() + 1 + rand.Int64N(3)
		return
	}
	time.AfterFunc(rand.N(1500*time.Millisecond), x.strikeNow)
}

func (x *trial) meets(request int64, answered bool) {
	x.mu.Lock()
	due := request == x.at && answered == x.answered
	x.mu.Unlock()
	if due {
		time.AfterFunc(rand.N(4*time.Millisecond), x.strikeNow)
	}
}

func (x *trial) strikeNow() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.strike != nil {
		x.strike()
		x.strike = nil
	}
}

// struck reports whether it has happened.
func (x *trial) struck() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.strike == nil
}

// scrapeUntil scrapes until the process is dead or the metrics have the line.
func (x *trial) scrapeUntil(p *process, line string, patience time.Duration) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		text, err := fetch(x.t.Context(), p.url+"/metrics")
		if err != nil {
			return false
		}
		if lacks(text, line) == nil {
			return true
		}
	}
	return false
}

const (
	isUp  = `bunq_up{account="company"} 1`
	never = "a line that there is not"
)

// checkFile wants the context file to be whole, and returns what it says of the registration.
func (x *trial) checkFile() (kept struct {
	DeviceServerID int64 `json:"device_server_id"`
	Requested      any   `json:"device_server_requested"`
}) {
	x.t.Helper()
	path := filepath.Join(x.folder, "company.conf")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return kept
	}
	if err := cmp.Or(err, json.Unmarshal(text, &kept)); err != nil {
		x.t.Errorf("trial %s: the context file is not whole: %v: %q", x.number, err, text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		x.t.Errorf("trial %s: the context file: %v, mode %v", x.number, err, info.Mode())
	}
	return kept
}

// own returns the device servers that the trial has made.
func (x *trial) own() (ids []int64) {
	for _, d := range x.bank.api.DeviceServers() {
		if d.Description == "trial "+x.number {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

// finish lets an undisturbed start come to its end, and wants exactly one device server: the one in the file.
func (x *trial) finish() {
	x.t.Helper()
	p := startProcess(x.t, x.config, "whole")
	defer p.kill()
	if !x.scrapeUntil(p, isUp, 2*time.Minute) { // a registration that was lost on its way is waited for
		x.t.Errorf("trial %s: it never reads:\n%s", x.number, p.stderr)
	}
	if ids, kept := x.own(), x.checkFile(); len(ids) != 1 || kept.DeviceServerID != ids[0] {
		x.t.Errorf("trial %s: bunq has the device servers %d, the file says %d", x.number, ids, kept.DeviceServerID)
	}
}

// tries is how many trials there are: few, unless the environment says how many.
func tries(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv("TRIALS"), "12"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// inParallel runs the trials, eight at a time: they mostly wait.
func inParallel(n int, try func(number int)) {
	var workers sync.WaitGroup
	var next atomic.Int64
	for range 8 {
		workers.Go(func() {
			for number := next.Add(1); number <= int64(n); number = next.Add(1) {
				try(int(number))
			}
		})
	}
	workers.Wait()
}

func TestRegistrationSurvivesBeingKilledAtAnyInstant(t *testing.T) {
	t.Parallel()
	b, n := newBank(t), tries(t)
	var kills, unanswered, adopted atomic.Int64
	inParallel(n, func(number int) {
		x := b.newTrial(t, number, t.TempDir())
		unknown, sent := false, int64(0) // whether bunq has made it, and how often it was asked
		for range 1 + rand.IntN(2) {
			p := startProcess(t, x.config, "whole")
			x.expectStrike(p.kill)
			x.scrapeUntil(p, never, time.Minute) // until it is dead
			kills.Add(1)
			unknown, sent = x.checkFile().Requested != nil, x.registrations.Load()
		}
		x.finish()
		if unknown {
			unanswered.Add(1)
			if x.registrations.Load() == sent {
				adopted.Add(1)
			}
		}
	})
	t.Logf("%d registrations, killed %d times: in %d the last start did not know whether bunq had made the device server, adopted it in %d and asked again in the others; exactly one device server each",
		n, kills.Load(), unanswered.Load(), adopted.Load())
}

func TestTwoProcessesOnOneContextFileRegisterOnce(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	inParallel(tries(t)/4, func(number int) {
		x := b.newTrial(t, number, t.TempDir())
		var both sync.WaitGroup
		for range 2 {
			p := startProcess(t, x.config, "whole")
			defer p.kill()
			both.Go(func() {
				if !x.scrapeUntil(p, isUp, time.Minute) {
					t.Errorf("trial %d: one of the two does not read:\n%s", number, p.stderr)
				}
			})
		}
		both.Wait()
		if ids := x.own(); len(ids) != 1 {
			t.Errorf("trial %d: bunq has the device servers %d", number, ids)
		}
	})
}
