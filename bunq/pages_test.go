package bunq_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// item is a device server as bunq writes it.
func item(id int) string {
	return fmt.Sprintf(`{"DeviceServer":{"id":%d,"created":"2015-06-13 23:19:16.215235","updated":"2015-06-13 23:19:16.215235",`+
		`"description":"a server","ip":"192.0.2.7","status":"ACTIVE"}}`, id)
}

func TestLongListComesInPagesNewestFirst(t *testing.T) {
	t.Parallel()
	api := count(newAPI(t, bunqtest.Options{}, devices(450)...))
	var got []bunq.DeviceServer
	var sizes []int
	var last []bool
	for page, err := range newClient(t, newConfig(t, api)).DeviceServers(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page.DeviceServers...)
		sizes, last = append(sizes, len(page.DeviceServers)), append(last, page.Last)
	}
	if diff := cmp.Diff(api.Handler.(*bunqtest.Server).DeviceServers(), got); diff != "" {
		t.Errorf("device servers, -in bunq +read:\n%s", diff)
	}
	if diff := cmp.Diff([]int{200, 200, 51}, sizes); diff != "" { // the client's own is one more
		t.Errorf("sizes of the pages, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]bool{false, false, true}, last); diff != "" {
		t.Errorf("last page, -want +got:\n%s", diff)
	}
	requests, _ := api.seen("GET")
	want := []string{
		"GET /v1/device-server?count=200",
		"GET /v1/device-server?count=200&older_id=252",
		"GET /v1/device-server?count=200&older_id=52",
	}
	if diff := cmp.Diff(want, requests); diff != "" {
		t.Errorf("requests, -want +sent:\n%s", diff)
	}
}

func TestStoppingEarlyAsksForNoFurtherPage(t *testing.T) {
	t.Parallel()
	api := count(signed(http.StatusOK, `{"Response":[`+item(7)+`],"Pagination":{"older_url":"/v1/device-server?older_id=7"}}`))
	for page, err := range newClient(t, readerConfig(t, api)).DeviceServers(t.Context()) {
		if err != nil || page.Last {
			t.Errorf("the page is %+v (%v), want one that is not the last", page, err)
		}
		break
	}
	if requests, _ := api.seen(""); len(requests) != 1 {
		t.Errorf("it sent %q, want one request", requests)
	}
}

func TestListEndsWithTheFirstError(t *testing.T) {
	t.Parallel()
	pages := count(signed(http.StatusServiceUnavailable, ""))
	var errs int
	for page, err := range newClient(t, readerConfig(t, pages)).DeviceServers(t.Context()) {
		expectReason(t, err, bunq.ReasonMaintenance)
		if diff := cmp.Diff(bunq.Page{}, page); diff != "" {
			t.Errorf("a page beside the error:\n%s", diff)
		}
		errs++
	}
	if requests, _ := pages.seen("GET"); errs != 1 || len(requests) != 1 {
		t.Errorf("%d errors for %q, want one of each", errs, requests)
	}
}

func TestShortListIsOnePage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body string
		want int
	}{
		"empty":                  {`{"Response":[],"Pagination":{"future_url":null,"newer_url":null,"older_url":null}}`, 0},
		"without Pagination":     {`{"Response":[` + item(7) + `]}`, 1},
		"Pagination null":        {`{"Response":[` + item(7) + `],"Pagination":null}`, 1},
		"Pagination empty":       {`{"Response":[` + item(7) + `],"Pagination":{}}`, 1},
		"keys of a later bunq":   {`{"Meta":[],"Response":[` + item(7) + `],"Pagination":{"total":"many"}}`, 1},
		"newer ones, but no old": {`{"Response":[` + item(7) + `],"Pagination":{"newer_url":"/v1/device-server?newer_id=7","older_url":null}}`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pages := 0
			for page, err := range newClient(t, readerConfig(t, signed(http.StatusOK, test.body))).DeviceServers(t.Context()) {
				if err != nil || len(page.DeviceServers) != test.want || !page.Last {
					t.Errorf("the page is %+v (%v), want %d device servers and the last", page, err, test.want)
				}
				pages++
			}
			if pages != 1 {
				t.Errorf("%d pages, want 1", pages)
			}
		})
	}
}

// A link decides only which page is next: neither where the token goes nor how often.
func TestLinkToOlderOnesLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	const second = "GET /v1/device-server?count=200&older_id=7"
	for _, test := range []struct{ name, link, want string }{
		{"as documented", `"/v1/device-server?older_id=7&count=200"`, second},
		{"another host", `"https://attacker.example/v1/device-server?older_id=7"`, second},
		{"another path", `"/v1/user/1/payment?older_id=7"`, second},
		{"another page size", `"?count=1&older_id=7&newer_id=3"`, second},
		{"no id", `"/v1/device-server?count=200"`, ""},
		{"no number", `"/v1/device-server?older_id=seven"`, ""},
		{"id 0", `"/v1/device-server?older_id=0"`, ""},
		{"negative id", `"/v1/device-server?older_id=-7"`, ""},
		{"id beyond 64 bits", `"/v1/device-server?older_id=9223372036854775808"`, ""},
		{"empty", `""`, ""},
		{"no address", `"http://[older_id=7"`, ""},
		{"no link", `7`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			pages := count(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				link := test.link
				if r.URL.Query().Has("older_id") {
					link = "null"
				}
				signed(http.StatusOK, `{"Response":[`+item(7)+`],"Pagination":{"older_url":`+link+`}}`)(w, r)
			}))
			_, err := list(t.Context(), newClient(t, readerConfig(t, pages)))
			requests, _ := pages.seen("")
			if test.want == "" {
				expectReason(t, err, bunq.ReasonMalformed)
			} else if err != nil || len(requests) != 2 || requests[1] != test.want {
				t.Errorf("requests are %q (%v), want the second to be %q", requests, err, test.want)
			}
			if test.want == "" && len(requests) != 1 {
				t.Errorf("requests are %q, want one", requests)
			}
		})
	}
}

func TestListWhoseIDsDoNotFallIsMalformed(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]string{"the same": "7", "higher": "8"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pages := count(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				older := "7"
				if strings.Contains(r.URL.RawQuery, "older_id") {
					older = second
				}
				signed(http.StatusOK, `{"Response":[`+item(7)+`],"Pagination":{"older_url":"/v1/device-server?older_id=`+older+`"}}`)(w, r)
			}))
			got, err := list(t.Context(), newClient(t, readerConfig(t, pages)))
			expectReason(t, err, bunq.ReasonMalformed)
			if requests, _ := pages.seen(""); len(got) != 1 || len(requests) != 2 {
				t.Errorf("%d device servers from %q, want the first page and two requests", len(got), requests)
			}
		})
	}
}
