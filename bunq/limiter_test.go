package bunq_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// emptyPage is the bank's answer to a reading, signed once: that costs more than all the rest.
var emptyPage = sync.OnceValue(func() *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	signed(http.StatusOK, `{"Response":[]}`)(answer, httptest.NewRequest(http.MethodGet, "/", nil))
	return answer
})

func nothingThere(w http.ResponseWriter, _ *http.Request) {
	maps.Copy(w.Header(), emptyPage().Header())
	_, _ = w.Write(emptyPage().Body.Bytes())
}

// accounts returns clients that share a limiter, each with a copy of the context file.
func accounts(t *testing.T, n int, config bunq.Config) (clients []*bunq.Client) {
	t.Helper()
	text, err := os.ReadFile(config.ContextFile)
	if err != nil {
		t.Fatal(err)
	}
	if config.Limiter == nil {
		config.Limiter = bunq.NewLimiter()
	}
	for range n {
		config.ContextFile = filepath.Join(t.TempDir(), "bunq.conf")
		if err := os.WriteFile(config.ContextFile, text, 0o600); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, newClient(t, config))
	}
	return clients
}

// readers are accounts without a key, of which each reading is one call.
func readers(t *testing.T, n int, api http.Handler) []*bunq.Client {
	t.Helper()
	return accounts(t, n, readerConfig(t, api))
}

// read makes one reading.
func read(ctx context.Context, client *bunq.Client) error {
	_, err := client.DeviceServers(ctx, 0)
	return err
}

// twoAccounts are readers whose calls are told of. A limiter of nil is one that they share.
func twoAccounts(t *testing.T, limiter *bunq.Limiter) (clients []*bunq.Client, api *counting, told *recorder) {
	t.Helper()
	api, told = count(http.HandlerFunc(nothingThere)), &recorder{}
	config := readerConfig(t, api)
	config.Observe, config.Limiter = told.observe, limiter
	return accounts(t, 2, config), api, told
}

// scrapeAtOnce has each account make one reading in the time of a scrape, and fails the test for errors.
func scrapeAtOnce(t *testing.T, clients []*bunq.Client) {
	t.Helper()
	var scrapes sync.WaitGroup
	for _, client := range clients {
		scrapes.Go(func() {
			ctx, cancel := contextFor(t, scrapeTime)
			defer cancel()
			if err := read(ctx, client); err != nil {
				t.Error(err)
			}
		})
	}
	scrapes.Wait()
}

// readAll makes readings at the same time, in the order given as far as they have to wait, and fails the test for
// errors.
func readAll(t *testing.T, readings *sync.WaitGroup, clients ...*bunq.Client) {
	t.Helper()
	for _, client := range clients {
		readings.Go(func() {
			if err := read(t.Context(), client); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
	}
}

// since returns how many seconds after the start it was each time.
func since(start time.Time, times []time.Time) (seconds []float64) {
	for _, at := range times {
		seconds = append(seconds, at.Sub(start).Seconds())
	}
	return seconds
}

// expectSent fails the test unless that is when the readings came, in seconds after the start.
func expectSent(t *testing.T, api *counting, start time.Time, want ...float64) {
	t.Helper()
	_, times := api.seen("GET")
	if diff := cmp.Diff(want, since(start, times), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("readings came after so many seconds, -want +got:\n%s", diff)
	}
}

func TestReadingsGoOutThreeAtOnceAndThreeEachThreeSeconds(t *testing.T) {
	t.Parallel()
	for name, together := range map[string]int{"at the same time": 11, "one after another": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newProgram(t, bunqtest.Options{})
				keyless(t, p)
				api := count(p.api)
				p.config.Transport = bunqtest.Transport(api)
				client, start := newClient(t, p.config), time.Now()
				var readings sync.WaitGroup
				for range together {
					readings.Go(func() {
						for range 11 / together {
							if err := read(t.Context(), client); err != nil {
								t.Error(err)
							}
						}
					})
				}
				readings.Wait()
				expectSent(t, api, start, 0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 9)
			})
		})
	}
}

