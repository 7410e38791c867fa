package collector_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/collector"
)

const (
	defaultTimeout = 9500 * time.Millisecond
	patience       = 30 * time.Minute // for a scrape that the exporter's own limits must not end
	interval       = 15 * time.Second // from scrape to scrape
)

// world is a simulated bunq with one account, and what was asked of it.
type world struct {
	*bunqtest.Server
	latency time.Duration
	ignores bool                                          // an older_id that is no device server shows the newest
	fault   func(http.ResponseWriter, *http.Request) bool // answers in place of the API, if it returns true; may be nil

	mu    sync.Mutex
	calls []*call
}

// call is a GET and its answer.
type call struct {
	*http.Request
	older  string // the older_id that it came with
	status int    // 0: the caller did not wait for the answer
	body   []byte
}

func newWorld(t *testing.T, options bunqtest.Options, devices ...bunq.DeviceServer) *world {
	t.Helper()
	return &world{Server: newAPIWith(t, options, 7*24*time.Hour, devices...)}
}

// newestOwn has bunq give out ids above all others, so that the exporter's own device server is the newest for ever.
func (w *world) newestOwn() *world {
	w.AddUser(bunqtest.User{ID: 2, Kind: "UserPerson", APIKey: "sandbox_other"})
	w.AddDeviceServer(2, numbered(1_000_000))
	return w
}

type answerRecorder struct {
	http.ResponseWriter
	call *call
}

func (r answerRecorder) WriteHeader(status int) {
	r.call.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r answerRecorder) Write(body []byte) (int, error) {
	r.call.body = append(r.call.body, body...)
	return r.ResponseWriter.Write(body)
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	c := &call{Request: r, older: r.URL.Query().Get("older_id")}
	if r.Method == http.MethodGet {
		defer w.note(c)
	}
	select {
	case <-time.After(w.latency):
	case <-r.Context().Done():
		return
	}
	query := r.URL.Query()
	if older, err := strconv.ParseInt(query.Get("older_id"), 10, 64); w.ignores && err == nil && !slices.Contains(ids(w.DeviceServers()), older) {
		query.Del("older_id")
		r.URL.RawQuery = query.Encode()
	}
	recorder := answerRecorder{rw, c}
	if w.fault == nil || !w.fault(recorder, r) {
		w.Server.ServeHTTP(recorder, r)
	}
}

func (w *world) note(c *call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, c)
}

// asked returns the GETs since it was last asked.
func (w *world) asked() []*call {
	synctest.Wait() // for those that nobody waits for any more
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := w.calls
	w.calls = nil
	return calls
}

func ids(devices []bunq.DeviceServer) []int64 {
	var all []int64
	for _, d := range devices {
		all = append(all, d.ID)
	}
	return all
}

// list tells whether the call is one for the list.
func (c *call) list() bool { return strings.HasSuffix(c.URL.Path, "/device-server") }

// shown returns the ids that an answer shows, and the older_id of its older_url.
func (c *call) shown(t *testing.T) (all []int64, older string) {
	t.Helper()
	var body struct {
		Response   []struct{ DeviceServer struct{ ID int64 } }
		Pagination struct {
			Older string `json:"older_url"`
		}
	}
	if c.status != http.StatusOK {
		return nil, ""
	}
	if err := json.Unmarshal(c.body, &body); err != nil {
		t.Fatal(err)
	}
	for _, object := range body.Response {
		all = append(all, object.DeviceServer.ID)
	}
	link, err := url.Parse(body.Pagination.Older)
	if err != nil {
		t.Fatal(err)
	}
	return all, link.Query().Get("older_id")
}

// readWhole tells whether the calls were led from the newest page to the oldest by bunq's own links, and what they show.
func readWhole(t *testing.T, calls []*call) (whole bool, seen map[int64]bool) {
	t.Helper()
	seen = map[int64]bool{}
	next, led := "", true
	for _, c := range calls {
		all, older := c.shown(t)
		for _, id := range all {
			seen[id] = true
		}
		if c.list() {
			led = led && c.status == http.StatusOK && c.older == next
			next = older
			whole = led && older == ""
		}
	}
	return whole, seen
}

