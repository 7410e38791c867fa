package web

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/collector"
)

// functions are those that the pages call.
var functions = template.FuncMap{
	"age":     formatAge,
	"alert":   statusAlert,
	"anchor":  strings.ToLower, // of the runbook for an alert
	"notRead": notRead,
	"old":     func(t time.Time) bool { return time.Since(t) > maxAge },
	"summary": summarize,
	"time":    formatTime,
}

// maxAge is the age from which a result is marked as old. Scrape intervals are shorter.
const maxAge = 15 * time.Minute

// status shows the results of the last scrape. It does not call the bunq API.
func (h *Handler) status(w http.ResponseWriter, _ *http.Request) {
	h.show(w, "status.html", "Status", h.Accounts())
}

// notRead returns in a few words why a watched device server is missing from a result. The page shows the whole error
// once.
func notRead(r collector.Result) string {
	switch {
	case r.Err != nil:
		return "error: " + cmp.Or(string(bunq.ReasonOf(r.Err)), r.Err.Error())
	case r.Counts == nil:
		return "the list of device servers was not read to its end"
	}
	return "bunq shows no device server with this id"
}

// count is a number of device servers that have something in common.
type count struct {
	Number      int
	Text, Alert string
}

// summarize counts the device servers of a result.
func summarize(r collector.Result) (summary []count) {
	counts := map[bunq.Status]int{}
	for _, d := range r.DeviceServers {
		counts[d.Status]++
	}
	for _, status := range slices.Sorted(maps.Keys(counts)) {
		summary = append(summary, count{counts[status], string(status), statusAlert(status)})
	}
	missing := count{len(r.Watched) - len(r.DeviceServers), "not read", "BunqDeviceServerNotRead"}
	if r.Err == nil && r.Counts != nil {
		missing.Alert = "BunqDeviceServerNotFound"
	}
	unexpected := count{len(r.Unexpected), "unexpected", "BunqUnexpectedDeviceServer"}
	return slices.DeleteFunc(append(summary, missing, unexpected), func(c count) bool { return c.Number == 0 })
}

// statusAlert returns the alert for a status, or "" if there is none.
func statusAlert(status bunq.Status) string {
	switch status {
	case bunq.StatusActive:
		return ""
	case bunq.StatusBlocked:
		return "BunqDeviceServerBlocked"
	case bunq.StatusNeedsConfirmation:
		return "BunqDeviceServerNeedsConfirmation"
	case bunq.StatusObsolete:
		return "BunqDeviceServerObsolete"
	}
	return "BunqDeviceServerStatusUnknown"
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return "unknown"
	}
	return t.UTC().Format("2006-01-02 15:04:05 MST")
}

func formatAge(t time.Time) string {
	age := time.Since(t).Truncate(time.Second)
	switch {
	case t.IsZero():
		return ""
	case age >= 48*time.Hour:
		return fmt.Sprintf("%d days ago", age/(24*time.Hour))
	}
	return age.String() + " ago"
}