// far is an API at the end of a network that takes its time both ways. What nobody waits for any more goes no further.
func far(seed uint64, api http.Handler) http.HandlerFunc {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0))
	goes := func(r *http.Request) bool {
		mu.Lock()
		most := []time.Duration{time.Microsecond, 50 * time.Millisecond, 4 * time.Second}[random.IntN(3)]
		takes := time.Duration(random.Int64N(int64(most)))
		mu.Unlock()
		select {
		case <-time.After(takes):
			return true
		case <-r.Context().Done():
			return false
		}
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if goes(r) {
			api.ServeHTTP(w, r)
			goes(r)
		}
	}
}

func TestBunqSeesThreeReadingsInThreeSecondsHoweverLongTheyTravel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newProgram(t, bunqtest.Options{})
				keyless(t, p)
				arrived, told := count(p.api), &recorder{}
				p.config.Transport, p.config.Observe = bunqtest.Transport(far(seed, arrived)), told.observe
				random := rand.New(rand.NewPCG(seed, 1))
				var readings sync.WaitGroup
				for _, client := range accounts(t, 5, p.config) {
					for range 24 {
						begins, lasts := time.Duration(random.Int64N(int64(time.Minute))), time.Hour
						if random.IntN(3) == 0 { // and may be given up anywhere
							lasts = time.Duration(random.Int64N(int64(12 * time.Second)))
						}
						readings.Go(func() {
							time.Sleep(begins)
							ctx, cancel := contextFor(t, lasts)
							defer cancel()
							if err := read(ctx, client); err != nil && lasts == time.Hour {
								t.Error(err)
							}
						})
					}
				}
				readings.Wait()
				if slices.ContainsFunc(told.calls, func(c bunq.Call) bool { return c.StatusCode == http.StatusTooManyRequests }) {
					t.Error("bunq answers 429")
				}
				_, times := arrived.seen("GET")
				for i := 3; i < len(times); i++ {
					if within := times[i].Sub(times[i-3]); within < 3*time.Second {
						t.Errorf("four readings came within %s", within)
					}
				}
			})
		})
	}
}

func TestAccountsOfOneAddressLogInOneAfterAnotherAndReadMeanwhile(t *testing.T) {
	t.Parallel()
	const n = 5
	for name, takes := range map[string]time.Duration{"at once": 0, "slow": 300 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := newAPI(t, bunqtest.Options{})
				arrived, told, limiter := count(api), &recorder{}, bunq.NewLimiter()
				var clients []*bunq.Client
				for range n {
					config := newConfig(t, slowly(takes, arrived))
					config.Limiter, config.Observe = limiter, told.observe
					clients = append(clients, newClient(t, config))
				}
				states := map[bunq.LoginState]int{}
				for range 3*n + 1 {
					next := time.Now().Add(10 * time.Second)
					scrapeAtOnce(t, clients)
					clear(states)
					for _, client := range clients {
						states[client.Login().State]++
					}
					if waiting := states[bunq.LoginRateLimited]; waiting+states[bunq.LoginOK] != n {
						t.Errorf("the logins are %v", states)
					}
					time.Sleep(time.Until(next))
				}
				if states[bunq.LoginOK] != n || api.Sessions() != n {
					t.Errorf("after %d half minutes, the logins are %v, and there are %d sessions", n, states, api.Sessions())
				}
				for _, call := range told.calls {
					if call.StatusCode == http.StatusTooManyRequests {
						t.Errorf("bunq answers %v", call.Err)
					}
				}
				_, logins := arrived.seen("POST /v1/session-server")
				if apart(t, logins); len(logins) != n {
					t.Errorf("%d logins, want %d", len(logins), n)
				}
				for _, pause := range pauses(logins) {
					if takes == 0 && pause != 30 || pause > 31 {
						t.Errorf("the next login came after %v s, want as soon as bunq allows it", pause)
					}
				}
				if got := len(api.DeviceServers()); got != n {
					t.Errorf("%d device servers, want %d", got, n)
				}
			})
		})
	}
}

