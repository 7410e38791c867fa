package test

import (
	"context"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bunq_exporter/bunq"
)

// listed is the line of a number of lists that were read.
func listed(n string) string {
	return `bunq_api_requests_total{account="company",code="200",endpoint="device-server",method="GET"} ` + n
}

func TestReload(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	e, folder := watch(t, a, 4711)
	reload := func(want int) {
		t.Helper()
		if status, text, err := call(t.Context(), http.MethodPost, e.url+"/-/reload"); status != want {
			t.Errorf("reload: status %d, %v, want %d: %s", status, err, want, text)
		}
	}
	e.scrape()
	var connection atomic.Value
	a.setIntercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if !connection.CompareAndSwap(nil, r.RemoteAddr) && connection.Load() != r.RemoteAddr {
			t.Error("a reload closes the connections of an account that stays")
		}
		return false
	})
	writeConfig(t, folder, a.url, 0)
	reload(http.StatusInternalServerError)
	e.find(`(config.yml:7: )`)
	expectLines(t, e.scrape(), "bunq_exporter_config_last_reload_successful 0",
		`bunq_device_server_up{account="company",id="4711"} 1`, listed("2"))

	writeConfig(t, folder, a.url, 4711, 4712)
	e.signal(syscall.SIGHUP)
	e.find(`(?s)Loaded configuration(.*Loaded configuration)`)
	expectLines(t, e.scrape(), "bunq_exporter_config_last_reload_successful 1",
		`bunq_device_server_up{account="company",id="4712"} 0`, listed("3"))
	reload(http.StatusOK)
	expectLines(t, e.scrape(), listed("4"))
	if n := a.count(http.MethodPost); n != 3 {
		t.Errorf("%d POSTs, want 3: the session stays", n)
	}
}

func TestSIGHUPDuringStart(t *testing.T) {
	t.Parallel()
	e := launch(t, "--demo", "--web.listen-address=127.0.0.1:0")
	e.find("(.)")
	for !regexp.MustCompile(listening).MatchString(e.text()) && !e.hasEnded() {
		e.signal(syscall.SIGHUP)
		time.Sleep(time.Millisecond)
	}
	e.findURL()
	expectLines(t, e.scrape(), `bunq_up{account="demo"} 1`)
}

func TestReloadDuringRegistration(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	registering, release := a.hold(isRegistration)
	e, folder := watch(t, a, 4711)
	<-registering
	text := readFile(t, folder+"/config.yml")
	writeFile(t, folder, "config.yml", strings.Replace(text, "name: company", "name: renamed", 1))
	time.AfterFunc(time.Second/2, release) // long after a reload that does not wait
	if status, _, err := call(t.Context(), http.MethodPost, e.url+"/-/reload"); status != http.StatusOK {
		t.Errorf("reload: status %d, %v", status, err)
	}
	e.awaitUp("renamed")
	if n := a.Requests(bunq.CreateDeviceServer); n != 1 {
		t.Errorf("%d registrations, want 1", n)
	}
}

// scrapeAndStop wants a scrape to end, and then the program.
func (p *process) scrapeAndStop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if status, _, err := call(ctx, http.MethodGet, p.url+"/metrics", timeoutHeader, "3"); status != http.StatusOK {
		t.Errorf("scrape: status %d, %v", status, err)
	}
	if code := p.stop(); code != 0 {
		t.Errorf("exit status %d, want 0", code)
	}
}

func TestFilesReplacedByFIFO(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"config.yml", "api_key", "company.conf", "company.conf.lock"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			e, folder := watch(t, a, 4711)
			expectLines(t, e.scrape(), `bunq_up{account="company"} 1`)
			replace(name, pipe)(t, folder) // a plain open of it does not return
			e.signal(syscall.SIGHUP)       // reads all files
			eventually(t, "the signal is handled", func() bool {
				return strings.Count(e.text(), " configuration") == 2
			})
			e.scrapeAndStop(t)

			again := "--config.file=" + filepath.Join(folder, "config.yml")
			if name != "config.yml" {
				start(t, again).scrapeAndStop(t)
			} else if code, text := runToEnd(t, again); code != 1 {
				t.Errorf("exit status %d, want 1: %s", code, text)
			}
		})
	}
}