// numbered returns a device server that differs from all others.
func numbered(id int64) bunq.DeviceServer {
	d := device(id, bunq.Statuses()[id%4])
	d.Description = fmt.Sprintf("server %d", id)
	d.IP = fmt.Sprintf("198.51.%d.%d", id/256%256, id%256)
	d.Updated = d.Created.Add(time.Duration(id) * time.Second)
	return d
}

// span returns the device servers from the newest to the oldest.
func span(newest, oldest int64) (devices []bunq.DeviceServer) {
	for id := newest; id >= oldest; id-- {
		devices = append(devices, numbered(id))
	}
	return devices
}

// exposed is an exposition by name and label values, but for what else than device servers it is about.
type exposed map[string]float64

func exposedBy(families []*dto.MetricFamily) exposed {
	all := exposed{}
	for _, family := range families {
		name, ok := strings.CutPrefix(family.GetName(), "bunq_")
		if !ok || !strings.Contains(name, "device_server") {
			continue
		}
		for _, metric := range family.GetMetric() {
			var key bytes.Buffer
			key.WriteString(name)
			for _, label := range metric.GetLabel() {
				key.WriteString(" " + label.GetValue())
			}
			all[key.String()] = metric.GetGauge().GetValue()
		}
	}
	return all
}

// expect fails the test unless e is what is wanted, and says where not, up to a few lines.
func (e exposed) expect(t *testing.T, want exposed) {
	t.Helper()
	var wrong []string
	for key, value := range want {
		if got, ok := e[key]; got != value || !ok {
			wrong = append(wrong, fmt.Sprintf("%s is %v (there: %v), want %v", key, got, ok, value))
		}
	}
	for key := range e {
		if _, ok := want[key]; !ok {
			wrong = append(wrong, key+" should not be there")
		}
	}
	slices.Sort(wrong)
	for i, line := range wrong {
		if i == 5 {
			t.Errorf("and %d more", len(wrong)-i)
			return
		}
		t.Error(line)
	}
}

func (e exposed) shows(id int64) bool { return e[fmt.Sprintf("device_server_up company %d", id)] == 1 }

// expected is what must be exposed of the watched ids, where bunq has shown those in seen.
func (w *world) expected(watched []int64, seen map[int64]bool, own int64, whole bool) exposed {
	want := exposed{}
	for _, id := range watched {
		want[fmt.Sprintf("device_server_up company %d", id)] = 0
	}
	if whole {
		for _, status := range bunq.Statuses() {
			want[fmt.Sprintf("device_servers company %s", status)] = 0
		}
	}
	isWatched := map[int64]bool{}
	for _, id := range watched {
		isWatched[id] = true
	}
	for _, d := range w.DeviceServers() {
		switch {
		case !seen[d.ID]:
			continue
		case isWatched[d.ID]:
			want[fmt.Sprintf("device_server_up company %d", d.ID)] = 1
			want[fmt.Sprintf("device_server_info company %s %d %s", d.Description, d.ID, d.IP)] = 1
			want[fmt.Sprintf("device_server_created_timestamp_seconds company %d", d.ID)] = float64(d.Created.UnixMicro()) / 1e6
			want[fmt.Sprintf("device_server_updated_timestamp_seconds company %d", d.ID)] = float64(d.Updated.UnixMicro()) / 1e6
			for _, status := range bunq.Statuses() {
				want[fmt.Sprintf("device_server_status company %d %s", d.ID, status)] = 0
			}
			want[fmt.Sprintf("device_server_status company %d %s", d.ID, d.Status)] = 1
		case d.ID != own:
			want[fmt.Sprintf("unexpected_device_server_info company %s %d %s %s", d.Description, d.ID, d.IP, d.Status)] = 1
		}
		if whole {
			want[fmt.Sprintf("device_servers company %s", d.Status)]++
		}
	}
	return want
}