func TestRegistrationsGoOutFiveEachThreeSeconds(t *testing.T) {
	t.Parallel()
	bank() // outside of the bubble
	synctest.Test(t, func(t *testing.T) {
		api := count(answering(http.NotFoundHandler(), bunq.CreateDeviceServer, failing(http.StatusTeapot, nil, "")))
		start := time.Now()
		var readings sync.WaitGroup
		for _, client := range accounts(t, 7, restartConfig(t, api, contextWith(t, notRegistered))) {
			readings.Go(func() { _ = loginError(t, client) })
		}
		readings.Wait()
		_, times := api.seen("POST /v1/device-server")
		if diff := cmp.Diff([]float64{0, 0, 0, 0, 0, 3, 3}, since(start, times)); diff != "" {
			t.Errorf("registrations came after so many seconds, -want +got:\n%s", diff)
		}
	})
}

func TestReadingsThatNeverLeftDoNotCountAndOthersDo(t *testing.T) {
	t.Parallel()
	emptyPage()
	for name, test := range map[string]struct {
		err  error // after a second
		next float64
	}{
		"no connection":          {&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}, 1},
		"no way past the proxy":  {fmt.Errorf("proxy: %w", &net.OpError{Op: "proxyconnect", Net: "tcp", Err: io.EOF}), 1},
		"broken while it waited": {&net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}, 4},
		"broken off":             {io.EOF, 4},
		"no answer in time":      {context.DeadlineExceeded, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := count(http.HandlerFunc(nothingThere))
				config, broken := readerConfig(t, api), make(chan struct{}, 3)
				whole := config.Transport
				config.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
					select {
					case broken <- struct{}{}:
						<-r.Context().Done()
						return nil, test.err
					default:
						return whole.RoundTrip(r)
					}
				})
				client, start := newClient(t, config), time.Now()
				var readings sync.WaitGroup
				for range 3 {
					readings.Go(func() {
						ctx, cancel := contextFor(t, time.Second)
						defer cancel()
						if err := read(ctx, client); err == nil {
							t.Error("it is read")
						}
					})
				}
				synctest.Wait()
				readAll(t, &readings, client, client, client) // wait meanwhile
				readings.Wait()
				expectSent(t, api, start, test.next, test.next, test.next)
			})
		})
	}
}

func TestEachHostHasLimitsOfItsOwn(t *testing.T) {
	t.Parallel()
	emptyPage()
	for name, test := range map[string]struct {
		first, second bunq.Config
		want          float64
	}{
		"sandbox and production":    {bunq.Config{Environment: bunq.Sandbox}, bunq.Config{Environment: bunq.Production}, 0},
		"two hosts":                 {bunq.Config{BaseURL: "https://a.example/v1"}, bunq.Config{BaseURL: "https://b.example/v1"}, 0},
		"two ports":                 {bunq.Config{BaseURL: "http://127.0.0.1:1/v1"}, bunq.Config{BaseURL: "http://127.0.0.1:2/v1"}, 0},
		"the same":                  {bunq.Config{Environment: bunq.Production}, bunq.Config{Environment: bunq.Production}, 3},
		"the same in other letters": {bunq.Config{BaseURL: "https://API.bunq.com/v1"}, bunq.Config{BaseURL: "https://api.BUNQ.com/v1"}, 3},
		"the environment's own":     {bunq.Config{Environment: bunq.Production}, bunq.Config{BaseURL: "https://Api.Bunq.Com/v1/"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				limiter, start := bunq.NewLimiter(), time.Now()
				var readings sync.WaitGroup
				defer readings.Wait()
				for i, side := range []bunq.Config{test.first, test.second} {
					api := count(http.HandlerFunc(nothingThere))
					config := readerConfig(t, api)
					editContext(t, config, changes{"environment_type": nil})
					config.Environment, config.BaseURL, config.Limiter = side.Environment, side.BaseURL, limiter
					client := newClient(t, config)
					readAll(t, &readings, client, client, client)
					readings.Wait()
					at := float64(i) * test.want
					expectSent(t, api, start, at, at, at)
				}
			})
		})
	}
}

