package collector_test

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

var (
	weeks = flag.Uint64("weeks", 1, "number of weeks that TestWeek simulates")
	seed  = flag.Uint64("seed", 1, "seed of the first week; the others follow")
)

// TestWeek runs accounts at a hostile API, whose faults pause every day. The seed of a week chooses the variant of the
// API, the accounts, and what happens when.
func TestWeek(t *testing.T) {
	for n := range *weeks {
		seed := *seed + n
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			t.Logf("to repeat: go test ./collector -run TestWeek -weeks 1 -seed %d", seed)
			synctest.Test(t, func(t *testing.T) { newWeek(t, seed).run() })
		})
	}
}

// week is a simulated week of accounts behind one address.
type week struct {
	t            *testing.T
	random       *rand.Rand
	interval     time.Duration // between scrapes
	registers    bool          // the client can find out whether a registration was made if its answer is lost
	needsSession bool          // the token of an installation does not read all that is watched
	api          *bunqtest.Server
	accounts     []*account
	logged       map[string]string // the last line, by account and subject
	exceeded     atomic.Int64      // requests that the API refused for its own rate limits

	mu       sync.Mutex
	hostile  bool
	requests int       // without an answer so far
	faultEnd time.Time // of the last one; after a 429, the time at which the client may go on
}

func newWeek(t *testing.T, seed uint64) *week {
	random := rand.New(rand.NewPCG(seed, 0))
	maybe := func() bool { return random.IntN(2) == 0 }
	reads, ownOnly, bare := bunqtest.Reads(random.IntN(3)), maybe(), maybe()
	options := bunqtest.Options{
		Strict: maybe(), InstallationTokenReads: reads, BareInstallationRefused: bare, OwnInstallationOnly: ownOnly,
		AlreadyExists: maybe(), UnknownTokenForbidden: maybe(), ReadsRefusedAsCredentials: maybe(),
		UseExtendsSession: maybe(), RegistrationSigned: maybe(), OlderSignatures: maybe(), ErrorsSigned: maybe(),
		RetryAfter: maybe(), Penalty: time.Duration(random.IntN(60)) * time.Second,
	}
	rate := []float64{0.02, 0.05, 0.2, 0.4}[random.IntN(4)]
	t.Logf("rate %v, %+v", rate, options)
	w := &week{
		t: t, random: random, interval: []time.Duration{interval, time.Minute}[random.IntN(2)],
		registers: !bare && reads != bunqtest.ReadsNothing, logged: map[string]string{},
		needsSession: reads == bunqtest.ReadsNothing || ownOnly && reads == bunqtest.ReadsList,
		api:          bunqtest.New(options),
	}
	limiter := bunq.NewLimiter(bunq.MaxReads)
	for i, kind := range []string{"UserPerson", "UserCompany", "UserApiKey"}[random.IntN(3):] {
		user := bunqtest.User{ID: int64(i + 1), Kind: kind, APIKey: fmt.Sprint(apiKey, i)}
		user.SessionTimeout = []time.Duration{10 * time.Minute, time.Hour, 7 * 24 * time.Hour}[random.IntN(3)]
		w.api.AddUser(user)
		ids := []int64{10 * user.ID, 10*user.ID + 1, 10*user.ID + 2}
		for _, id := range ids {
			w.api.AddDeviceServer(user.ID, device(id, bunq.StatusActive))
		}
		if ownOnly { // each id costs a read
			ids = ids[:1]
		}
		faults := &bunqtest.Hostile{Server: w.api, Rate: rate, Seed: seed + uint64(i)} // whatever the others request
		w.accounts = append(w.accounts, idleAccount(t, kind, user.APIKey, limiter, w.handler(faults), ids...))
	}
	return w
}

// handler passes requests to an API with faults, or to the same one without them.
func (w *week) handler(faults *bunqtest.Hostile) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		hostile := w.note(1, time.Time{})
		defer func() { // also if the connection is closed
			end := time.Now()
			if recorder := rw.(*httptest.ResponseRecorder); recorder.Code == http.StatusTooManyRequests {
				seconds, _ := strconv.Atoi(recorder.Header().Get("Retry-After"))
				end = end.Add(time.Duration(cmp.Or(seconds, 30)) * time.Second)
				if strings.Contains(recorder.Body.String(), "a maximum of") { // Hostile says something else
					w.exceeded.Add(1)
				}
			}
			w.note(-1, end)
		}()
		time.Sleep(100 * time.Millisecond)
		if hostile {
			faults.ServeHTTP(rw, r)
		} else {
			w.api.ServeHTTP(rw, r)
		}
	}
}