// expectExposed fails the test unless the exposition is what bunq has shown in the calls, every watched device server
// that exists included. It returns how many calls there were.
func (w *world) expectExposed(t *testing.T, account *collector.Account, families []*dto.MetricFamily, watched []int64) int {
	t.Helper()
	calls := w.asked()
	whole, seen := readWhole(t, calls)
	_, login := account.Last()
	got := exposedBy(families)
	got.expect(t, w.expected(watched, seen, login.DeviceServerID, whole))
	exists := map[int64]bool{}
	for _, d := range w.DeviceServers() {
		exists[d.ID] = d.ID < 1_000_000 || d.ID == login.DeviceServerID
	}
	for _, id := range watched {
		if got.shows(id) != exists[id] {
			t.Errorf("%d is shown: %v; it exists: %v", id, got.shows(id), exists[id])
		}
	}
	return len(calls)
}

func TestRequestsOfAScrapeByDeviceServersWatched(t *testing.T) {
	for name, test := range map[string]struct {
		newest bool        // its own device server
		want   map[int]int // requests by device servers
	}{
		"own is the newest": {true, map[int]int{1: 1, 3: 1, 10: 1, 200: 2, 201: 2, 1000: 6, 2400: 13}},
		"own is the oldest": {false, map[int]int{1: 1, 3: 1, 10: 1, 200: 1, 201: 2, 1000: 5, 2400: 12}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, bunqtest.Options{Unlimited: true})
				oldest := int64(5001)
				if test.newest {
					w.newestOwn()
					oldest = 1
				}
				account, _ := newAccount(t, "company", w)
				scrape(t, patience, account) // registers
				w.asked()
				var watched []int64
				for _, n := range slices.Sorted(maps.Keys(test.want)) {
					for len(watched) < n {
						id := oldest + int64(len(watched))
						w.AddDeviceServer(1, numbered(id))
						watched = append(watched, id)
					}
					account.Watch(slices.Clone(watched))
					if got := w.expectExposed(t, account, scrape(t, patience, account), watched); got != test.want[n] {
						t.Errorf("%d requests for %d device servers, want %d", got, n, test.want[n])
					}
				}
			})
		})
	}
}

func TestThreeAmongThousandsAreNoMoreThanFourRequestsWhereverTheyAre(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bunqtest.Options{Unlimited: true}, span(5000, 1)...).newestOwn()
		account, _ := newAccount(t, "company", w, 5000)
		for _, test := range []struct {
			ids  []int64
			want int
		}{
			{[]int64{5000, 4999, 4998}, 1},
			{[]int64{4801, 4803, 4802}, 2}, // the first page ends at 4802
			{[]int64{3, 2, 1}, 2},
			{[]int64{2500, 2499, 2498}, 2},
			{[]int64{2500, 2301, 2300}, 3}, // one is over the end of the page
			{[]int64{1, 2500, 5000}, 3},
			{[]int64{4000, 2500, 1}, 4},
			{[]int64{6000, 2500, 1}, 3}, // 6000 is no device server's
			{[]int64{1, 2, 7000}, 2},
		} {
			account.Watch(test.ids)
			if got := w.expectExposed(t, account, scrape(t, patience, account), test.ids); got != test.want {
				t.Errorf("%d requests for %v, want %d", got, test.ids, test.want)
			}
		}
	})
}

// grow adds a random number of device servers with random gaps, and returns the ids that are taken then.
func (w *world) grow(random *rand.Rand, most int) {
	taken := map[int64]bool{}
	for _, d := range w.DeviceServers() {
		taken[d.ID] = true
	}
	id, gap := random.Int64N(20_000)+1, random.Int64N(30)+1
	for range random.IntN(most) + 1 {
		if !taken[id] {
			w.AddDeviceServer(1, numbered(id))
		}
		id += random.Int64N(gap) + 1
	}
}

