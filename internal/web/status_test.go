package web_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/collector"
	"bunq_exporter/internal/web"
)

func TestStatusPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account, api := runAccount(t, "company")
		handler := newHandler(t, newOptions(account))
		expect(t, get(handler, "/status"), "None yet.")
		get(handler, "/metrics")
		requests := api.Requests(bunq.ListDeviceServers)
		time.Sleep(5 * time.Minute)
		page := get(handler, "/status")
		expect(t, page, "<h2>company</h2>", "5m0s ago", "<b>ok</b>: ", "Ends at 2000-01-01 01:00:00 UTC.",
			`data-status="BLOCKED" href="/docs/runbooks.md#bunqdeviceserverblocked">BLOCKED</a>`,
			"Not read: bunq lists no device server with this id", "Read to its end: 3 device servers on the account.",
			"<dt>Environment</dt><dd>sandbox</dd>", "<dt>Own device server</dt><dd>1003\n<a class=\"status\"",
			"Configuration loaded 2000-01-01 00:05:00 UTC",
			"&lt;script&gt;", "192.0.2.7", "1999-12-29 23:00:00 UTC", "2 days ago", "3h5m0s ago",
			`data-status="ACTIVE">ACTIVE</a>`,
			`data-status="NEW &#34;&lt;b&gt;" href="/docs/runbooks.md#bunqdeviceserverstatusunknown">NEW &#34;&lt;b&gt;</a>`)
		if strings.Contains(page, "<script>") || strings.Contains(page, `<dd class="error">`) {
			t.Error("a description that is not escaped, or an error")
		}
		time.Sleep(15 * time.Minute)
		expect(t, get(handler, "/status"), `<dt>Last scrape</dt><dd class="error">2000-01-01 00:00:00 UTC, 20m0s ago`)
		if n := api.Requests(bunq.ListDeviceServers); n != requests {
			t.Errorf("the page made %d calls", n-requests)
		}
	})
}

func TestStatusPageLoginFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account, api := newAccount(t, "company")
		api.down.Store(true)
		go account.Run(t.Context())
		handler := newHandler(t, newOptions(account))
		get(handler, "/metrics")
		expect(t, get(handler, "/status"), "<b>unreachable</b>: ", "<small>err: POST installation: maintenance",
			"<dd>None.</dd>", "No scrape has succeeded yet", `<dd class="error">no credentials to read with: `)
	})
}

func TestStatusPageLastErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account, api := runAccount(t, "company")
		handler := newHandler(t, newOptions(account))
		get(handler, "/metrics")
		api.down.Store(true)
		time.Sleep(time.Minute)
		get(handler, "/metrics")
		time.Sleep(3 * time.Minute)
		last := account.Failures()[0].Err
		expect(t, get(handler, "/status"), "Last errors", "<code>maintenance</code>", "3m0s ago", "GET device-server",
			"HTTP status 503 “&lt;i&gt;Later.”", "<code>"+last.ResponseID+"</code>",
			`<dd class="error">GET device-server: maintenance`, "Last success: 2000-01-01 00:00:00 UTC, 4m0s ago",
			"BLOCKED</a>", "Not read: GET device-server: maintenance, HTTP status 503", "Not read to its end.")
	})
}

func TestStatusPageOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account, api := newAccount(t, "company")
		for id, status := range map[int64]bunq.Status{
			21: "NEW", 22: bunq.StatusActive, 23: bunq.StatusObsolete, 24: bunq.StatusNeedsConfirmation, 25: bunq.StatusBlocked,
		} {
			api.AddDeviceServer(1, bunq.DeviceServer{ID: id, Status: status})
		}
		account.Reload(collector.Selection{All: true, Known: []int64{12}})
		go account.Run(t.Context())
		handler := newHandler(t, newOptions(account))
		get(handler, "/metrics")
		page := get(handler, "/status")
		expect(t, page, "8 device servers on the account, 1 of them known and not shown here.")
		var ids []string
		for _, match := range regexp.MustCompile(`"Id">(\d+)<`).FindAllStringSubmatch(page, -1) {
			ids = append(ids, match[1])
		}
		if got := strings.Join(ids, " "); got != "11 25 21 24 23 22 1003" {
			t.Errorf("device servers in the order %s", got)
		}
	})
}

func TestStatusPageReloadFailed(t *testing.T) {
	options := newOptions()
	options.Configuration = func() web.Configuration {
		return web.Configuration{Loaded: time.Now(), Err: errors.New("config.yml:3: unknown key <i>")}
	}
	expect(t, get(newHandler(t, options), "/status"),
		`<p class="error">Configuration loaded `, "The last reload failed: config.yml:3: unknown key &lt;i&gt;</p>")
}