func TestNoTimerRunsWhileNoReadingWaits(t *testing.T) {
	t.Parallel()
	emptyPage()
	for name, last := range map[string]func(*testing.T, *bunq.Client){
		"none ever did": func(*testing.T, *bunq.Client) {},
		"the last was served": func(t *testing.T, client *bunq.Client) {
			if err := read(t.Context(), client); err != nil {
				t.Error(err)
			}
		},
		"the last was turned away": func(t *testing.T, client *bunq.Client) {
			ctx, cancel := contextFor(t, time.Second)
			defer cancel()
			expectTurnedAway(t, read(ctx, client))
		},
		"the last was cancelled": func(t *testing.T, client *bunq.Client) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			expectTurnedAway(t, read(ctx, client))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				config := readerConfig(t, http.HandlerFunc(nothingThere))
				config.Limiter = bunq.NewLimiter()
				client := newClient(t, config)
				var readings sync.WaitGroup
				defer readings.Wait()
				readAll(t, &readings, client, client, client)
				last(t, client)
				if turns, timers := config.Limiter.Waiting(); turns != 0 || timers != 0 {
					t.Errorf("%d turns and %d timers wait, want none", turns, timers)
				}
			})
		})
	}
}

func TestRegistrationWhoseTurnDoesNotComeLeavesNoTrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, bunqtest.Options{})
		config := newConfig(t, answering(api, bunq.CreateDeviceServer, failing(http.StatusTooManyRequests, map[string]string{"Retry-After": "60"}, "")))
		config.Limiter = bunq.NewLimiter()
		start := time.Now()
		_, err := list(t.Context(), newClient(t, config)) // fills the window for a minute
		expectReason(t, err, bunq.ReasonRateLimited)

		arrived := count(api)
		config.ContextFile, config.Transport = filepath.Join(t.TempDir(), "bunq.conf"), bunqtest.Transport(arrived)
		client := newClient(t, config)
		time.Sleep(time.Until(start.Add(29 * time.Second)))
		_, err = list(t.Context(), client)
		if e := apiError(t, err); e.Operation != bunq.CreateDeviceServer || e.Reason != bunq.ReasonRateLimited || e.StatusCode != 0 {
			t.Errorf("the error is %v", err)
		}
		if took := time.Since(start); took != 29*time.Second {
			t.Errorf("it took %s, want no time", took-29*time.Second)
		}
		if login := client.Login(); login.State != bunq.LoginRateLimited {
			t.Errorf("the login is %+v", login)
		}
		if requested := readContextFile(t, config)["device_server_requested"]; requested != nil {
			t.Errorf("the file says that %q was requested", requested)
		}
		time.Sleep(2 * time.Second)
		mustRead(t, client)
		_, posts := arrived.seen("POST")
		if diff := cmp.Diff([]float64{29, 60, 60}, since(start, posts)); diff != "" {
			t.Errorf("installation, registration and login came after so many seconds, -want +got:\n%s", diff)
		}
		if got := len(api.DeviceServers()); got != 1 || client.Login().State != bunq.LoginOK {
			t.Errorf("%d device servers, and the login is %+v", got, client.Login())
		}
	})
}

func TestLoginThatWaitedForItsTurnLongIsSentAllTheSame(t *testing.T) {
	t.Parallel()
	emptyPage()
	synctest.Test(t, func(t *testing.T) {
		api := count(slowly(time.Second, bank().api))
		var readings sync.WaitGroup
		clients, start := accounts(t, 2, restartConfig(t, api, contextWith(t, notLoggedIn))), time.Now()
		readAll(t, &readings, clients...)
		readings.Wait()
		for i, client := range clients {
			if login := client.Login(); login.State != bunq.LoginOK {
				t.Errorf("account %d: the login is %+v", i, login)
			}
		}
		_, logins := api.seen("POST")
		if diff := cmp.Diff([]float64{0, 31}, since(start, logins)); diff != "" {
			t.Errorf("logins came after so many seconds, -want +got:\n%s", diff)
		}
	})
}
