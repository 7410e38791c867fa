package collector_test

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/collector"
)

// value returns the value of the series with the name and, in that order, all the label values; false if there is none.
func value(families []*dto.MetricFamily, name string, labels ...string) (float64, bool) {
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			var values []string
			for _, label := range metric.GetLabel() {
				values = append(values, label.GetValue())
			}
			if strings.Join(values, " ") == strings.Join(labels, " ") {
				return metric.GetGauge().GetValue() + metric.GetCounter().GetValue(), true
			}
		}
	}
	return math.NaN(), false
}

func expect(t *testing.T, families []*dto.MetricFamily, want float64, name string, labels ...string) {
	t.Helper()
	if got, ok := value(families, name, labels...); got != want {
		t.Errorf("%s%q is %v (there: %v), want %v", name, labels, got, ok, want)
	}
}

// hanging answers with the API until its switch is set, and from then on not at all.
type hanging struct {
	http.Handler
	hangs atomic.Bool
}

func (h *hanging) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.hangs.Load() {
		<-r.Context().Done()
		return
	}
	h.Handler.ServeHTTP(w, r)
}

func TestScrapeOfAnAPIThatHangsEndsInTimeAndSaysSo(t *testing.T) {
	for _, first := range []bool{true, false} {
		t.Run(fmt.Sprintf("first_scrape=%v", first), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := &hanging{Handler: newAPI(t, device(11, bunq.StatusActive))}
				api.hangs.Store(first)
				account, _ := newAccount(t, "company", api, 11)
				operation := bunq.CreateInstallation
				if !first {
					expect(t, scrape(t, time.Second, account), 1, "bunq_up", "company")
					api.hangs.Store(true)
					operation = bunq.ListDeviceServers
				}
				begun := time.Now()
				families := scrape(t, 2500*time.Millisecond, account)
				if took := time.Since(begun); took != 2500*time.Millisecond {
					t.Errorf("took %v, want the timeout", took)
				}
				expect(t, families, 0, "bunq_up", "company")
				expect(t, families, 0, "bunq_device_server_up", "company", "11")
				expect(t, families, 1, "bunq_api_request_errors_total", "company", operation.Endpoint, operation.Method, "timeout")
				expect(t, families, 1, "bunq_api_requests_total", "company", "none", operation.Endpoint, operation.Method)
				if _, ok := value(families, "bunq_device_server_status", "company", "11", "ACTIVE"); ok {
					t.Error("the status of an earlier scrape is shown")
				}
			})
		})
	}
}

func TestRegistrationThatTakesLongerThanAScrapeHappensOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, device(11, bunq.StatusActive))
		slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/device-server") {
				time.Sleep(12 * time.Second)
			}
			api.ServeHTTP(w, r)
		})
		account, _ := newAccount(t, "company", slow, 11)
		for range 3 {
			expect(t, scrape(t, 3*time.Second, account), 0, "bunq_up", "company")
		}
		expect(t, scrape(t, 5*time.Second, account), 1, "bunq_up", "company")
		if n := api.Requests(bunq.CreateDeviceServer); n != 1 {
			t.Errorf("%d device servers were registered", n)
		}
	})
}

func TestTimestampsAreExactToTheMicrosecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, micros := range []int64{0, 1, 215235, 999999} {
			d := device(11, bunq.StatusActive)
			d.Updated = time.Date(2037, 12, 31, 23, 59, 59, int(micros)*1000, time.UTC)
			account, _ := newAccount(t, "company", newAPI(t, d), 11)
			got, _ := value(scrape(t, time.Second, account), "bunq_device_server_updated_timestamp_seconds", "company", "11")
			if back := int64(math.Round(got * 1e6)); back != d.Updated.UnixMicro() {
				t.Errorf("%v became %v, %d µs apart", d.Updated, got, back-d.Updated.UnixMicro())
			}
		}
	})
}

