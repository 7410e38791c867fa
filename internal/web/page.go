package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"time"

	"github.com/go-kit/log/level"
)

//go:embed page.html landing.html status.html
var files embed.FS

var pages = template.Must(template.New("").Funcs(functions).ParseFS(files, "*.html"))

//go:embed page.css
var style string

//go:generate go test -run TestRunbooksPageUpToDate . -update
//go:embed runbooks.html
var runbooks string

// policy allows the pages their own style and icon, and nothing else.
var policy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; img-src data:; " +
		"style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

func (h *Handler) show(w http.ResponseWriter, page, title string, content any) {
	var text bytes.Buffer
	if err := pages.ExecuteTemplate(&text, page, map[string]any{
		"Style": template.CSS(style), //nolint:gosec // a file of the exporter
		"Title": title, "Content": content, "Now": time.Now(),
		"TelemetryPath": h.TelemetryPath, "Version": h.Version,
	}); err != nil {
		_ = level.Error(h.Logger).Log("msg", "Failed to render page", "page", page, "err", err)
		http.Error(w, "Failed to render the page. The log shows the error.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = text.WriteTo(w)
}

func (h *Handler) landing(w http.ResponseWriter, _ *http.Request) {
	h.show(w, "landing.html", "Overview", nil)
}

func (h *Handler) runbooks(w http.ResponseWriter, _ *http.Request) {
	h.show(w, "runbooks", "Runbooks", template.HTML(runbooks)) //nolint:gosec // a file of the exporter
}
