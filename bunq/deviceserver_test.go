package bunq_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

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

// An object that cannot be read does not affect the others.
func TestDeviceServerInvalidObjects(t *testing.T) {
	for reason, object := range answers("invalid device servers") {
		client, calls := newClient(t, signed(http.StatusOK, `{"Response":[`+item(8)+`,`+object+`,`+item(6)+`]}`))
		all, err := list(t.Context(), client, credentials)
		if err != nil || len(all) != 2 || all[0].ID != 8 || all[1].ID != 6 || all[1].Created.IsZero() {
			t.Errorf("%s: read %v: %v", object, all, err)
		}
		if expectReason(t, (*calls)[0].Err, bunq.Reason(reason)); (*calls)[0].StatusCode != http.StatusOK {
			t.Errorf("%s: the call is %+v", object, (*calls)[0])
		}
		client, _ = newClient(t, signed(http.StatusOK, `{"Response":[`+object+`]}`))
		expectReason(t, read(t.Context(), client), bunq.Reason(reason))
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

func TestDeviceServersPagination(t *testing.T) {
	for want, paginations := range answers("Pagination") {
		requests, pages := 0, strings.Fields(paginations)
		client, _ := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			uri := "/v1/device-server?count=200" + []string{"", "&older_id=7", "&older_id=6"}[requests]
			if got := r.URL.RequestURI(); got != uri || r.Host != "public-api.sandbox.bunq.com" {
				t.Errorf("%s: request to %s", paginations, got)
			}
			requests++
			signed(http.StatusOK, `{"Response":[`+item(8-requests)+`],"Pagination":`+pages[requests-1]+`}`)(w, r)
		}))
		err := errorOf(list(t.Context(), client, credentials))
		if bunq.ReasonOf(err) == bunq.ReasonMalformed {
			requests = -requests
		}
		if strconv.Itoa(requests) != want {
			t.Errorf("%s: %d requests: %v", paginations, requests, err)
		}
	}
}

// Text from bunq ends up in terminals, labels and pages.
func TestTextBoundedAndPrintable(t *testing.T) {
	for _, text := range []string{
		"C1 \u0085 \u009b", "bidi \u202e \u2066 \u200f", "lines \u2028 \u2029 \n", "escape \x1b[31m \x7f",
		"x" + strings.Repeat("é", 10_000), strings.Repeat("\x01", 1000), "\ufeff\u00ad\u200b", "not UTF-8 \xff",
	} {
		quoted, _ := json.Marshal(text) // a string can always be encoded
		fields := fmt.Sprintf(`{"id":7,"description":%s,"ip":%[1]s,"status":%[1]s,"error_description":%[1]s}`, quoted)
		body := `{"Response":[{"DeviceServer":` + fields + `}],"Error":[` + fields + `]}`
		client, _ := newClient(t, signed(http.StatusOK, body))
		got, err := client.DeviceServer(t.Context(), credentials, 7)
		if err != nil {
			t.Fatal(err)
		}
		client, calls := newClient(t, unsigned(http.StatusNotFound, "X-Bunq-Warning", text, body))
		e := apiError(t, read(t.Context(), client))
		for _, shown := range []string{got.Description, got.IP, string(got.Status), e.Description, (*calls)[0].Warning} {
			isHidden := func(r rune) bool { return !unicode.IsPrint(r) }
			if shown == "" || len(shown) > 900 || !utf8.ValidString(shown) || strings.ContainsFunc(shown, isHidden) {
				t.Errorf("%q is shown as %q", text, shown)
			}
		}
	}
}

// BenchmarkList verifies and decodes a page.
func BenchmarkList(b *testing.B) {
	answer, items := httptest.NewRecorder(), strings.TrimSuffix(strings.Repeat(item(7)+",", 200), ",")
	signed(http.StatusOK, `{"Response":[`+items+`]}`)(answer, httptest.NewRequest(http.MethodGet, "/", nil))
	transport := roundTripper(func(*http.Request) (*http.Response, error) {
		body := io.NopCloser(bytes.NewReader(answer.Body.Bytes()))
		return &http.Response{StatusCode: http.StatusOK, Header: answer.Header(), Body: body}, nil
	})
	for b.Loop() {
		client, _ := connect(b, bunq.Config{Transport: transport}) // with a limiter of its own
		if all, err := list(b.Context(), client, credentials); err != nil || len(all) != 200 {
			b.Fatal(len(all), err)
		}
	}
}