func TestTextFromBunqDoesNotBreakTheScrape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t)
		hostile := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				api.Answer(w, r, http.StatusOK, []byte(`{"Response":[{"DeviceServer":{"id":11,"created":null,"updated":null,
					"description":"caf`+"\xe9"+` \ud800 \u0000 \n\"","ip":"","status":"ODD`+"\xff"+`"}}]}`))
				return
			}
			api.ServeHTTP(w, r)
		})
		account, _ := newAccount(t, "company", hostile, 11)
		families := scrape(t, time.Second, account)
		expect(t, families, 1, "bunq_device_server_info", "company", "caf\uFFFD \uFFFD \x00 \n\"", "11", "")
		expect(t, families, 1, "bunq_device_server_status", "company", "11", "ODD\uFFFD")
		if _, ok := value(families, "bunq_device_server_created_timestamp_seconds", "company", "11"); ok {
			t.Error("a time that bunq did not tell is shown")
		}
	})
}

func TestADeviceServerThatComesTwiceIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t)
		item := `{"DeviceServer":{"id":%d,"created":null,"updated":null,"description":"","ip":"","status":"ACTIVE"}}`
		twice := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				api.ServeHTTP(w, r)
				return
			}
			api.Answer(w, r, http.StatusOK, fmt.Appendf(nil, `{"Response":[`+item+`,`+item+`,`+item+`]}`, 21, 11, 21))
		})
		account, _ := newAccount(t, "company", twice, 11)
		families := scrape(t, time.Second, account)
		expect(t, families, 2, "bunq_device_servers", "company", "ACTIVE")
		expect(t, families, 1, "bunq_unexpected_device_server_info", "company", "", "21", "", "ACTIVE")
	})
}

func TestTheListIsReadNoFurtherThanNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var devices []bunq.DeviceServer
		for id := range int64(450) {
			devices = append(devices, device(id+1, bunq.StatusActive))
		}
		api := newAPI(t, devices...)
		account, _ := newAccount(t, "company", api, 450, 300)
		families := scrape(t, time.Second, account)
		expect(t, families, 1, "bunq_device_server_up", "company", "300")
		if _, ok := value(families, "bunq_device_servers", "company", "ACTIVE"); ok {
			t.Error("device servers are counted although the list was not read to its end")
		}
		if n := api.Requests(bunq.ListDeviceServers) + api.Requests(bunq.ReadDeviceServer); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

func TestChangesAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &hanging{Handler: newAPI(t, device(11, bunq.StatusActive))}
		account, logged := newAccount(t, "company", api, 11)
		steps := []struct {
			change func()
			want   string // of the log that one of two scrapes writes
		}{
			{func() {}, `level=info account=company msg="there is a session" login_state=ok
level=info account=company msg="Status of a device server" id=11 status=ACTIVE`},
			{func() {}, ""},
			{func() { api.Handler.(*bunqtest.Server).SetStatus(11, bunq.StatusBlocked) }, `level=warn account=company before=ACTIVE msg="Status of a device server" id=11 status=BLOCKED`},
			{func() { api.hangs.Store(true) }, `level=error account=company msg="Cannot read the device servers" err="GET device-server: timeout`},
			{func() { api.hangs.Store(false) }, `level=info account=company msg="Device servers are read again"`},
		}
		for _, step := range steps {
			step.change()
			logged.Reset()
			for range 2 {
				scrape(t, time.Second, account)
				time.Sleep(3 * time.Second)
			}
			if got := logged.String(); !strings.HasPrefix(got, step.want) || strings.Count(got, "\n") != strings.Count(step.want, "\n")+min(len(step.want), 1) {
				t.Errorf("logged %q, want %q and nothing more", got, step.want)
			}
		}
	})
}

