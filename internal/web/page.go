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