// watch returns random ids: of device servers and, up to so many in four, of none.
func (w *world) watch(random *rand.Rand, most, unknown int) []int64 {
	all := ids(w.DeviceServers())
	watched := map[int64]bool{}
	unknown = random.IntN(unknown + 1)
	for range []int{1, 2, 3, 4, 10, most}[random.IntN(6)] {
		id := all[random.IntN(len(all))]
		if random.IntN(4) < unknown {
			id = random.Int64N(25_000) + 1
		}
		watched[id] = true
	}
	list := slices.Collect(maps.Keys(watched))
	slices.Sort(list)
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// visible is how many device servers the list has.
func (w *world) visible() (n int) {
	for _, d := range w.DeviceServers() {
		if d.ID != 1_000_000 {
			n++
		}
	}
	return n
}

func TestRequestsOfAScrapeAreNoMoreThanOneAndTheFewerOfIDsAndPages(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 0))
				w := newWorld(t, bunqtest.Options{Unlimited: true})
				if seed%2 == 0 {
					w.newestOwn()
				}
				account, _ := newAccount(t, "company", w)
				for w.visible() < 1500 && !t.Failed() {
					w.grow(random, 120)
					watched := w.watch(random, 600, 3)
					account.Watch(watched)
					got := w.expectExposed(t, account, scrape(t, patience, account), watched)
					if most := 1 + min(len(watched), (w.visible()+199)/200); got > most {
						t.Errorf("%d requests for %d ids among %d device servers, want %d at most", got, len(watched), w.visible(), most)
					}
				}
			})
		})
	}
}

// madeUp returns the calls for the list whose older_id bunq did not name itself: with the exporter's, it names each.
func madeUp(t *testing.T, calls []*call) (made []string) {
	t.Helper()
	named := map[string]bool{"": true}
	for _, c := range calls {
		if c.list() && !named[c.older] {
			made = append(made, c.older)
		}
		_, older := c.shown(t)
		named[older] = true
	}
	return made
}

// bothWays returns an account with an API key, and one that watches the same with its installation alone.
func bothWays(t *testing.T, w *world, watched ...int64) map[string]*collector.Account {
	t.Helper()
	config := newConfig(t.TempDir(), w)
	withKey, _ := newAccountOf(t, config, "company", watched...)
	scrape(t, patience, withKey)
	withoutKey(t, config.ContextFile)
	config.APIKey = nil
	keyless, _ := newAccountOf(t, config, "company", watched...)
	w.asked()
	return map[string]*collector.Account{"key": withKey, "installation": keyless}
}

// olderIDs are the readings of an older_id that is no device server.
var olderIDs = map[string]struct {
	reading bunqtest.OlderID
	ignored bool
}{
	"compares":      {bunqtest.OlderIDCompares, false},
	"shows nothing": {bunqtest.OlderIDShowsNothing, false},
	"is refused":    {bunqtest.OlderIDRefused, false},
	"is ignored":    {bunqtest.OlderIDCompares, true},
}

func TestEveryDeviceServerIsReadWhateverBunqMakesOfAnOlderID(t *testing.T) {
	for name, older := range olderIDs {
		for _, own := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, own_installation_only=%v", name, own), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					options := bunqtest.Options{Unlimited: true, UnknownOlderID: older.reading, OwnInstallationOnly: own}
					w := newWorld(t, options, span(300, 1)...)
					w.ignores = older.ignored
					for way, account := range bothWays(t, w, 1) {
						t.Log("with its ", way)
						expectWorldIsRead(t, account, w, own, older.reading)
					}
				})
			})
		}
	}
}

