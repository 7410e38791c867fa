package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"bunq_exporter/bunq"
)

// screen is what a page is looked at with.
type screen struct {
	device        string
	width, height int64
	scheme        string // light or dark
}

var screens = []screen{
	{"phone", 390, 844, "light"},
	{"phone", 390, 844, "dark"},
	{"desktop", 1280, 900, "light"},
	{"desktop", 1280, 900, "dark"},
}

func (s screen) String() string { return s.device + "-" + s.scheme }

// browser is one that runs until the test ends, as a context of chromedp's.
type browser struct{ context.Context } //nolint:containedctx // chromedp knows a browser by nothing else

func newBrowser(t *testing.T) browser {
	t.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(tool(t, "chromium", "apt-get install chromium")),
		chromedp.NoSandbox, // or root cannot start it
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

// tab is a page in a browser, with what it asked for and what it complained of.
type tab struct {
	ctx context.Context //nolint:containedctx // likewise

	mu                 sync.Mutex
	requests, messages []string
}

func (p *tab) note(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e.Request.URL)
	case *cdplog.EventEntryAdded:
		p.messages = append(p.messages, fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
	case *runtime.EventConsoleAPICalled:
		p.messages = append(p.messages, fmt.Sprintf("console.%s", e.Type))
	case *runtime.EventExceptionThrown:
		p.messages = append(p.messages, e.ExceptionDetails.Text)
	}
}

// open shows a page, and fails the test if it asks for anything but itself, complains of anything, or is wider than the
// screen.
func (b browser) open(t *testing.T, url string, on screen) *tab {
	t.Helper()
	ctx, cancel := context.WithTimeout(b, time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	p := &tab{ctx: ctx}
	if err := chromedp.Listen(ctx, p.note); err != nil {
		t.Fatal(err)
	}
	var viewport []chromedp.EmulateViewportOption
	if on.device == "phone" {
		viewport = append(viewport, chromedp.EmulateMobile)
	}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: on.scheme}},
	}); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(on.width, on.height, viewport...), chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	p.expect(t, "document.documentElement.scrollWidth <= "+fmt.Sprint(on.width), "true")
	p.expect(t, "document.scripts.length", "0")
	p.mu.Lock()
	defer p.mu.Unlock()
	requests := slices.DeleteFunc(slices.Clone(p.requests), func(u string) bool { return strings.HasPrefix(u, "data:") })
	if !slices.Equal(requests, []string{url}) {
		t.Errorf("%s on %s asks for %q", url, on, requests)
	}
	if p.messages != nil {
		t.Errorf("%s on %s complains: %q", url, on, p.messages)
	}
	return p
}

// expect fails the test unless the value of the JavaScript expression, as JSON, is want.
func (p *tab) expect(t *testing.T, expression, want string) {
	t.Helper()
	value, err := chromedp.Run(p.ctx, chromedp.Evaluate[any](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	if got, err := json.Marshal(value); err != nil || string(got) != want {
		t.Errorf("%s is %s (%v), want %s", expression, got, err, want)
	}
}

// keep writes a picture of the whole page to the folder SCREENSHOTS, or to the test's artifacts.
func (p *tab) keep(t *testing.T, name string) {
	t.Helper()
	picture, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(cmp.Or(os.Getenv("SCREENSHOTS"), t.ArtifactDir()), name+".png")
	if err := os.WriteFile(file, picture, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPagesInABrowser(t *testing.T) {
	chromium := newBrowser(t)
	e := start(t, "--demo")
	get(t, e.url+"/metrics")
	for _, on := range screens {
		t.Run(on.String(), func(t *testing.T) {
			back := map[string]string{"light": `"rgb(255, 255, 255)"`, "dark": `"rgb(17, 21, 26)"`}[on.scheme]

			landing := chromium.open(t, e.url+"/", on)
			landing.expect(t, `getComputedStyle(document.body).backgroundColor`, back)
			landing.expect(t, `[...document.querySelectorAll("main a")].map(a => a.getAttribute("href"))`, `["/status","/docs/runbooks.md","/metrics","/sd"]`)
			landing.keep(t, "landing-"+on.String())

			status := chromium.open(t, e.url+"/status", on)
			status.expect(t, `getComputedStyle(document.body).backgroundColor`, back)
			status.expect(t, `[...document.querySelectorAll("h2")].map(h => h.innerText)`, `["demo","bunq's limits"]`)
			status.expect(t, `[...document.querySelectorAll("#demo tbody tr")].map(r => r.cells[0].innerText + " " + r.cells[1].innerText + " " + r.cells[2].innerText)`,
				`["4711 ACTIVE webshop production","4712 BLOCKED bookkeeping sync","4713 NEEDS_CONFIRMATION new payout worker",`+
					`"4714 OBSOLETE old webshop","4715 ACTIVE changes every minute","4720 ACTIVE whose is this?"]`)
			status.expect(t, `getComputedStyle(document.querySelector(".status.blocked")).backgroundColor`, `"rgb(198, 40, 40)"`)
			status.expect(t, `getComputedStyle(document.querySelector("thead")).display`, map[string]string{"phone": `"none"`, "desktop": `"table-header-group"`}[on.device])
			status.keep(t, "status-"+on.String())

			runbooks := chromium.open(t, e.url+"/docs/runbooks.md", on)
			runbooks.expect(t, `document.getElementById("bunqdeviceserverblocked").innerText`, `"BunqDeviceServerBlocked"`)
			runbooks.keep(t, "runbooks-"+on.String())
		})
	}
}

func TestDescriptionWithMarkupIsTextInABrowser(t *testing.T) {
	const markup = `<img src=x onerror="alert(1)"><b>bold</b></td></table><script>alert(2)</script>`
	chromium := newBrowser(t)
	api, baseURL := newAPI(t, asItIs)
	api.AddDeviceServer(1, bunq.DeviceServer{ID: 4712, Description: markup, IP: "<i>", Status: "<u>ODD"})
	e := start(t, "--config.file="+writeConfig(t, t.TempDir(), baseURL, 4711, 4712))
	get(t, e.url+"/metrics")
	page := chromium.open(t, e.url+"/status", screens[0])
	text, err := json.Marshal([]string{"4712", "<u>ODD", markup, "<i>"})
	if err != nil {
		t.Fatal(err)
	}
	page.expect(t, `[...document.querySelectorAll("#company tbody tr")[1].cells].slice(0, 4).map(c => c.innerText)`, string(text))
	page.expect(t, `document.querySelectorAll("td img, td b, td i, td u").length`, "0")
}
