package bunqtest

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
)

// Hostile is a simulated API in which a share of the requests meets a fault: the session ends early, the rate limit
// is used up by others, or there is no answer or that of a gateway, in half of these cases after the request took
// effect. Requests that are passed to its Server meet no fault. The order of keys is random in every response of a
// [Server], whatever the seed.
type Hostile struct {
	*Server
	Rate float64 // of the faults, 0 to 1
	Seed uint64  // with the same seed and the same order of requests, the faults are the same

	requests atomic.Uint64
}

// ServeHTTP implements [http.Handler].
func (h *Hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	random := rand.New(rand.NewPCG(h.Seed, h.requests.Add(1))) //nolint:gosec // not secret
	switch fault := random.Float64() / h.Rate; {
	case fault < 0.2:
		h.mu.Lock()
		if open := h.sessions[r.Header.Get("X-Bunq-Client-Authentication")]; open != nil {
			open.expires = now()
		}
		h.mu.Unlock()
	case fault < 0.4:
		if random.IntN(2) == 0 {
			w.Header().Set("Retry-After", strconv.Itoa(random.IntN(90)))
		}
		h.Answer(w, r, http.StatusTooManyRequests, []byte(`{"Error":[{"error_description":"Too many requests."}]}`))
		return
	case fault < 0.7:
		h.Server.ServeHTTP(httptest.NewRecorder(), r) // the request takes effect
		fallthrough
	case fault < 1:
		fail(w, r, random)
		return
	}
	h.Server.ServeHTTP(w, r)
}

// fail closes the connection, does not answer, or answers as a gateway does.
func fail(w http.ResponseWriter, r *http.Request, random *rand.Rand) {
	switch status := 500 + random.IntN(5); status {
	case 501:
		panic(http.ErrAbortHandler)
	case 504:
		<-r.Context().Done()
	default:
		http.Error(w, "<html>Try again later.</html>", status)
	}
}