// expectWorldIsRead watches random ids while the account grows.
func expectWorldIsRead(t *testing.T, account *collector.Account, w *world, own bool, reading bunqtest.OlderID) {
	t.Helper()
	random, tried := rand.New(rand.NewPCG(uint64(reading), 0)), 0
	for range 6 {
		unknown := 3
		if reading == bunqtest.OlderIDShowsNothing && !own {
			unknown = 0 // has a test of its own
		}
		watched := w.watch(random, 60, unknown)
		account.Watch(watched)
		families := scrape(t, patience, account)
		calls := w.asked()
		whole, seen := readWhole(t, calls)
		_, login := account.Last()
		got, want := exposedBy(families), w.expected(watched, seen, login.DeviceServerID, whole)
		if own {
			got, want = got.withoutCounts(), want.withoutCounts()
		}
		got.expect(t, want)
		all := ids(w.DeviceServers())
		for _, id := range watched {
			if exists := slices.Contains(all, id); got.shows(id) != exists {
				t.Errorf("%d of %d is shown: %v; it exists: %v", id, watched, got.shows(id), exists)
			}
		}
		for _, c := range calls {
			if c.list() && c.status != http.StatusOK {
				tried++
			}
		}
		w.grow(random, 400)
	}
	if tried > 1 {
		t.Errorf("bunq has refused %d made-up older_ids, want no other after the first", tried)
	}
}

// withoutCounts leaves out how many device servers the account has.
func (e exposed) withoutCounts() exposed {
	maps.DeleteFunc(e, func(key string, _ float64) bool { return strings.HasPrefix(key, "device_servers ") })
	return e
}

// A made-up older_id is known by what bunq named before, in this scrape or an earlier one.
func TestAfterOneRefusalOnlyBunqsOwnOlderIDsAreSent(t *testing.T) {
	for name, older := range olderIDs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, bunqtest.Options{Unlimited: true, UnknownOlderID: older.reading})
				w.ignores = older.ignored
				for id := int64(2000); id > 0; id -= 2 { // an id of a device server's is taken
					w.AddDeviceServer(1, numbered(id))
				}
				watched := []int64{1800, 800, 600, 4, 2}
				account, _ := newAccount(t, "company", w, watched...)
				var calls []*call
				for range 3 {
					families := exposedBy(scrape(t, patience, account))
					for _, id := range watched {
						if !families.shows(id) {
							t.Errorf("%d is not shown", id)
						}
					}
					calls = append(calls, w.asked()...)
				}
				made, most := madeUp(t, calls), 1
				switch name {
				case "compares":
					most = len(calls)
				case "shows nothing":
					most = 2 // nothing may be there: another one tells
				}
				if len(made) == 0 || len(made) > most {
					t.Errorf("made-up older_ids were sent: %v, want at least one and at most %d", made, most)
				}
			})
		})
	}
}

func TestOneOddAnswerToAnOlderIDMakesReadingsDearForAnHourAtMost(t *testing.T) {
	for name, odd := range map[string]func(*world, http.ResponseWriter, *http.Request){
		"404":   func(_ *world, rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNotFound) },
		"408":   func(_ *world, rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusRequestTimeout) },
		"empty": func(w *world, rw http.ResponseWriter, r *http.Request) { w.Answer(rw, r, http.StatusOK, []byte(`{}`)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, bunqtest.Options{Unlimited: true}, span(2000, 1)...).newestOwn()
				watched := []int64{800, 600, 400, 200, 1}
				account, _ := registered(t, w, watched...)
				isOdd := false
				w.fault = func(rw http.ResponseWriter, r *http.Request) bool {
					if !isOdd || r.URL.Query().Get("older_id") == "" {
						return false
					}
					isOdd = false
					odd(w, rw, r)
					return true
				}
				const cheap, dear = 5, 11 // pages left out, or none but what is read one by one
				for _, step := range []struct {
					after time.Duration
					odd   bool
					want  int
				}{
					{0, false, cheap},
					{0, true, dear + 1},
					{0, false, dear},
					{58 * time.Minute, false, dear},
					{2 * time.Minute, false, cheap},
					{0, false, cheap},
				} {
					time.Sleep(step.after)
					isOdd = step.odd
					if got := w.expectExposed(t, account, scrape(t, patience, account), watched); got != step.want {
						t.Errorf("%v later: %d requests, want %d", step.after, got, step.want)
					}
				}
			})
		})
	}
}

// statuses counts answers by status.
func statuses(calls []*call) map[int]int {
	n := map[int]int{}
	for _, c := range calls {
		n[c.status]++
	}
	return n
}

