package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-kit/log/level"

	"bunq_exporter/bunq"
	"bunq_exporter/collector"
)

//go:embed status.css
var statusStyle string

//go:embed status.html
var statusHTML string

var statusPage = template.Must(template.New("status").Funcs(template.FuncMap{
	"time":  formatTime,
	"age":   formatAge,
	"lower": strings.ToLower,
}).Parse(statusHTML))

// statusPolicy allows the page its own style and nothing else.
var statusPolicy = func() string {
	sum := sha256.Sum256([]byte(statusStyle))
	return "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-" +
		base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

// accountView is one account as the page shows it.
type accountView struct {
	Name    string
	Reading collector.Reading
	Login   bunq.Login
	Watched []deviceServerView
}

type deviceServerView struct {
	ID           int64
	Read         bool
	DeviceServer bunq.DeviceServer // only if it was read
}

// status shows what the last scrape read: it asks bunq nothing.
func (h *Handler) status(w http.ResponseWriter, _ *http.Request) {
	var accounts []accountView
	for _, a := range h.Accounts() {
		reading, login := a.Last()
		view := accountView{Name: a.Name(), Reading: reading, Login: login}
		for _, id := range reading.Watched {
			d, read := reading.DeviceServers[id]
			view.Watched = append(view.Watched, deviceServerView{id, read, d})
		}
		accounts = append(accounts, view)
	}
	var page bytes.Buffer
	if err := statusPage.Execute(&page, map[string]any{
		"Style": template.CSS(statusStyle), //nolint:gosec // our own file
		"Now":   time.Now(), "Accounts": accounts, "Version": h.Version,
	}); err != nil {
		_ = level.Error(h.Logger).Log("msg", "Cannot make the status page", "err", err)
		http.Error(w, "The status page could not be made; the log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Security-Policy", statusPolicy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = page.WriteTo(w)
}

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
