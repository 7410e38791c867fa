package test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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

// newBrowser starts a browser. chromedp identifies it, and each of its tabs, by a context.
func newBrowser(t *testing.T) context.Context {
	t.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(tool(t, "chromium", "apt-get install chromium")),
		chromedp.NoSandbox, // root cannot start it otherwise
		chromedp.DisableGPU, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	check(t, chromedp.Do(ctx))
	return ctx
}

// openPage shows a page. It must not load anything else, have a script or be wider than the screen.
func openPage(ctx context.Context, t *testing.T, url, device, scheme string) (tab context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
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
	expectValue(ctx, t, "document.documentElement.scrollWidth <= "+fmt.Sprint(widths[device]), "true")
	expectValue(ctx, t, "document.scripts.length", "0")
	expectValue(ctx, t,
		`performance.getEntriesByType("resource").filter(e => !e.name.startsWith("data:")).length`, "0")
	return ctx
}

// expectValue fails the test unless the value of the JavaScript expression, as JSON, is want.
func expectValue(tab context.Context, t *testing.T, expression, want string) {
	t.Helper()
	value, err := chromedp.Run(tab, chromedp.Evaluate[any](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	if got, err := json.Marshal(value); err != nil || string(got) != want {
		t.Errorf("%s is %s (%v), want %s", expression, got, err, want)
	}
}

// screenshot writes a picture of the whole page to the folder SCREENSHOTS, or to the artifacts of the test.
func screenshot(tab context.Context, t *testing.T, name string) {
	t.Helper()
	picture, err := chromedp.Run(tab, chromedp.FullScreenshot(100))
	check(t, err)
	file := filepath.Join(cmp.Or(os.Getenv("SCREENSHOTS"), t.ArtifactDir()), name+".png")
	check(t, os.WriteFile(file, picture, 0o600))
}

func TestPagesInBrowser(t *testing.T) {
	t.Parallel()
	browser, demo, a := newBrowser(t), start(t, "--demo"), newAPI(t)
	demo.scrape()
	failing, _ := watch(t, a, 4711)
	failing.scrape()
	a.setIntercept(func(w http.ResponseWriter, r *http.Request) bool {
		a.Answer(w, r, http.StatusInternalServerError, nil)
		return true
	})
	failing.scrape()
	folder := t.TempDir()
	file := writeConfig(t, folder, a.url, 4711)
	_ = os.Remove(filepath.Join(folder, "api_key"))
	withoutKey := start(t, "--config.file="+file)
	withoutKey.scrape()
	urls := map[string]string{
		"landing": demo.url + "/", "status": demo.url + "/status", "runbooks": demo.url + "/docs/runbooks.md",
		"failing": failing.url + "/status", "without-key": withoutKey.url + "/status",
	}
	for scheme, background := range map[string]string{"light": `"rgb(255, 255, 255)"`, "dark": `"rgb(17, 21, 26)"`} {
		for device, thead := range map[string]string{"phone": `"none"`, "desktop": `"table-header-group"`} {
			t.Run(device+"-"+scheme, func(t *testing.T) {
				for name, url := range urls {
					tab := openPage(browser, t, url, device, scheme)
					screenshot(tab, t, name+"-"+device+"-"+scheme)
					expectValue(tab, t, `getComputedStyle(document.body).backgroundColor`, background)
					for _, content := range pageContents[name] {
						expectValue(tab, t, content[0], content[1])
					}
					if strings.HasSuffix(url, "/status") {
						expectValue(tab, t, `getComputedStyle(document.querySelector("thead")).display`, thead)
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
	// Why device servers are not read, beside what was read last.
	"failing": {
		{`document.querySelector("td .error").innerText`, `"Not read: GET device-server: server, HTTP status 500"`},
		{`document.querySelector("td .status").innerText`, `"ACTIVE"`},
	},
	"without-key": {
		{`document.querySelector("td .error").innerText.startsWith("Not read: no credentials to read with: ")`, "true"},
		{`document.querySelector("td .status").innerText`, `"unknown"`},
	},
}
