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
	client := newClient(t, newConfig(t, api))
	var got []bunq.DeviceServer
	var sizes []int
	var older []int64
	for len(older) == 0 || older[len(older)-1] != 0 {
		page, err := client.DeviceServers(t.Context(), append([]int64{0}, older...)[len(older)])
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page.DeviceServers...)
		sizes, older = append(sizes, len(page.DeviceServers)), append(older, page.Older)
	}
	if diff := cmp.Diff(api.Handler.(*bunqtest.Server).DeviceServers(), got); diff != "" {
		t.Errorf("device servers, -in bunq +read:\n%s", diff)
	}
	if diff := cmp.Diff([]int{200, 200, 51}, sizes); diff != "" { // the client's own is one more
		t.Errorf("sizes of the pages, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]int64{252, 52, 0}, older); diff != "" {
		t.Errorf("where the next page begins, -want +got:\n%s", diff)
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

func TestPageThatFailsIsEmpty(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"maintenance":              signed(http.StatusServiceUnavailable, ""),
		"the second item is wrong": signed(http.StatusOK, `{"Response":[`+item(7)+`,{}]}`),
		"the link is wrong":        signed(http.StatusOK, `{"Response":[`+item(7)+`],"Pagination":{"older_url":"%"}}`),
	} {
		pages := count(answer)
		page, err := newClient(t, readerConfig(t, pages)).DeviceServers(t.Context(), 0)
		if diff := cmp.Diff(bunq.Page{}, page); diff != "" || err == nil {
			t.Errorf("%s: the error is %v, and beside it comes:\n%s", name, err, diff)
		}
		if requests, _ := pages.seen("GET"); len(requests) != 1 {
			t.Errorf("%s: it sent %q, want one request", name, requests)
		}
	}
}

func TestDeviceServerThatIsNotBelowOlderIDIsMalformed(t *testing.T) {
	t.Parallel()
	client := newClient(t, readerConfig(t, signed(http.StatusOK, `{"Response":[`+item(7)+`]}`)))
	if _, err := client.DeviceServers(t.Context(), 8); err != nil {
		t.Error(err)
	}
	_, err := client.DeviceServers(t.Context(), 7)
	expectReason(t, err, bunq.ReasonMalformed)
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
			page, err := newClient(t, readerConfig(t, signed(http.StatusOK, test.body))).DeviceServers(t.Context(), 0)
			if err != nil || len(page.DeviceServers) != test.want || page.Older != 0 {
				t.Errorf("the page is %+v (%v), want %d device servers and none after it", page, err, test.want)
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
				id, link := 7, test.link
				if r.URL.Query().Has("older_id") {
					id, link = 6, "null"
				}
				signed(http.StatusOK, `{"Response":[`+item(id)+`],"Pagination":{"older_url":`+link+`}}`)(w, r)
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
				items, older := item(7), "7"
				if strings.Contains(r.URL.RawQuery, "older_id") {
					items, older = "", second
				}
				signed(http.StatusOK, `{"Response":[`+items+`],"Pagination":{"older_url":"/v1/device-server?older_id=`+older+`"}}`)(w, r)
			}))
			got, err := list(t.Context(), newClient(t, readerConfig(t, pages)))
			expectReason(t, err, bunq.ReasonMalformed)
			if requests, _ := pages.seen(""); len(got) != 1 || len(requests) != 2 {
				t.Errorf("%d device servers from %q, want the first page and two requests", len(got), requests)
			}
		})
	}
}
