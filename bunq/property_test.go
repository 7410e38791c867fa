package bunq_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"bunq_exporter/bunq"
)

// limit is a documented rate limit.
type limit struct {
	operation bunq.Operation
	calls     int
	period    time.Duration
}

var limits = []limit{
	{bunq.ListDeviceServers, 1, 3 * time.Second}, {bunq.ReadDeviceServer, 2, 3 * time.Second},
	{bunq.ReadDeviceServer, 3, 3 * time.Second}, {bunq.CreateDeviceServer, 5, 3 * time.Second},
	{bunq.CreateSessionServer, 1, 30 * time.Second},
}

// plannedCall is a random call, and what became of it. Its times count from the start.
type plannedCall struct {
	client     int
	at, within time.Duration // within a day, each call can be made
	travel     time.Duration // from the request to the answer
	outcome    string        // "404", the operation of a network error, or the Retry-After of a 429

	isSent                bool
	sent, answered, ended time.Duration
	free                  time.Duration // when it does not count any more
	until                 time.Duration // end of the pause after a 429
}

const day = 24 * time.Hour

var pauses = map[string]time.Duration{
	"": 30 * time.Second, "7": 7 * time.Second, "60": time.Minute, "2147483647": 5 * time.Minute,
}

// drawCalls draws calls whose events often fall together.
var drawCalls = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *plannedCall {
	halves := func(least, most int) time.Duration {
		return time.Duration(rapid.IntRange(least, most).Draw(t, "halves")) * time.Second / 2
	}
	within := []time.Duration{time.Second / 2, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second, day}
	outcomes := strings.Split("404 404 404 404 404 404 dial proxyconnect read 7 60 2147483647 ", " ")
	return &plannedCall{
		client: rapid.IntRange(0, 3).Draw(t, "client"), at: halves(0, 80), travel: halves(1, 16),
		within: rapid.SampledFrom(within).Draw(t, "within"), outcome: rapid.SampledFrom(outcomes).Draw(t, "outcome"),
	}
}), 1, 40)

func (p *plannedCall) send(ctx context.Context, start time.Time, period time.Duration) (*http.Response, error) {
	p.isSent, p.sent = true, time.Since(start)
	select {
	case <-time.After(p.travel):
	case <-ctx.Done():
	}
	p.answered = time.Since(start)
	p.free = p.answered + period
	pause, isLimited := pauses[p.outcome]
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case isLimited:
		p.until = p.answered + pause
		return fixed(http.StatusTooManyRequests, http.Header{"Retry-After": {p.outcome}}, nil).RoundTrip(nil)
	case p.outcome == "404":
		return fixed(http.StatusNotFound, nil, nil).RoundTrip(nil)
	case p.outcome != "read":
		p.free = p.answered
	}
	return nil, &net.OpError{Op: p.outcome, Err: io.EOF}
}

// makeCalls makes the calls with clients that share a limiter.
func makeCalls(t *testing.T, calls []*plannedCall, l limit) {
	type key struct{}
	start, limiter := time.Now(), bunq.NewLimiter(min(l.calls, bunq.MaxReads))
	transport := roundTripper(func(r *http.Request) (*http.Response, error) {
		return r.Context().Value(key{}).(*plannedCall).send(r.Context(), start, l.period)
	})
	var clients [4]*bunq.Client
	for i := range clients {
		clients[i], _ = connect(t, bunq.Config{Transport: transport, Limiter: limiter})
	}
	var wg sync.WaitGroup
	for _, p := range calls {
		wg.Go(func() {
			time.Sleep(p.at)
			ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, p), p.within)
			defer cancel()
			_ = makers[l.operation](ctx, clients[p.client])
			p.ended = time.Since(start)
		})
	}
	wg.Wait()
}

func TestLimiterProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		calls, l := drawCalls.Draw(rt, "calls"), rapid.SampledFrom(limits).Draw(rt, "limit")
		synctest.Test(t, func(t *testing.T) { makeCalls(t, calls, l) })
		slices.SortStableFunc(calls, func(a, b *plannedCall) int { return int(a.sent - b.sent) })
		served := map[int]time.Duration{}
		for _, p := range calls {
			problems := p.problems(calls, l, served)
			for _, what := range slices.Sorted(maps.Keys(problems)) {
				if problems[what] {
					rt.Errorf("%s: %+v", what, *p)
				}
			}
			if p.isSent {
				served[p.client] = p.sent
			}
		}
	})
}

