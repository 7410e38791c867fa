package bunq_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

func TestObserverIsToldOfEachCallOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := newAPI(t, bunqtest.Options{Warning: "This endpoint is going away."}, devices(1)...)
		slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(2 * time.Second)
			api.ServeHTTP(w, r)
		})
		config, told := newConfig(t, slow), &recorder{}
		config.Observe = told.observe
		client := newClient(t, config)
		if _, err := list(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		_, err := client.DeviceServer(t.Context(), 99)

		type call struct {
			Operation string
			Status    int
			Failed    bool
		}
		want := []call{
			{"POST installation", 200, false}, {"POST device-server", 200, false}, {"POST session-server", 200, false},
			{"GET device-server", 200, false}, {"GET device-server/{id}", 404, true},
		}
		var got []call
		for _, c := range told.calls {
			got = append(got, call{c.String(), c.StatusCode, c.Err != nil})
			if uuid.Validate(c.RequestID) != nil || uuid.Validate(c.ResponseID) != nil || c.RequestID == c.ResponseID {
				t.Errorf("%s: the ids are %q and %q, want two UUIDs", c, c.RequestID, c.ResponseID)
			}
			if c.Warning != "This endpoint is going away." {
				t.Errorf("%s: the warning is %q", c, c.Warning)
			}
			if c.Duration != 2*time.Second {
				t.Errorf("%s: it took %s, want 2s", c, c.Duration)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("calls, -want +told:\n%s", diff)
		}
		if failed := told.calls[4]; failed.Err != apiError(t, err) || failed.Err.RequestID != failed.RequestID || failed.Err.ResponseID != failed.ResponseID {
			t.Errorf("the observer is told %+v, the caller %v", failed, err)
		}
	})
}

func TestCallWithoutAnswerHasNoStatus(t *testing.T) {
	t.Parallel()
	bank() // outside of the bubble
	synctest.Test(t, func(t *testing.T) {
		config, told := readerConfig(t, http.HandlerFunc(hanging)), &recorder{}
		config.Observe = told.observe
		ctx, cancel := contextFor(t, 5*time.Second)
		defer cancel()
		_, err := newClient(t, config).DeviceServer(ctx, 7)
		want := []bunq.Call{{
			Operation: bunq.ReadDeviceServer, Duration: 5 * time.Second, RequestID: told.calls[0].RequestID, Err: apiError(t, err),
		}}
		if diff := cmp.Diff(want, told.calls); diff != "" {
			t.Errorf("calls, -want +told:\n%s", diff)
		}
	})
}

func TestOperationsAreTheFiveOfTheContract(t *testing.T) {
	t.Parallel()
	var got []string
	for _, o := range bunq.Operations() {
		got = append(got, o.String())
	}
	want := []string{
		"POST installation", "POST device-server", "POST session-server", "GET device-server", "GET device-server/{id}",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLongWarningIsCut(t *testing.T) {
	t.Parallel()
	config, told := readerConfig(t, failing(http.StatusNotFound, map[string]string{"X-Bunq-Warning": strings.Repeat("é", 10_000) + "\xff"}, "")), &recorder{}
	config.Observe = told.observe
	_, err := list(t.Context(), newClient(t, config))
	expectReason(t, err, bunq.ReasonNotFound)
	if got, want := told.calls[0].Warning, strings.Repeat("é", 250); got != want {
		t.Errorf("the warning is %q of %d bytes, want %d", got, len(got), len(want))
	}
}