// note counts the requests in flight, and reports whether they meet faults.
func (w *week) note(requests int, end time.Time) (hostile bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.requests += requests; w.hostile && end.After(w.faultEnd) {
		w.faultEnd = end
	}
	return w.hostile
}

// setHostile begins or ends the faults, and reports whether the last one has not ended yet.
func (w *week) setHostile(hostile bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hostile = hostile
	return w.requests > 0 || time.Now().Before(w.faultEnd)
}

func (w *week) run() {
	w.setHostile(w.registers)
	for _, a := range w.accounts {
		go a.Run(w.t.Context())
		time.Sleep(time.Second) // in a certain order
	}
	time.Sleep(2 * time.Minute)
	for range 7 {
		w.setHostile(true)
		for range 20 + w.random.IntN(60) {
			w.changeStatus(!w.needsSession)
			w.scrape(w.interval, false)
		}
		for w.setHostile(false) {
			time.Sleep(time.Second)
		}
		w.changeStatus(false)
		if w.needsSession { // at most one login in 30 s
			time.Sleep(time.Duration(len(w.accounts)) * 30 * time.Second)
		}
		w.scrape(w.interval, false)
		w.scrape(w.interval, true)
		for range 45 {
			w.changeStatus(false)
			m := w.scrape(30*time.Minute, true)
			for _, a := range w.accounts {
				m.expect(w.t, 1, "bunq_login_state", a.Name(), "ok")
			}
		}
	}
}

// changeStatus changes the status of one device server. The accounts' own become ACTIVE again unless they may change.
func (w *week) changeStatus(own bool) {
	all := w.api.DeviceServers()
	for _, d := range all {
		if d.ID > 1000 && d.Status != bunq.StatusActive && !own {
			w.api.SetStatus(d.ID, bunq.StatusActive)
		}
	}
	if d := all[w.random.IntN(len(all))]; d.ID < 1000 || own {
		w.api.SetStatus(d.ID, bunq.Statuses[w.random.IntN(4)])
	}
}

// scrape fails the test unless the status of each device server that is shown is that at bunq. If so required, all
// that are watched must be shown, the accounts' own among them.
func (w *week) scrape(after time.Duration, all bool) metrics {
	time.Sleep(after)
	m, status, own := scrape(w.t, timeout, w.accounts...), map[int64]bunq.Status{}, 0
	for _, d := range w.api.DeviceServers() {
		if status[d.ID] = d.Status; d.ID > 1000 {
			own++
		}
	}
	for _, a := range w.accounts {
		for _, id := range a.State().Result.Watched {
			if all || m.value("bunq_device_server_up", a.Name(), text(id)) == 1 {
				m.expect(w.t, 1, "bunq_device_server_status", a.Name(), text(id), string(status[id]))
			}
		}
		if all && !slices.Contains(a.State().Result.Watched, a.own()) {
			w.t.Errorf("the own device server of %s is unknown", a.Name())
		}
		w.expectLoggedOnce(a)
	}
	if own > len(w.accounts) || w.exceeded.Load() > 0 {
		w.t.Errorf("%d accounts registered %d device servers; %d requests exceeded the rate limit",
			len(w.accounts), own, w.exceeded.Load())
	}
	if w.t.Failed() {
		w.t.FailNow()
	}
	return m
}

var (
	subject    = regexp.MustCompile(` id=\d+|login_state|context file|$`) // "": whether device servers can be read
	responseID = regexp.MustCompile(`\(response id .*?\)`)
	status     = regexp.MustCompile(` status=\S+`)
)

// expectLoggedOnce fails the test if two successive lines about a subject say the same.
func (w *week) expectLoggedOnce(a *account) {
	for _, line := range a.logged() {
		w.t.Log(time.Now().Format(time.DateTime), strings.TrimSpace(line))
		key, says := a.Name()+subject.FindString(line), responseID.ReplaceAllString(line, "")
		says = cmp.Or(status.FindString(says), says)
		if w.logged[key] == says {
			w.t.Errorf("logged twice: %s", line)
		}
		w.logged[key] = says
	}
}
