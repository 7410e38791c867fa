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
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
)

//go:embed *.html
var templates embed.FS

//go:embed page.css
var style string

// The pages for people: one frame, each with its own content.
var (
	landingPage = newPage("landing.html")
	statusPage  = newPage("status.html")
	runbookPage = newPage("runbooks.html")
)

func newPage(content string) *template.Template {
	return template.Must(template.New("page.html").Funcs(functions).ParseFS(templates, "page.html", content))
}

// policy allows the pages their own style and icon, and nothing else.
var policy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; img-src data:; style-src 'sha256-" +
		base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

// show answers with a page.
func (h *Handler) show(w http.ResponseWriter, page *template.Template, title string, content any) {
	var text bytes.Buffer
	if err := page.Execute(&text, map[string]any{
		"Style": template.CSS(style), //nolint:gosec // our own file
		"Title": title, "Content": content, "TelemetryPath": h.TelemetryPath, "Version": h.Version, "Now": time.Now(),
	}); err != nil {
		_ = level.Error(h.Logger).Log("msg", "Cannot make a page", "page", title, "err", err)
		http.Error(w, "The page could not be made; the log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = text.WriteTo(w)
}

func (h *Handler) landing(w http.ResponseWriter, _ *http.Request) {
	h.show(w, landingPage, "Overview", nil)
}

// runbooks are made into a page when somebody asks: as a rule nobody does, and until then they should cost no memory.
func (h *Handler) runbooks(w http.ResponseWriter, _ *http.Request) {
	h.show(w, runbookPage, "Runbooks", h.Runbooks)
}

var markdownConverter = goldmark.New(goldmark.WithExtensions(extension.Table), goldmark.WithParserOptions(parser.WithAutoHeadingID()))

// formatMarkdown is for our own text, and no other: it is not cleaned.
func formatMarkdown(text []byte) (template.HTML, error) {
	var html bytes.Buffer
	err := markdownConverter.Convert(text, &html)
	return template.HTML(html.String()), err //nolint:gosec // our own file
}