// errorsOf returns how many errors of a reason were counted for both readings of device servers.
func errorsOf(families []*dto.MetricFamily, reason string) float64 {
	list, _ := value(families, "bunq_api_request_errors_total", "company", "device-server", "GET", reason)
	one, _ := value(families, "bunq_api_request_errors_total", "company", "device-server/{id}", "GET", reason)
	return list + one
}

func TestTwelvePagesAreFreshInOneScrapeWithinBunqsLimits(t *testing.T) {
	for name, devices := range map[string][]bunq.DeviceServer{
		"own is the newest": span(2399, 1), "own is the oldest": span(7400, 5001),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, bunqtest.Options{})
				if name == "own is the newest" {
					w.newestOwn()
				}
				account, _ := newAccount(t, "company", w, 1)
				scrape(t, defaultTimeout, account) // registers
				for _, d := range devices {
					w.AddDeviceServer(1, d)
				}
				watched := ids(devices)
				account.Watch(watched)
				for _, w.latency = range []time.Duration{0, 0, 50 * time.Millisecond, 50 * time.Millisecond} {
					time.Sleep(interval)
					w.asked()
					families := scrape(t, defaultTimeout, account)
					got := exposedBy(families)
					for _, id := range watched {
						if !got.shows(id) {
							t.Fatalf("%d is not shown, with a latency of %v", id, w.latency)
						}
					}
					if n := statuses(w.asked()); len(n) != 1 || n[http.StatusOK] != 12 {
						t.Errorf("answers by status: %v, want 12 of 200", n)
					}
					if _, ok := value(families, "bunq_api_requests_total", "company", "429", "device-server", "GET"); ok || errorsOf(families, "rate_limited") != 0 {
						t.Error("a 429 or a reading whose turn did not come is counted")
					}
				}
			})
		})
	}
}

// turns scrapes the account so many times, and returns in which scrapes each device server was read.
func (w *world) turns(t *testing.T, account *collector.Account, timeout time.Duration, scrapes int) (turns map[int64][]int, calls [][]*call) {
	t.Helper()
	turns = map[int64][]int{}
	for i := range scrapes {
		begun := time.Now()
		for id := range scrapeOnly(t, timeout, account).DeviceServers {
			turns[id] = append(turns[id], i)
		}
		calls = append(calls, w.asked())
		time.Sleep(interval - time.Since(begun))
	}
	return turns, calls
}

// scrapeOnly scrapes, and returns what was read as the status page has it: an exposition of thousands takes a while.
func scrapeOnly(t *testing.T, timeout time.Duration, account *collector.Account) collector.Reading {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	metrics := make(chan prometheus.Metric)
	go func() {
		defer close(metrics)
		collector.Scrape(ctx, []*collector.Account{account}).Collect(metrics)
	}()
	for range metrics {
	}
	reading, _ := account.Last()
	return reading
}

// expectTurns fails the test if a device server is not read for more than so many scrapes.
func expectTurns(t *testing.T, turns map[int64][]int, watched []int64, scrapes, most int) {
	t.Helper()
	starved := 0
	for _, id := range watched {
		before, longest := -1, 0
		for _, i := range append(slices.Clone(turns[id]), scrapes) {
			longest = max(longest, i-before)
			before = i
		}
		if longest <= most {
			continue
		}
		if starved++; starved <= 5 {
			t.Errorf("%d is read in the scrapes %v of %d, want each %d", id, turns[id], scrapes, most)
		}
	}
	if starved > 5 {
		t.Errorf("%d have no turn in time", starved)
	}
}

