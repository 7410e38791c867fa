package test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
)

const (
	faultScrapes = 13 // one a minute: until the session ends and pauses are longest, and five more
	alertScrapes = 50 // during which each alert fires
	// scrapeInterval is a minute, but no scrape happens at the time of a login, which is tried each 30 s.
	scrapeInterval = time.Minute + 137*time.Millisecond
	mostScrapes    = 8 // until all is well again: the pause after rejected logins is 5 minutes
)

// row is a fault of a call, and what comes of it.
type row struct {
	*fault
	call  string
	fresh bool // the exporter starts with the fault for the first time

	read    int  // scrapes during the fault that show the device server
	up      bool // bunq_up, at the end of the fault
	login   string
	reasons set
	logged  []string // during the fault
	alerts  set
	again   int // scrapes after the fault until the device server is shown
	well    int // scrapes after the fault until all is well
	lost    set
	series  series
}

// matrix returns the rows, without what comes of them.
func matrix(t *testing.T) (rows []*row) {
	t.Helper()
	for _, f := range slices.Concat(faults(t), fileFaults) {
		for _, call := range f.calls {
			first := call == bunq.CreateInstallation || call == bunq.CreateDeviceServer
			one := f
			one.calls = []bunq.Operation{call}
			rows = append(rows, &row{fault: &one, call: call.String(), fresh: first})
		}
		if f.calls == nil {
			rows = append(rows, &row{fault: &f, call: "Network and files"})
		}
		if f.calls == nil && !f.running {
			rows = append(rows, &row{fault: &f, call: "Network and files at the first start", fresh: true})
		}
	}
	return rows
}

// run runs the exporter before, during and after the fault.
func (r *row) run(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r.lost, r.series.values = set{}, map[string][]string{}
		e := r.newExporter(t)
		repair := func() {}
		fail := func() {
			if r.files != nil {
				repair = r.files(t, e.folder)
			}
			e.active.Store(r.fault)
		}
		if r.fresh {
			fail()
		}
		go e.account.Run(t.Context())
		if !r.fresh {
			for range 3 {
				time.Sleep(scrapeInterval)
				e.scrape()
				r.series.add(e.exposition)
			}
			if !e.isWell() {
				t.Errorf("not well before the fault:\n%s\n%s", e.exposition, e.log.take())
			}
			synctest.Wait() // for what is being logged
			_ = e.log.take()
			fail()
		}
		for range faultScrapes {
			time.Sleep(scrapeInterval)
			if e.scrape() {
				r.read++
			}
			r.series.add(e.exposition)
		}
		r.note(e)
		e.active.Store(nil)
		repair()
		for n := 1; n <= mostScrapes && r.well == 0; n++ {
			time.Sleep(scrapeInterval)
			if e.scrape() && r.again == 0 {
				r.again = n
			}
			if e.isWell() {
				r.well = n
			}
		}
		if r.well == 0 {
			r.lost["the exporter does not recover:\n"+e.exposition+e.log.take()] = true
		}
		if n := e.registered(); n != 1 {
			r.lost[fmt.Sprintf("%d device servers are registered", n)] = true
		}
	})
}

// note notes what is seen at the end of the fault.
func (r *row) note(e *exporter) {
	synctest.Wait()
	r.series.repeat(alertScrapes - faultScrapes)
	r.up = hasLine(e.exposition, `bunq_up{account="company"} 1`)
	for state := range names(e.exposition, regexp.MustCompile(`bunq_login_state{.*state="(\w+)"} 1\n`)) {
		r.login = state
	}
	r.reasons = names(e.exposition, regexp.MustCompile(`request_errors_total{.*reason="(\w+)"} [1-9]`))
	text := e.log.take()
	r.logged = slices.Collect(strings.Lines(text))
	if secret.MatchString(e.exposition + text) {
		r.lost["a secret is shown or logged"] = true
	}
}

var updateReliability = flag.Bool("update", false, "rewrite docs/reliability.md")

// docs/reliability.md says what comes of each fault.
func TestReliability(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		skip(t, "file systems cannot be mounted: run as root")
	}
	ruleMetrics = names(readFile(t, "../alerts/bunq.rules.yml"), metricName)
	rows := matrix(t)
	t.Run("rows", func(t *testing.T) {
		for _, r := range rows {
			t.Run(r.name+" "+r.call, func(t *testing.T) {
				t.Parallel()
				r.run(t)
			})
		}
	})
	for _, r := range rows {
		for what := range r.lost {
			t.Errorf("%s, %s: %s", r.name, r.call, what)
		}
	}
	evaluateAlerts(t, rows)
	const path, heading = "../docs/reliability.md", "## Results\n\n"
	text, before, _ := strings.Cut(readFile(t, path), heading)
	after := results(rows)
	if *updateReliability {
		writeFile(t, "../docs", "reliability.md", text+heading+after)
	} else if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(after, "\n")); diff != "" {
		t.Errorf("%s, -document +now (go test ./test -run Reliability -update rewrites it):\n%s", path, diff)
	}
}
