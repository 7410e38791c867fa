package test

import (
	"net/http"
	"syscall"
	"testing"

	"bunq_exporter/bunq"
)

func TestRestartsKeepDeviceServerAndSession(t *testing.T) {
	t.Parallel()
	a, folder := newAPI(t), t.TempDir()
	file := writeConfig(t, folder, a.url, 4711)
	first := start(t, "--config.file="+file)
	a.awaitSession(t) // without a scrape
	first.stop()
	for range 5 {
		e := start(t, "--config.file="+file)
		expectLines(t, e.scrape(), `bunq_up{account="company"} 1`, `bunq_session_renewals_total{account="company"} 0`)
		e.stop()
	}
	logins := a.Requests(bunq.CreateSessionServer)
	if post, get := a.count(http.MethodPost), a.count(http.MethodGet); post != 3 || get != 5 || logins != 1 {
		t.Errorf("%d POSTs, %d GETs and %d logins, want 3, 5 and 1", post, get, logins)
	}
}

// At shutdown, scrapes in flight have a second to end. One whose call hangs then answers with what is known.
func TestShutdownDuringScrape(t *testing.T) {
	t.Parallel()
	for up, answers := range map[string]bool{"1": true, "0": false} {
		a := newAPI(t)
		reading, release := a.hold(func(r *http.Request) bool { return r.Method == http.MethodGet })
		e, _ := watch(t, a, 4711)
		scraped := make(chan string)
		go func() {
			_, text, _ := call(t.Context(), http.MethodGet, e.url+"/metrics", timeoutHeader, "60")
			scraped <- text
		}()
		<-reading
		e.signal(syscall.SIGTERM)
		e.find(`(Shutting down)`)
		if answers {
			release()
		}
		expectLines(t, <-scraped, `bunq_up{account="company"} `+up)
		if code := e.wait(); code != 0 {
			t.Errorf("exit status %d, want 0", code)
		}
		release()
	}
}

func TestKeyFileReplaced(t *testing.T) {
	t.Parallel()
	a, folder := newAPI(t), t.TempDir()
	file := writeConfig(t, folder, a.url, 4711)
	writeFile(t, folder, "api_key", "")
	e := start(t, "--config.file="+file)
	expectLines(t, e.scrape(), `bunq_up{account="company"} 0`, `bunq_login_state{account="company",state="unknown"} 1`)
	writeFile(t, folder, "api_key", apiKey)
	e.awaitUp("company")
	if n := a.Requests(bunq.CreateDeviceServer); n != 1 {
		t.Errorf("%d registrations, want 1", n)
	}
}
