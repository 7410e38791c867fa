package web

import (
	"cmp"
	"errors"
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
	"old":     func(t time.Time) bool { return time.Since(t) > maxAge },
	"summary": summarize,
	"time":    formatTime,
}

// maxAge is the age from which a result is marked as old. Scrape intervals are shorter.
const maxAge = 15 * time.Minute

// status shows the results of the last scrape. It does not call the bunq API.
func (h *Handler) status(w http.ResponseWriter, _ *http.Request) {
	configuration := h.Configuration()
	var accounts []account
	for _, a := range configuration.Accounts {
		accounts = append(accounts, newAccount(a))
	}
	h.show(w, "status.html", "Status", map[string]any{"Configuration": configuration, "Accounts": accounts})
}

// account is what the page shows of an account.
type account struct {
	*collector.Account
	State               collector.State
	Watched, Unexpected []deviceServer // the most important ones first
	Own                 deviceServer   // the exporter's own
}

// deviceServer is a device server as it was last read.
type deviceServer struct {
	collector.LastRead
	ID      int64
	Missing string // why it was not read this time; "" if it was
}

func newAccount(from *collector.Account) account {
	a := account{Account: from, State: from.State()}
	result, last := a.State.Result, from.LastReads()
	for _, id := range result.Watched {
		d := deviceServer{LastRead: last[id], ID: id}
		if _, read := result.DeviceServers[id]; !read {
			d.Missing = shorten(result.Missing(id))
		}
		if a.Watched = append(a.Watched, d); id == a.State.Login.DeviceServerID {
			a.Own = d
		}
	}
	for _, id := range result.Unexpected {
		now := collector.LastRead{DeviceServer: result.DeviceServers[id], Time: result.Start}
		a.Unexpected = append(a.Unexpected, deviceServer{LastRead: now, ID: id})
	}
	for _, list := range [][]deviceServer{a.Watched, a.Unexpected} {
		slices.SortFunc(list, func(a, b deviceServer) int {
			return cmp.Or(bySeverity(a.Status, b.Status), cmp.Compare(a.ID, b.ID))
		})
	}
	return a
}

// bySeverity orders statuses. One that bunq does not document, or that is not known, comes second.
func bySeverity(a, b bunq.Status) int {
	order := []bunq.Status{bunq.StatusActive, bunq.StatusObsolete, bunq.StatusNeedsConfirmation, "", bunq.StatusBlocked}
	severity := func(status bunq.Status) int {
		if i := slices.Index(order, status); i >= 0 {
			return i
		}
		return slices.Index(order, "")
	}
	return cmp.Or(severity(b)-severity(a), cmp.Compare(a, b))
}

// shorten returns an API error without its details, which the page shows once.
func shorten(err error) string {
	var failed *bunq.Error
	switch {
	case !errors.As(err, &failed):
		return err.Error()
	case failed.StatusCode == 0:
		return fmt.Sprintf("%s: %s", failed.Operation, failed.Reason)
	}
	return fmt.Sprintf("%s: %s, HTTP status %d", failed.Operation, failed.Reason, failed.StatusCode)
}

// count is a number of device servers that have something in common.
type count struct {
	Number      int
	Text, Alert string
}

// summarize counts the device servers of an account.
func summarize(a account) (summary []count) {
	counts, missing := map[bunq.Status]int{}, 0
	for _, d := range a.Watched {
		if d.Missing != "" {
			missing++
		}
		if d.Status != "" {
			counts[d.Status]++
		}
	}
	for _, status := range slices.SortedFunc(maps.Keys(counts), bySeverity) {
		summary = append(summary, count{counts[status], string(status), statusAlert(status)})
	}
	summary = append(summary, count{missing, "not read", "BunqDeviceServerNotRead"},
		count{len(a.Unexpected), "unexpected", "BunqUnexpectedDeviceServer"})
	return slices.DeleteFunc(summary, func(c count) bool { return c.Number == 0 })
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
