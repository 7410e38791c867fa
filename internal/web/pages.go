package web

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log/level"

	"bunq_exporter/bunq"
	"bunq_exporter/collector"
)

//go:generate go test -run TestRunbooksPageUpToDate . -update
//go:embed *.html
var files embed.FS

var pages = template.Must(template.New("").Funcs(functions).ParseFS(files, "*.html"))

//go:embed page.css
var style string

// policy allows the pages their own style and icon, and nothing else.
var policy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; img-src data:; " +
		"style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

// page returns the handler of a page. No page calls the bunq API.
func (h *Handler) page(name, title string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		var text bytes.Buffer
		if err := pages.ExecuteTemplate(&text, name, map[string]any{
			"Style": template.CSS(style), //nolint:gosec // a file of the exporter
			"Title": title, "Configuration": h.Configuration(), "Now": time.Now(),
			"TelemetryPath": h.TelemetryPath, "Version": h.Version,
		}); err != nil {
			_ = level.Error(h.Logger).Log("msg", "Failed to render page", "page", name, "err", err)
			http.Error(w, "Failed to render the page. The log shows the error.", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = text.WriteTo(w)
	}
}

// functions are those that the pages call.
var functions = template.FuncMap{
	"age":           formatAge,
	"alert":         func(s bunq.Status) string { return severityOf(s).alert },
	"anchor":        strings.ToLower, // of the runbook for an alert
	"deviceServers": deviceServers,
	"old":           func(t time.Time) bool { return time.Since(t) > maxAge },
	"time":          func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") },
}

// maxAge is the age from which a result is marked as old. Scrape intervals are shorter.
const maxAge = 15 * time.Minute

// deviceServer is a device server as it was last read.
type deviceServer struct {
	collector.LastRead
	Missing string // why it was not read this time; "" if it was
}

// deviceServers returns those with the given ids, the most important ones first, as the result shows them or else as
// they were last read.
func deviceServers(a *collector.Account, r collector.Result, ids []int64) (list []deviceServer) {
	last := a.LastReads()
	for _, id := range ids {
		d := deviceServer{LastRead: last[id]}
		if now, read := r.DeviceServers[id]; read {
			d.LastRead = collector.LastRead{DeviceServer: now, Time: r.Start}
		} else {
			d.ID, d.Missing = id, shorten(r.Missing(id)) // the id is also of one that was never read
		}
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b deviceServer) int {
		rank := severityOf(a.Status).rank - severityOf(b.Status).rank
		return cmp.Or(rank, cmp.Compare(a.Status, b.Status), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// severity is how important a status is, 0 for the most, and its alert.
type severity struct {
	rank  int
	alert string
}

// severities are those of the statuses. The empty status stands for all that bunq does not document.
var severities = map[bunq.Status]severity{
	bunq.StatusBlocked:           {0, "BunqDeviceServerBlocked"},
	"":                           {1, "BunqDeviceServerStatusUnknown"},
	bunq.StatusNeedsConfirmation: {2, "BunqDeviceServerNeedsConfirmation"},
	bunq.StatusObsolete:          {3, "BunqDeviceServerObsolete"},
	bunq.StatusActive:            {4, ""},
}

func severityOf(status bunq.Status) severity {
	if s, documented := severities[status]; documented {
		return s
	}
	return severities[""]
}

// shorten returns an API error without its details, which the page shows once.
func shorten(err error) string {
	if e, ok := errors.AsType[*bunq.Error](err); ok {
		err = &bunq.Error{Operation: e.Operation, Reason: e.Reason, StatusCode: e.StatusCode}
	}
	return err.Error()
}

func formatAge(t time.Time) string {
	age := time.Since(t).Truncate(time.Second)
	if days := age / (24 * time.Hour); days >= 2 {
		return fmt.Sprintf("%d days ago", days)
	}
	return age.String() + " ago"
}
