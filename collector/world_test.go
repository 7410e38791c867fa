package collector_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
	login := account.State().Login
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