func TestAccountTooLargeForOneScrapeIsReadInTurns(t *testing.T) {
	for _, test := range []struct {
		devices int
		latency time.Duration
		reading bunqtest.OlderID
		pages   int // in a scrape
		scrapes int
	}{
		{10_000, 0, bunqtest.OlderIDCompares, 12, 20},
		{3_000, 50 * time.Millisecond, bunqtest.OlderIDRefused, 12, 8},
		{3_000, time.Second, bunqtest.OlderIDShowsNothing, 7, 8},
	} {
		t.Run(fmt.Sprint(test.devices, " ", test.latency), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, bunqtest.Options{UnknownOlderID: test.reading}, span(int64(test.devices), 1)...).newestOwn()
				w.latency = test.latency
				watched := ids(w.DeviceServers())[1:]
				account, _ := newAccount(t, "company", w, watched...)

				families := scrape(t, defaultTimeout, account)
				calls := w.asked()
				_, seen := readWhole(t, calls)
				_, login := account.Last()
				exposedBy(families).expect(t, w.expected(watched, seen, login.DeviceServerID, false))
				if ended := errorsOf(families, "rate_limited") + errorsOf(families, "timeout"); ended != 1 || test.latency < time.Second && len(seen) != 200*len(calls) {
					t.Errorf("%d device servers in %d requests, %v errors that tell of the rest", len(seen), len(calls), ended)
				}
				time.Sleep(interval)

				turns, rounds := w.turns(t, account, defaultTimeout, test.scrapes)
				fewest := math.MaxInt
				for i, calls := range rounds {
					n := statuses(calls)
					if n[http.StatusOK]+n[0] != len(calls) || n[0] > 1 { // the last one may not be in time
						t.Errorf("scrape %d: answers by status %v", i, n)
					}
					fewest = min(fewest, n[http.StatusOK])
				}
				pages := (test.devices + 1 + 199) / 200
				if fewest < test.pages {
					t.Errorf("%d pages in a scrape, want %d", fewest, test.pages)
				}
				expectTurns(t, turns, watched, test.scrapes, (pages+fewest-1)/fewest+1)
			})
		})
	}
}

func TestDeviceServersThatTheListDoesNotShowAreReadInTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bunqtest.Options{OwnInstallationOnly: true}, span(40, 1)...)
		watched := ids(w.DeviceServers())
		account, _ := newAccount(t, "company", w, watched...)
		turns, rounds := w.turns(t, account, defaultTimeout, 20)
		for i, calls := range rounds {
			if n := statuses(calls); len(calls) != 12 || len(n) != 1 {
				t.Errorf("scrape %d: answers by status %v", i, n)
			}
		}
		expectTurns(t, turns, watched, 20, (40+10)/11+1)
	})
}

func TestAWatchListThatChangesWhileSomeHaveNotHadTheirTurnLosesNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bunqtest.Options{}, span(5000, 1)...).newestOwn()
		all := ids(w.DeviceServers())[1:]
		account, _ := newAccount(t, "company", w, all...)
		for _, watched := range [][]int64{
			{5000, 4999}, {1}, {5000, 4000, 2600, 2599}, {5000, 2600, 2598, 1}, {6000, 5000, 1}, all[2800:], slices.Concat(all[:900], all[4100:]),
		} {
			account.Watch(all)
			scrapeOnly(t, defaultTimeout, account)
			time.Sleep(interval)
			w.asked()
			account.Watch(watched)
			if got := w.expectExposed(t, account, scrape(t, defaultTimeout, account), watched); got > 1+len(watched) {
				t.Errorf("%d requests for %v", got, watched)
			}
			time.Sleep(interval)
		}
	})
}

func TestAWatchListThatChangesWhileSomeAreStillToBeReadOneByOneLosesNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bunqtest.Options{OwnInstallationOnly: true}, span(40, 1)...)
		all := ids(w.DeviceServers())
		account, _ := newAccount(t, "company", w, all...)
		for _, watched := range [][]int64{{40}, {1}, {30, 29, 28}, {40, 30, 20, 1}, {50}, all[:11], all[29:]} {
			account.Watch(all)
			scrapeOnly(t, defaultTimeout, account)
			time.Sleep(interval)
			account.Watch(watched)
			got := exposedBy(scrape(t, defaultTimeout, account))
			for _, id := range watched {
				if got.shows(id) != (id <= 40) {
					t.Errorf("%d of %v is shown: %v", id, watched, got.shows(id))
				}
			}
			time.Sleep(interval)
		}
	})
}

