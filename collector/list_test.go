package collector_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/collector"
)

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
		login := account.State().Login
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
