package bunq_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"bunq_exporter/bunq"
)

func TestDeviceServerMalformedAnswers(t *testing.T) {
	for want, body := range answers("answers that are not device server 7") {
		client, _ := newClient(t, signed(http.StatusOK, body))
		expectReason(t, read(t.Context(), client), bunq.ReasonMalformed)
		if err := errorOf(list(t.Context(), client, credentials)); (err == nil) != (want == "list") {
			t.Errorf("list of %s: %v", body, err)
		}
	}
	client, _ := newClient(t, signed(http.StatusOK, `{"Response":[`+strings.Repeat(item(8)+",", 200)+item(7)+`]}`))
	expectReason(t, errorOf(list(t.Context(), client, credentials)), bunq.ReasonMalformed) // one more than a page has
}

// BenchmarkList verifies and decodes a page.
func BenchmarkList(b *testing.B) {
	answer, items := httptest.NewRecorder(), strings.TrimSuffix(strings.Repeat(item(7)+",", 200), ",")
	signed(http.StatusOK, `{"Response":[`+items+`]}`)(answer, httptest.NewRequest(http.MethodGet, "/", nil))
	transport := fixed(http.StatusOK, answer.Header(), answer.Body.Bytes())
	for b.Loop() {
		client, _ := connect(b, bunq.Config{Transport: transport}) // with a limiter of its own
		if all, err := list(b.Context(), client, credentials); err != nil || len(all) != 200 {
			b.Fatal(len(all), err)
		}
	}
}
