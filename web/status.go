package web

import (
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/collector"
)

// functions are what the pages call.
var functions = template.FuncMap{
	"markdown": formatMarkdown,
	"time":     formatTime,
	"age":      formatAge,
	"class":    statusClass,
	"old":      func(read, now time.Time) bool { return now.Sub(read) > oldAge },
	"runbook":  statusRunbook,
	"row":      func(d bunq.DeviceServer, now time.Time) deviceServerRow { return deviceServerRow{d, now} },
}

// oldAge is when nobody should take a reading for the present any more: no scrape interval is that long.
const oldAge = 15 * time.Minute

// accountView is one account as the page shows it.
type accountView struct {
	collector.State
	Name    string
	Counts  []countView
	Watched []watchedView
}

// countView is how many of the watched device servers are in a status.
type countView struct {
	Number               int
	Name, Class, Runbook string
}

type watchedView struct {
	ID           int64
	Read         bool
	DeviceServer bunq.DeviceServer // only if it was read
}

type deviceServerRow struct {
	bunq.DeviceServer
	Now time.Time
}

// status shows what the last scrape read: it asks bunq nothing.
func (h *Handler) status(w http.ResponseWriter, _ *http.Request) {
	var accounts []accountView
	for _, a := range h.Accounts() {
		accounts = append(accounts, viewAccount(a.Name(), a.State()))
	}
	h.show(w, statusPage, "Status", map[string]any{"Accounts": accounts, "Limits": h.Limits()})
}

func viewAccount(name string, state collector.State) accountView {
	view := accountView{State: state, Name: name}
	read := map[bunq.Status]int{}
	for _, id := range state.Reading.Watched {
		d, ok := state.Reading.DeviceServers[id]
		view.Watched = append(view.Watched, watchedView{id, ok, d})
		if ok {
			read[d.Status]++
		}
	}
	view.Counts = countStatuses(read)
	if missing := len(view.Watched) - len(state.Reading.DeviceServers); missing > 0 {
		why := "BunqDeviceServerNotFound"
		if state.Reading.Err != nil {
			why = "BunqDeviceServerNotRead"
		}
		view.Counts = append(view.Counts, countView{missing, "not read", "unread", runbook(why)})
	}
	if n := len(state.Reading.Unexpected); n > 0 {
		view.Counts = append(view.Counts, countView{n, "unexpected", "unexpected", runbook("BunqUnexpectedDeviceServer")})
	}
	return view
}

// countStatuses returns what there is, the documented statuses first.
func countStatuses(numbers map[bunq.Status]int) (counts []countView) {
	order := bunq.Statuses()
	for status := range numbers {
		if !slices.Contains(order, status) {
			order = append(order, status)
		}
	}
	slices.Sort(order[len(bunq.Statuses()):])
	for _, status := range order {
		if n := numbers[status]; n > 0 {
			counts = append(counts, countView{n, string(status), statusClass(status), statusRunbook(status)})
		}
	}
	return counts
}

// statusClass is what the style sheet calls a status.
func statusClass(status bunq.Status) string {
	if slices.Contains(bunq.Statuses(), status) {
		return strings.ToLower(string(status))
	}
	return "unknown"
}

// statusRunbook is where it says what to do about a status; "" where there is nothing to do.
func statusRunbook(status bunq.Status) string {
	switch status {
	case bunq.StatusActive:
		return ""
	case bunq.StatusBlocked:
		return runbook("BunqDeviceServerBlocked")
	case bunq.StatusNeedsConfirmation:
		return runbook("BunqDeviceServerNeedsConfirmation")
	case bunq.StatusObsolete:
		return runbook("BunqDeviceServerObsolete")
	}
	return runbook("BunqDeviceServerStatusUnknown")
}

func runbook(alert string) string { return runbooksPath + "#" + strings.ToLower(alert) }

func formatTime(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05 MST")
}

// formatAge is the time between two, in the largest unit of which there are two or more.
func formatAge(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	age, ending := now.Sub(t), " ago"
	if age < 0 {
		age, ending = -age, " from now"
	}
	for _, unit := range []struct {
		name string
		is   time.Duration
	}{{"days", 24 * time.Hour}, {"hours", time.Hour}, {"minutes", time.Minute}} {
		if n := age / unit.is; n >= 2 {
			return strconv.Itoa(int(n)) + " " + unit.name + ending
		}
	}
	return strconv.Itoa(int(age/time.Second)) + " seconds" + ending
}