// quick answers readings with one answer, signed once: that costs more than all the rest.
func quick(w *world) http.HandlerFunc {
	answer := httptest.NewRecorder()
	w.Answer(answer, httptest.NewRequest(http.MethodGet, "/", nil), http.StatusOK,
		[]byte(`{"Response":[{"DeviceServer":{"id":11,"created":null,"updated":null,"description":"","ip":"","status":"ACTIVE"}}]}`))
	return func(w http.ResponseWriter, _ *http.Request) {
		maps.Copy(w.Header(), answer.Header())
		_, _ = w.Write(answer.Body.Bytes())
	}
}

func TestAccountsThatAreTooManyForBunqsLimitAreLoggedOnceAnHourAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bunqtest.Options{})
		config := newConfig(t.TempDir(), w)
		first, _ := newAccountOf(t, config, "company")
		scrape(t, time.Minute, first)
		withoutKey(t, config.ContextFile) // so that it reads, and nothing else
		text, err := os.ReadFile(config.ContextFile)
		if err != nil {
			t.Fatal(err)
		}
		config.APIKey, config.Limiter, config.Transport = nil, bunq.NewLimiter(), bunqtest.Transport(quick(w))
		var accounts []*collector.Account
		var logs []*bytes.Buffer
		for i := range 13 { // twelve have their turn
			config.ContextFile = filepath.Join(t.TempDir(), "bunq.conf")
			if err := os.WriteFile(config.ContextFile, text, 0o600); err != nil {
				t.Fatal(err)
			}
			account, logged := newAccountOf(t, config, fmt.Sprint(i), 11)
			accounts, logs = append(accounts, account), append(logs, logged)
		}
		before := map[string]float64{}
		for _, lasts := range []time.Duration{2 * time.Hour, 15 * time.Minute} {
			var families []*dto.MetricFamily
			for range lasts / interval {
				next := time.Now().Add(interval)
				families = scrape(t, defaultTimeout, accounts...)
				time.Sleep(time.Until(next))
			}
			concerned := 0
			for i, account := range accounts {
				name, warnings := account.Name(), 0
				for line := range strings.Lines(logs[i].String()) {
					const warning = "level=warn account=%s msg=\"Not all device servers can be read in time\" err=\"GET device-server: rate_limited: "
					if strings.HasPrefix(line, fmt.Sprintf(warning, name)) {
						warnings++
					} else if !strings.HasPrefix(line, "level=info ") || strings.Contains(line, "are read again") {
						t.Error("logged ", line)
					}
				}
				turnedAway, _ := value(families, "bunq_api_request_errors_total", name, "device-server", "GET", "rate_limited")
				fewest, most := 0, 0
				if turnedAway > before[name] {
					fewest, most = 1, max(1, int(lasts/time.Hour)) // some are turned away less often than once an hour
					concerned++
				}
				if warnings < fewest || warnings > most {
					t.Errorf("in %v, account %s is turned away %v times, and logs %s", lasts, name, turnedAway-before[name], logs[i])
				}
				before[name] = turnedAway
				logs[i].Reset()
			}
			if concerned < 2 {
				t.Errorf("%d accounts are turned away", concerned)
			}
			time.Sleep(2 * time.Hour)
		}
	})
}

func TestContextThatCannotBeKeptIsLoggedAndReadingGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "state")
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		account, logged := newAccountIn(t, folder, "company", newAPI(t, device(11, bunq.StatusActive)), 11)
		scrape(t, time.Second, account)
		time.Sleep(2 * time.Hour) // the session has ended
		if err := os.Rename(folder, folder+".away"); err != nil {
			t.Fatal(err)
		}
		logged.Reset()
		for range 2 {
			expect(t, scrape(t, time.Second, account), 1, "bunq_up", "company")
		}
		if err := os.Rename(folder+".away", folder); err != nil {
			t.Fatal(err)
		}
		expect(t, scrape(t, time.Second, account), 1, "bunq_up", "company")
		lines := strings.Split(logged.String(), "\n")
		if len(lines) != 3 || !strings.Contains(lines[0], `err="keeping the API context: `) || !strings.Contains(lines[1], "The API context is kept again") {
			t.Errorf("logged %q, want that it cannot be kept, and that it is again", lines)
		}
	})
}

