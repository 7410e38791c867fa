package test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// rows are the rows of the table of device servers on the status page.
const rows = `[...document.querySelectorAll("#demo tbody tr")].map(r => r.cells[0].innerText + r.cells[1].innerText)`

// pageContents are expressions and their values, by page.
var pageContents = map[string][][2]string{
	"landing": {{`[...document.querySelectorAll("main a")].map(a => a.getAttribute("href"))`,
		`["/status","/docs/runbooks.md","/metrics","/metrics/exporter","/sd"]`}},
	"status": {
		{rows, `["4711ACTIVE","4712BLOCKED","4713NEEDS_CONFIRMATION","4714OBSOLETE","4715ACTIVE","4723ACTIVE","4720ACTIVE"]`},
		{`getComputedStyle(document.querySelector("[data-status=BLOCKED]")).backgroundColor`, `"rgb(198, 40, 40)"`},
		{`[...document.querySelectorAll("h2")].map(h => h.innerText)`, `["demo"]`},
	},
	"runbooks": {{`document.getElementById("bunqdeviceserverblocked").innerText`, `"BunqDeviceServerBlocked"`}},
}
