package web

import (
	"cmp"
	"errors"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/collector"
)

// functions are those that the pages call.
var functions = template.FuncMap{
	"account": newAccount,
	"age":     formatAge,
	"alert":   func(s bunq.Status) string { return statuses[severity(s)].alert },
	"anchor":  strings.ToLower, // of the runbook for an alert
	"old":     func(t time.Time) bool { return time.Since(t) > maxAge },
	"time":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") },
}

// maxAge is the age from which a result is marked as old. Scrape intervals are shorter.
const maxAge = 15 * time.Minute

// account is what the page shows of an account.
type account struct {
	*collector.Account
	State               collector.State
	Watched, Unexpected []deviceServer // the most important ones first
}

// deviceServer is a device server as it was last read.
type deviceServer struct {
	collector.LastRead
	Missing string // why it was not read this time; "" if it was
}

func newAccount(from *collector.Account) account {
	a := account{Account: from, State: from.State()}
	result, last := a.State.Result, from.LastReads()
	for _, id := range result.Watched {
		d := deviceServer{LastRead: last[id]}
		d.ID = id // also of one that was never read
		if _, read := result.DeviceServers[id]; !read {
			d.Missing = shorten(result.Missing(id))
		}
		a.Watched = append(a.Watched, d)
	}
	for _, id := range result.Unexpected {
		now := collector.LastRead{DeviceServer: result.DeviceServers[id], Time: result.Start}
		a.Unexpected = append(a.Unexpected, deviceServer{LastRead: now})
	}
	for _, list := range [][]deviceServer{a.Watched, a.Unexpected} {
		slices.SortFunc(list, func(a, b deviceServer) int {
			return cmp.Or(bySeverity(a.Status, b.Status), cmp.Compare(a.ID, b.ID))
		})
	}
	return a
}

// statuses are the statuses and their alerts, the most important ones first. The empty one stands for all others.
var statuses = []struct {
	status bunq.Status
	alert  string
}{
	{bunq.StatusBlocked, "BunqDeviceServerBlocked"},
	{"", "BunqDeviceServerStatusUnknown"},
	{bunq.StatusNeedsConfirmation, "BunqDeviceServerNeedsConfirmation"},
	{bunq.StatusObsolete, "BunqDeviceServerObsolete"},
	{bunq.StatusActive, ""},
}

// severity returns the position of a status in statuses.
func severity(status bunq.Status) int {
	for i, s := range statuses {
		if s.status == status {
			return i
		}
	}
	return severity("")
}

func bySeverity(a, b bunq.Status) int { return cmp.Or(severity(a)-severity(b), cmp.Compare(a, b)) }

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

func formatAge(t time.Time) string {
	const day = 24 * time.Hour
	age := time.Since(t).Truncate(time.Second)
	if age >= 2*day {
		return fmt.Sprintf("%d days ago", age/day)
	}
	return age.String() + " ago"
}