// problems returns what may be wrong with a call. The others are in the order in which they were sent, and served says
// when each client was served before this call.
func (p *plannedCall) problems(calls []*plannedCall, l limit, served map[int]time.Duration) map[string]bool {
	var inWindow, taken int
	var isPaused, inPause, isUnfair bool
	var free []time.Duration // of the limit, as far as the call can know it
	earliest, decided := p.at, p.ended
	if p.isSent {
		decided = p.sent
	}
	for _, other := range calls {
		if other.isSent {
			if other.free > other.answered && other.answered >= p.answered && other.sent < p.free {
				inWindow++
			}
			if other != p && other.sent <= decided && other.free >= decided {
				taken++
			}
			isPaused = isPaused || other.until >= decided
			inPause = inPause || p.isSent && other.answered < p.sent && p.sent < other.until
			if other.sent < p.at && other.free > p.at {
				free = append(free, min(other.free, p.at+l.period))
			}
			if other.answered < p.at {
				earliest = max(earliest, other.until)
			}
		}
		waits := other.at < p.sent && (other.sent > p.sent || !other.isSent && other.ended > p.sent)
		isUnfair = isUnfair || waits && served[p.client] > served[other.client] &&
			!slices.ContainsFunc(calls, func(first *plannedCall) bool {
				return first.client == other.client && first.isSent && first.sent == p.sent
			})
	}
	if len(free) == l.calls {
		earliest = max(earliest, slices.Min(free))
	}
	fits := earliest <= p.at+p.within
	isRead := l.operation.Method == http.MethodGet
	return map[string]bool{
		"more calls than allowed within the period": p.isSent && p.free > p.answered && inWindow > l.calls,
		"in the pause after a 429":                  inPause,
		"a client that was served before waits":     isUnfair,
		"waited or given up without need":           (decided > p.at || !p.isSent) && taken < l.calls && !isPaused,
		"never made":                                isRead && !p.isSent && p.within == day,
		"not given up at once":                      (!fits || !isRead) && decided > p.at || !fits && p.isSent,
	}
}

// drawPages draws the answers to the requests of a list, the requests, and what the client must make of the answers.
// No older_id is that of a device server.
func drawPages(t *rapid.T) (bodies, requests, want []string) {
	objects, ends := []string{"", "", ""}, []string{"again"} // "" is a valid object
	for _, object := range answers("invalid device servers") {
		objects = append(objects, object)
	}
	for _, end := range answers("ends of Pagination") {
		ends = append(ends, end)
	}
	id, olderID, request := int64(1<<40), int64(math.MaxInt64), "/v1/device-server?count=200"
	for n := rapid.IntRange(1, 5).Draw(t, "pages"); n > 0; n-- {
		drawn, ids := rapid.SliceOfN(rapid.SampledFrom(objects), 0, 8).Draw(t, "objects"), []int64{}
		for i, object := range drawn {
			if object == "" {
				id -= rapid.Int64Range(1, 1<<30).Draw(t, "step")
				drawn[i], ids = item(int(id)), append(ids, id)
			}
		}
		next, pagination, result := rapid.Int64Range(olderID/3, olderID-1).Draw(t, "older_id"), "again", ""
		if n == 1 {
			pagination, next = rapid.SampledFrom(ends).Draw(t, "end"), olderID
		}
		isLast := strings.Contains(pagination, "null") || pagination == "{}" || pagination == "[]"
		if result = fmt.Sprint(ids, isLast); n == 1 && !isLast {
			result = "malformed"
		}
		invalid := len(drawn) - len(ids)
		result = fmt.Sprint(result, invalid, http.StatusOK, invalid > 0 || result == "malformed")
		url := rapid.SampledFrom([]string{"/v1/device-server?count=9&", "https://attacker.example/?"}).Draw(t, "url")
		pagination = strings.ReplaceAll(pagination, "again", fmt.Sprintf(`{"older_url":"%solder_id=%d"}`, url, next))
		bodies = append(bodies, fmt.Sprintf(`{"Response":[%s],"Pagination":%s}`, strings.Join(drawn, ","), pagination))
		requests, want = append(requests, request), append(want, result)
		olderID, request = next, fmt.Sprintf("/v1/device-server?count=200&older_id=%d", next)
	}
	return bodies, requests, want
}

func TestPagesProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		bodies, requests, want := drawPages(rt)
		var requested, got []string
		transport := roundTripper(func(r *http.Request) (*http.Response, error) {
			requested = append(requested, r.URL.RequestURI())
			if len(requested) > len(bodies) || r.URL.Host != "public-api.sandbox.bunq.com" {
				return nil, io.EOF
			}
			return fixed(http.StatusOK, nil, []byte(bodies[len(requested)-1])).RoundTrip(r)
		})
		synctest.Test(t, func(t *testing.T) {
			client, calls := connect(t, bunq.Config{Transport: transport})
			for page, err := range client.DeviceServers(t.Context(), bunq.Credentials{Token: token}) {
				ids := []int64{}
				for _, d := range page.DeviceServers {
					ids = append(ids, d.ID)
				}
				result, call := fmt.Sprint(ids, page.Last), (*calls)[len(*calls)-1]
				if err != nil {
					result = string(bunq.ReasonOf(err))
				}
				got = append(got, fmt.Sprint(result, page.Invalid, call.StatusCode, call.Err != nil))
			}
		})
		if diff := cmp.Diff([][]string{requests, want}, [][]string{requested, got}); diff != "" {
			rt.Errorf("requests and pages, -want +got:\n%s", diff)
		}
	})
}