func TestAccountsAreReadAtOnceAndDoNotDisturbEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, _ := newAccount(t, "good", newAPI(t, device(11, bunq.StatusActive)), 11)
		silent := &hanging{}
		silent.hangs.Store(true)
		bad, _ := newAccount(t, "bad", silent, 11)
		begun := time.Now()
		families := scrape(t, 4*time.Second, good, bad)
		if took := time.Since(begun); took != 4*time.Second {
			t.Errorf("took %v, want the timeout", took)
		}
		expect(t, families, 1, "bunq_up", "good")
		expect(t, families, 0, "bunq_up", "bad")
		expect(t, families, 0, "bunq_scrape_duration_seconds", "good")
		expect(t, families, 4, "bunq_scrape_duration_seconds", "bad")
	})
}

func TestExemplarsCarryTheIDsThatSupportAsksFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account, _ := newAccount(t, "company", newAPI(t, device(11, bunq.StatusActive)), 11)
		var text bytes.Buffer
		for _, family := range scrape(t, time.Second, account) {
			if _, err := expfmt.MetricFamilyToOpenMetrics(&text, family); err != nil {
				t.Fatal(err)
			}
			for _, metric := range family.GetMetric() {
				if h := metric.GetHistogram(); h != nil && h.GetSchema() == 0 && h.GetZeroThreshold() == 0 {
					t.Errorf("%s is not a native histogram as well", family.GetName())
				}
			}
		}
		for _, label := range []string{"request_id", "response_id"} {
			if n := strings.Count(text.String(), label+`="`); n != 4 {
				t.Errorf("%d exemplars with a %s, want one for each of 4 calls", n, label)
			}
		}
	})
}

func TestRenewalsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account, _ := newAccount(t, "company", newAPI(t, device(11, bunq.StatusActive)), 11)
		expect(t, scrape(t, time.Second, account), 0, "bunq_session_renewals_total", "company")
		time.Sleep(2 * time.Hour) // the session lasts one
		families := scrape(t, time.Second, account)
		expect(t, families, 1, "bunq_session_renewals_total", "company")
		expect(t, families, float64(time.Now().Add(time.Hour).Unix()), "bunq_session_expiry_timestamp_seconds", "company")
	})
}

func TestARefusedKeyIsNotShownToBunqOnEveryScrape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, err := bunqtest.New(bunqtest.Options{}) // without a user, every key is a wrong one
		if err != nil {
			t.Fatal(err)
		}
		account, _ := newAccount(t, "company", api, 11)
		for range 12 { // one minute
			expect(t, scrape(t, time.Second, account), 0, "bunq_up", "company")
			time.Sleep(5 * time.Second)
		}
		if n := api.Requests(bunq.CreateDeviceServer); n != 2 {
			t.Errorf("the key was shown %d times in a minute, want 2", n)
		}
	})
}

func TestLastReadingAsksBunqNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, device(11, bunq.StatusActive))
		account, _ := newAccount(t, "company", api, 11)
		if reading := account.State().Reading; !reading.Time.IsZero() {
			t.Error("there is a reading before the first scrape")
		}
		scrape(t, time.Second, account)
		reading, login := account.State().Reading, account.State().Login
		if reading.DeviceServers[11].Status != bunq.StatusActive || login.DeviceServerID == 0 || account.Name() != "company" || len(reading.Watched) != 1 {
			t.Errorf("last reading %+v, login %+v", reading, login)
		}
		if n := api.Requests(bunq.ListDeviceServers); n != 1 {
			t.Errorf("%d requests, want the scrape's one", n)
		}
	})
}

func TestAnUnusableAddressIsRefused(t *testing.T) {
	_, err := collector.NewAccount("company", []int64{1}, bunq.Config{BaseURL: "::"}, nil)
	if err == nil || !strings.Contains(err.Error(), "account company") {
		t.Errorf("got %v, want an error that names the account", err)
	}
}
