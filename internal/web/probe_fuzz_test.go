package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func FuzzProbe(f *testing.F) {
	for _, query := range []string{
		"", "account=company", "account=other&account=company", "account=%63ompany", "account=company%00", "account",
		"account=<script>", "account=%zz", "account;company", "account=company#", "ACCOUNT=company", "account=../company",
		"account=%0d%0aX-Evil:+1", "account=\xff",
	} {
		f.Add(query)
	}
	account, _ := newAccount(f, "company")
	handler := newHandler(f, newOptions(account))
	f.Fuzz(func(t *testing.T, query string) {
		r, w := httptest.NewRequest(http.MethodGet, "/probe", nil), httptest.NewRecorder()
		r.URL.RawQuery = query
		r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "0.001")
		handler.ServeHTTP(w, r)
		want, text := http.StatusNotFound, "The configuration has no account of this name.\n"
		switch name := r.URL.Query().Get("account"); name {
		case "":
			want, text = http.StatusBadRequest, "Parameter account is missing: use /probe?account=NAME.\n"
		case "company":
			want, text = http.StatusOK, w.Body.String()
			expect(t, text, `bunq_up{account="company"} 0`+"\n")
		}
		isPlain := strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; ")
		if w.Code != want || w.Body.String() != text || len(w.Header()) > 3 || !isPlain {
			t.Errorf("status %d, %v, %s", w.Code, w.Header(), w.Body)
		}
	})
}
