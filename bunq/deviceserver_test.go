package bunq_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
)

func TestDeviceServerFields(t *testing.T) {
	at := time.Date(2015, 6, 13, 23, 19, 16, 215235000, time.UTC)
	for object, want := range map[string]bunq.DeviceServer{
		`{"id":7,"created":"2015-06-13 23:19:16.215235","updated":"2015-06-13 23:19:16","status":"A"}`: {
			ID: 7, Created: at, Updated: at.Truncate(time.Second), Status: "A",
		},
		`{"status":"€","avatar":{"uuid":null},"id":9223372036854775807}`:                   {ID: 1<<63 - 1, Status: "€"},
		`{"id":7,"created":null,"updated":null,"description":null,"ip":null,"status":"A"}`: {ID: 7, Status: "A"},
		`{"id":7,"created":"2015-02-31 25:61:61","updated":143,"ip":"::7","status":"A"}`:   {ID: 7, IP: "::7", Status: "A"},
	} {
		client, calls := newClient(t, signed(http.StatusOK, `{"Response":[{"DeviceServer":`+object+`}]}`))
		got, err := client.DeviceServer(t.Context(), credentials, want.ID)
		all, errList := list(t.Context(), client, credentials)
		diff := cmp.Diff([]bunq.DeviceServer{want, want}, append(all, got))
		if partial := (*calls)[1].Err; diff != "" || err != nil || errList != nil || partial != nil {
			t.Errorf("%v, %v, %v, -want +got:\n%s", err, errList, partial, diff)
		}
	}
}

func TestDeviceServerMalformedAnswers(t *testing.T) {
	expect := func(body string, isList bool) {
		client, _ := newClient(t, signed(http.StatusOK, body))
		err := read(t.Context(), client)
		if expectReason(t, err, bunq.ReasonMalformed); strings.Contains(err.Error(), token) {
			t.Errorf("the error is %v", err)
		}
		if err = errorOf(list(t.Context(), client, credentials)); !isList {
			expectReason(t, err, bunq.ReasonMalformed)
		} else if err != nil {
			t.Errorf("list of %s: %v", body, err)
		}
	}
	for want, body := range answers("answers that are not device server 7") {
		expect(body, want == "list")
	}
	expect(strings.Repeat(`{"Response":[`, 100_000), false)
	expect(`{"Response":[`+strings.Repeat(item(8)+",", 200)+item(7)+`]}`, false) // one more than a page has
	expect(`{"Response":[`+item(7)+`],"Meta":"`+strings.Repeat("x", 4<<20)+`"}`, false)
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