// fails are the ways in which bunq may fail at one thing for ever.
var fails = map[string]func(*world, http.ResponseWriter, *http.Request){
	"malformed": func(w *world, rw http.ResponseWriter, r *http.Request) {
		w.Answer(rw, r, http.StatusOK, []byte(`{"Response":[{"DeviceServer":{"id":-1}}]}`))
	},
	"times out": func(_ *world, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
}

func TestADeviceServerThatAlwaysFailsLeavesTheOthersTheirTurn(t *testing.T) {
	const failing = 25
	for name, fail := range fails {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, bunqtest.Options{OwnInstallationOnly: true}, span(40, 1)...)
				w.fault = func(rw http.ResponseWriter, r *http.Request) bool {
					if !strings.HasSuffix(r.URL.Path, fmt.Sprint("/", failing)) {
						return false
					}
					fail(w, rw, r)
					return true
				}
				watched := ids(w.DeviceServers())
				account, _ := newAccount(t, "company", w, watched...)
				turns, _ := w.turns(t, account, defaultTimeout, 20)
				if len(turns[failing]) > 0 {
					t.Errorf("%d is read", failing)
				}
				watched = slices.DeleteFunc(watched, func(id int64) bool { return id == failing })
				expectTurns(t, turns, watched, 20, (40+10)/11+1)
			})
		})
	}
}

func TestAnIDOfNoDeviceServerHidesNoOther(t *testing.T) {
	for name, older := range olderIDs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, bunqtest.Options{Unlimited: true, UnknownOlderID: older.reading}, span(499, 301)...)
				w.ignores = older.ignored
				for _, d := range span(199, 1) {
					w.AddDeviceServer(1, d)
				}
				watched := []int64{250, 20, 10} // 250 is no device server's
				account, _ := newAccount(t, "company", w, watched...)
				for range 3 {
					w.expectExposed(t, account, scrape(t, patience, account), watched)
				}
			})
		})
	}
}

func TestThoseThatDoNotFitBehindTheListHaveTheirTurnToo(t *testing.T) {
	for _, reading := range []bunqtest.OlderID{bunqtest.OlderIDCompares, bunqtest.OlderIDRefused} {
		t.Run(fmt.Sprint(reading), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, bunqtest.Options{UnknownOlderID: reading}, span(2400, 1)...).newestOwn()
				watched := ids(w.DeviceServers())[1:]
				account, _ := newAccount(t, "company", w, watched...)
				turns, _ := w.turns(t, account, defaultTimeout, 6)
				expectTurns(t, turns, watched, 6, 3)
			})
		})
	}
}

func TestAnInstallationThatMayReadTheListAloneReadsAllOfIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bunqtest.Options{Unlimited: true, InstallationTokenReads: bunqtest.ReadsList}, span(300, 1)...)
		account := bothWays(t, w, 300)["installation"]
		for _, watched := range [][]int64{{300}, {300, 50, 1}, {300, 1}, {1}, {500, 299, 1}} {
			account.Watch(watched)
			w.expectExposed(t, account, scrape(t, patience, account), watched)
			time.Sleep(time.Hour)
		}
	})
}

// Where bunq compares, an empty page says that nothing is there: no other page is asked for.
func TestIDsBelowAllDeviceServersCostOnePage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bunqtest.Options{Unlimited: true})
		for id := int64(12_000); id > 10_000; id -= 2 {
			w.AddDeviceServer(1, numbered(id))
		}
		watched := []int64{12_000, 4, 3, 2, 1}
		account, _ := newAccount(t, "company", w, watched...)
		for _, most := range []int{3, 2, 2} { // the first time, another page shows that bunq compares
			if n := w.expectExposed(t, account, scrape(t, patience, account), watched); n > most {
				t.Errorf("%d readings, want at most %d", n, most)
			}
		}
	})
}
