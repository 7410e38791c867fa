package web_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/web"
)

// expectOn fails the test for every text that a page lacks.
func expectOn(t *testing.T, page string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}

func TestLandingPageLinksToEverything(t *testing.T) {
	handler := newHandler(t, func(o *web.Options) { o.TelemetryPath = "/bunq/metrics" })
	page := ask(t, handler, http.MethodGet, "/").Body.String()
	expectOn(t, page, `href="/status"`, `href="/bunq/metrics"`, `href="/sd"`, `href="/docs/runbooks.md"`, "1.2.3")
	if strings.Contains(page, "debug/pprof") {
		t.Error("the landing page offers profiles, which are not served")
	}
}

func TestEveryPageForPeopleMayLoadNothing(t *testing.T) {
	handler := newHandler(t, nil)
	for _, path := range []string{"/", "/status", "/docs/runbooks.md"} {
		w := ask(t, handler, http.MethodGet, path)
		policy := w.Header().Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "script-src") {
			t.Errorf("%s: Content-Security-Policy: %s", path, policy)
		}
		if got := w.Header().Get("Content-Type"); got != "text/html; charset=utf-8" {
			t.Errorf("%s: Content-Type %s", path, got)
		}
		expectOn(t, w.Body.String(), `<a class="name" href="/">bunq_exporter</a>`)
	}
}

func TestRunbooksHaveAnAnchorForEachAlert(t *testing.T) {
	page := ask(t, newHandler(t, nil), http.MethodGet, "/docs/runbooks.md").Body.String()
	expectOn(t, page, `<h2 id="bunqdeviceserverblocked">BunqDeviceServerBlocked</h2>`, "<p>Ask <code>bunq</code>.</p>")
}

func TestStatusPageShowsTheLastReadingAndAsksBunqNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account, api := newAccount(t, "company", working)
		handler := newHandler(t, nil, account)
		expectOn(t, ask(t, handler, http.MethodGet, "/status").Body.String(), "Not scraped yet")
		ask(t, handler, http.MethodGet, "/metrics")
		requests := api.Requests(bunq.ListDeviceServers)
		time.Sleep(5 * time.Minute)
		page := ask(t, handler, http.MethodGet, "/status").Body.String()
		expectOn(t, page, "<h2>company</h2>", "5 minutes ago", "55 minutes from now",
			`<a class="status blocked" href="/docs/runbooks.md#bunqdeviceserverblocked">BLOCKED</a>`,
			`href="/docs/runbooks.md#bunqdeviceserverblocked">1 BLOCKED</a>`,
			`href="/docs/runbooks.md#bunqdeviceservernotfound">1 not read</a>`,
			`href="/docs/runbooks.md#bunqunexpecteddeviceserver">1 unexpected</a>`,
			"&lt;script&gt;", "192.0.2.7", "1999-12-29 23:00:00 UTC", "2 days ago", "3 hours ago",
			"bunq shows no device server of this id", "nobody&#39;s", `<a class="status active">ACTIVE</a>`, "1.2.3")
		if strings.Contains(page, `<dt>Read</dt><dd class="error">`) {
			t.Error("a reading of five minutes ago is called old")
		}
		time.Sleep(15 * time.Minute)
		expectOn(t, ask(t, handler, http.MethodGet, "/status").Body.String(), `<dt>Read</dt><dd class="error">2000-01-01 00:00:00 UTC, 20 minutes ago`)
		if strings.Contains(page, markup) {
			t.Error("a description is shown as markup")
		}
		if n := api.Requests(bunq.ListDeviceServers); n != requests {
			t.Errorf("the page cost bunq %d requests", n-requests)
		}
	})
}

func TestStatusPageShowsAStatusThatNobodyKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account, api := newAccount(t, "company", working)
		api.SetStatus(11, "FROZEN <b>")
		handler := newHandler(t, nil, account)
		ask(t, handler, http.MethodGet, "/metrics")
		expectOn(t, ask(t, handler, http.MethodGet, "/status").Body.String(),
			`<a class="status unknown" href="/docs/runbooks.md#bunqdeviceserverstatusunknown">FROZEN &lt;b&gt;</a>`, ">1 FROZEN &lt;b&gt;</a>")
	})
}

func TestStatusPageSaysWhyNothingWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account, _ := newAccount(t, "company", hanging)
		handler := newHandler(t, nil, account)
		ask(t, handler, http.MethodGet, "/metrics")
		expectOn(t, ask(t, handler, http.MethodGet, "/status").Body.String(),
			`<b>unreachable</b>: bunq does not answer the login`, `<small>err: POST installation: timeout`, "There is none.",
			"The reading ended before its turn", "bunq has not answered yet", `href="/docs/runbooks.md#bunqdeviceservernotread">2 not read</a>`)
	})
}

func TestStatusPageShowsTheLastErrorsWithTheirResponseIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := false
		account, _ := newAccount(t, "company", func(api *bunqtest.Server) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if fails {
					api.Answer(w, r, 503, []byte(`{"Error":[{"error_description":"<i>Later."}]}`))
					return
				}
				api.ServeHTTP(w, r)
			})
		})
		handler := newHandler(t, nil, account)
		ask(t, handler, http.MethodGet, "/metrics")
		before := ask(t, handler, http.MethodGet, "/status").Body.String()
		if strings.Contains(before, "<code>maintenance</code>") {
			t.Error("the page shows an error that has not happened")
		}
		fails = true
		time.Sleep(time.Minute)
		ask(t, handler, http.MethodGet, "/metrics")
		time.Sleep(3 * time.Minute)
		page := ask(t, handler, http.MethodGet, "/status").Body.String()
		failures := account.State().Failures
		if len(failures) == 0 || failures[0].Err.ResponseID == "" {
			t.Fatalf("failures: %+v", failures)
		}
		expectOn(t, page, "The last errors", "<code>maintenance</code>", "3 minutes ago", "GET device-server", "HTTP status 503. bunq says: &lt;i&gt;Later.",
			"<code>"+failures[0].Err.ResponseID+"</code>", "bunq last answered 2000-01-01 00:00:00 UTC, 4 minutes ago")
	})
}

func TestStatusPageSaysWhatTheLimiterDoes(t *testing.T) {
	handler := newHandler(t, func(o *web.Options) {
		o.Limits = func() []bunq.Use {
			return []bunq.Use{
				{Host: "api.bunq.com", Limit: "3 readings in 3 s", Counted: 2, Waiting: 14, Closed: time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)},
				{Host: "api.bunq.com", Limit: "1 login in 30 s"},
			}
		}
	})
	expectOn(t, ask(t, handler, http.MethodGet, "/status").Body.String(), `<td data-label="API">api.bunq.com</td>`, ">3 readings in 3 s</td>",
		`<td data-label="In use">2</td>`, `<td data-label="Waiting">14</td>`, "until 2026-11-22 20:00:00 UTC, since bunq has answered 429", ">1 login in 30 s</td>",
		`<td data-label="Held back">no</td>`)
}
