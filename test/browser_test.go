package test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// widths are those of the screens.
var widths = map[string]int64{"phone": 390, "desktop": 1280}

// browser is a running browser.
type browser struct{ context.Context } //nolint:containedctx // of chromedp, which identifies a browser by it

func newBrowser(t *testing.T) browser {
	t.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(tool(t, "chromium", "apt-get install chromium")),
		chromedp.NoSandbox, // root cannot start it otherwise
		chromedp.DisableGPU, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return browser{ctx}
}

// tab is a page in a browser.
type tab struct{ context.Context } //nolint:containedctx // of chromedp, which identifies a tab by it

// open shows a page. It must not load anything else, have a script or be wider than the screen.
func (b browser) open(t *testing.T, url, device, scheme string) tab {
	t.Helper()
	ctx, cancel := context.WithTimeout(b, time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	var viewport []chromedp.EmulateViewportOption
	if device == "phone" {
		viewport = append(viewport, chromedp.EmulateMobile)
	}
	_, schemeErr := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	err := chromedp.Do(ctx, chromedp.EmulateViewport(widths[device], 900, viewport...), chromedp.Navigate(url))
	if err = errors.Join(err, schemeErr); err != nil {
		t.Fatal(err)
	}
	page := tab{ctx}
	page.expect(t, "document.documentElement.scrollWidth <= "+fmt.Sprint(widths[device]), "true")
	page.expect(t, "document.scripts.length", "0")
	page.expect(t, `performance.getEntriesByType("resource").filter(e => !e.name.startsWith("data:")).length`, "0")
	return page
}

// expect fails the test unless the value of the JavaScript expression, as JSON, is want.
func (p tab) expect(t *testing.T, expression, want string) {
	t.Helper()
	value, err := chromedp.Run(p, chromedp.Evaluate[any](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	if got, err := json.Marshal(value); err != nil || string(got) != want {
		t.Errorf("%s is %s (%v), want %s", expression, got, err, want)
	}
}

// screenshot writes a picture of the whole page to the folder SCREENSHOTS, or to the artifacts of the test.
func (p tab) screenshot(t *testing.T, name string) {
	t.Helper()
	picture, err := chromedp.Run(p, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(cmp.Or(os.Getenv("SCREENSHOTS"), t.ArtifactDir()), name+".png")
	if err := os.WriteFile(file, picture, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPagesInBrowser(t *testing.T) {
	t.Parallel()
	chromium, e := newBrowser(t), start(t, "--demo")
	e.scrape()
	for scheme, background := range map[string]string{"light": `"rgb(255, 255, 255)"`, "dark": `"rgb(17, 21, 26)"`} {
		for device, thead := range map[string]string{"phone": `"none"`, "desktop": `"table-header-group"`} {
			t.Run(device+"-"+scheme, func(t *testing.T) {
				for name, path := range map[string]string{"landing": "/", "status": "/status", "runbooks": "/docs/runbooks.md"} {
					page := chromium.open(t, e.url+path, device, scheme)
					page.expect(t, `getComputedStyle(document.body).backgroundColor`, background)
					page.screenshot(t, name+"-"+device+"-"+scheme)
					for _, content := range pageContents[name] {
						page.expect(t, content[0], content[1])
					}
					if name == "status" {
						page.expect(t, `getComputedStyle(document.querySelector("thead")).display`, thead)
					}
				}
			})
		}
	}
}

// rows are the rows of the table of device servers on the status page, without the one whose status changes.
const rows = `[...document.querySelectorAll("#demo tbody tr")].map(r => r.cells[0].innerText + r.cells[1].innerText)
	.filter(r => !r.startsWith("4715"))`

// broken are the alerts whose name is broken inside a word, in the table or a heading.
const broken = `[...document.querySelectorAll("td a, h2")].filter(e => {
	if (!/^Bunq/.test(e.innerText)) return false;
	const range = document.createRange();
	range.selectNodeContents(e.firstChild);
	return range.getClientRects().length != 1;
}).map(e => e.innerText)`

// pageContents are expressions and their values, by page.
var pageContents = map[string][][2]string{
	"landing": {{`[...document.querySelectorAll("main a")].map(a => a.getAttribute("href"))`,
		`["/status","/docs/runbooks.md","/metrics","/metrics/exporter","/sd"]`}},
	"status": {
		{rows, `["4712BLOCKED","4713NEEDS_CONFIRMATION","4714OBSOLETE","4711ACTIVE","4723ACTIVE","4720ACTIVE"]`},
		{`getComputedStyle(document.querySelector("[data-status=BLOCKED]")).backgroundColor`, `"rgb(198, 40, 40)"`},
		{`[...document.querySelectorAll("h2")].map(h => h.innerText)`, `["demo"]`},
	},
	"runbooks": {
		{`document.getElementById("bunqdeviceserverblocked").innerText`, `"BunqDeviceServerBlocked"`},
		{broken, `[]`},
	},
}

// The status page shows why device servers are not read.
func TestReasonsInBrowser(t *testing.T) {
	t.Parallel()
	chromium := newBrowser(t)
	for name, test := range map[string]struct {
		key    string // in the key file; "" for none
		fault  func(*api, http.ResponseWriter, *http.Request)
		reason string // also that of the device server, which was read before
	}{
		"internal error": {apiKey, func(a *api, w http.ResponseWriter, r *http.Request) {
			a.Answer(w, r, http.StatusInternalServerError, nil)
		}, "GET device-server: server, HTTP status 500"},
		"bad signature": {apiKey, func(a *api, w http.ResponseWriter, r *http.Request) {
			answer := httptest.NewRecorder()
			a.Server.ServeHTTP(answer, r)
			_, _ = answer.Body.WriteString(" ")
			copyAnswer(w, answer)
		}, "GET device-server: signature, HTTP status 200"},
		"too many requests": {apiKey, func(a *api, w http.ResponseWriter, r *http.Request) {
			a.Answer(w, r, http.StatusTooManyRequests, nil)
		}, "GET device-server: rate_limited, HTTP status 429"},
		"missing key file": {"", nil, "no credentials to read with: reading API key: open "},
		"wrong key":        {"sandbox_wrong", nil, "POST device-server: credentials, HTTP status 400"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, folder := newAPI(t), t.TempDir()
			file := "--config.file=" + writeConfig(t, folder, a.url, 4711)
			if writeFile(t, folder, "api_key", test.key); test.key == "" {
				_ = os.Remove(filepath.Join(folder, "api_key"))
			}
			e := start(t, file)
			e.scrape()
			if test.fault != nil {
				a.setIntercept(func(w http.ResponseWriter, r *http.Request) bool {
					test.fault(a, w, r)
					return true
				})
				e.scrape()
			}
			for device := range widths {
				page := chromium.open(t, e.url+"/status", device, "light")
				page.screenshot(t, strings.ReplaceAll(name, " ", "-")+"-"+device)
				reason := fmt.Sprintf(`document.querySelector("td .error").innerText.startsWith("Not read: %s")`, test.reason)
				page.expect(t, reason, "true")
				page.expect(t, `document.querySelector("td [data-status=ACTIVE]") != null`, fmt.Sprint(test.fault != nil))
				chromium.open(t, e.url+"/docs/runbooks.md", device, "light").expect(t, broken, `[]`)
			}
		})
	}
}
