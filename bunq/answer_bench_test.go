package bunq_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"bunq_exporter/bunq"
)

// page is bunq's answer with n device servers, as they are in the field: some thirty characters of description.
func page(n int) *httptest.ResponseRecorder {
	items := make([]string, n)
	for i := range items {
		items[i] = strings.Replace(item(n-i), "a server", fmt.Sprintf("bookkeeping synchronisation %d", i), 1)
	}
	answer := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodGet, "/v1/device-server", nil)
	signed(http.StatusOK, `{"Response":[`+strings.Join(items, ",")+`],"Pagination":{"future_url":null,"newer_url":null,"older_url":null}}`)(answer, request)
	return answer
}

func BenchmarkVerify(b *testing.B) {
	key := bunq.ServerKey(contextValue(b, "installation_context", "public_key_server"))
	for _, n := range []int{1, 10, 200} {
		answer := page(n)
		b.Run(fmt.Sprintf("devices=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(answer.Body.Len()))
			for b.Loop() {
				if err := bunq.Verify(key, http.StatusOK, answer.Header(), answer.Body.Bytes()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, n := range []int{1, 10, 200} {
		body := page(n).Body.Bytes()
		b.Run(fmt.Sprintf("devices=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if read, err := bunq.DecodePage(body); err != nil || len(read) != n {
					b.Fatal(len(read), err)
				}
			}
		})
	}
}
