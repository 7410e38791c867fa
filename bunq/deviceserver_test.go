package bunq_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
)

func TestDeviceServerIsReadAsBunqSaysIt(t *testing.T) {
	t.Parallel()
	at := time.Date(2015, 6, 13, 23, 19, 16, 215235000, time.UTC)
	for _, test := range []struct {
		name, object string
		want         bunq.DeviceServer
	}{
		{
			"as documented",
			`{"id":7,"created":"2015-06-13 23:19:16.215235","updated":"2015-06-30 09:12:31.981573","description":"Mainframe23 in Amsterdam","ip":"255.255.255.255","status":"ACTIVE"}`,
			bunq.DeviceServer{ID: 7, Created: at, Updated: time.Date(2015, 6, 30, 9, 12, 31, 981573000, time.UTC), Description: "Mainframe23 in Amsterdam", IP: "255.255.255.255", Status: bunq.StatusActive},
		},
		{
			"times null",
			`{"id":7,"created":null,"updated":null,"description":"a server","ip":"192.0.2.7","status":"BLOCKED"}`,
			bunq.DeviceServer{ID: 7, Description: "a server", IP: "192.0.2.7", Status: bunq.StatusBlocked},
		},
		{
			"no more than the id and the status",
			`{"status":"NEEDS_CONFIRMATION","id":7}`,
			bunq.DeviceServer{ID: 7, Status: bunq.StatusNeedsConfirmation},
		},
		{
			"times of whole seconds and of milliseconds",
			`{"id":7,"created":"2015-06-13 23:19:16","updated":"2015-06-13 23:19:16.215","status":"OBSOLETE"}`,
			bunq.DeviceServer{ID: 7, Created: at.Truncate(time.Second), Updated: at.Truncate(time.Millisecond), Status: bunq.StatusObsolete},
		},
		{
			"a status that bunq does not document",
			`{"id":7,"status":"ON_HOLIDAY"}`,
			bunq.DeviceServer{ID: 7, Status: "ON_HOLIDAY"},
		},
		{
			"keys that bunq does not document",
			`{"id":7,"avatar":{"uuid":null},"status":"ACTIVE","user_agent":["a","b"]}`,
			bunq.DeviceServer{ID: 7, Status: bunq.StatusActive},
		},
		{
			"null text and IPv6",
			`{"id":7,"description":null,"ip":"2001:db8::7","status":"ACTIVE"}`,
			bunq.DeviceServer{ID: 7, IP: "2001:db8::7", Status: bunq.StatusActive},
		},
		{
			"text beyond ASCII",
			`{"id":9223372036854775807,"description":"café \u20ac \"x\"\n","status":"ACTIVE"}`,
			bunq.DeviceServer{ID: 9223372036854775807, Description: "café € \"x\"\n", Status: bunq.StatusActive},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, readerConfig(t, signed(http.StatusOK, `{"Response":[{"DeviceServer":`+test.object+`}]}`)))
			got, err := client.DeviceServer(t.Context(), test.want.ID)
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("one: %v, -want +got:\n%s", err, diff)
			}
			if got.Created.Location() != time.UTC || got.Updated.Location() != time.UTC {
				t.Errorf("times are in %s and %s, want UTC", got.Created.Location(), got.Updated.Location())
			}
			all, err := list(t.Context(), client)
			if diff := cmp.Diff([]bunq.DeviceServer{test.want}, all); diff != "" || err != nil {
				t.Errorf("list: %v, -want +got:\n%s", err, diff)
			}
		})
	}
}

func TestStatusesAreTheFourThatBunqDocuments(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff([]bunq.Status{"ACTIVE", "BLOCKED", "NEEDS_CONFIRMATION", "OBSOLETE"}, bunq.Statuses()); diff != "" {
		t.Error(diff)
	}
}
