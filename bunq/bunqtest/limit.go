package bunqtest

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"bunq_exporter/bunq"
)

// window is the state of one rate limit.
type window struct {
	accepted []time.Time // the requests of the last seconds
	blocked  time.Time   // the end of the penalty after a 429
}

// checkLimit applies bunq's limits for each address and endpoint. All reads of device servers count as one endpoint.
func (s *Server) checkLimit(r *request) *apiError {
	if s.options.Unlimited {
		return nil
	}
	endpoint, most, span := r.operation.String(), 5, 3*time.Second
	switch {
	case r.Method == http.MethodGet:
		endpoint, most = "GET", 3
	case r.operation == bunq.CreateSessionServer:
		most, span = 1, 30*time.Second
	}
	w := s.windows[r.address+endpoint]
	wait := w.accept(most, span, s.options.Penalty)
	s.windows[r.address+endpoint] = w
	if wait <= 0 {
		return nil
	}
	const format = "Too many requests. You can do a maximum of %d calls per %d second to this endpoint."
	return &apiError{http.StatusTooManyRequests, fmt.Sprintf(format, most, int(span.Seconds())), wait}
}

// accept counts a request if the limit allows it, and otherwise returns the time until it does.
func (w *window) accept(most int, span, penalty time.Duration) time.Duration {
	now := time.Now()
	w.accepted = slices.DeleteFunc(w.accepted, func(t time.Time) bool { return now.Sub(t) >= span })
	wait := w.blocked.Sub(now)
	if len(w.accepted) == most {
		wait = max(wait, span-now.Sub(w.accepted[0]))
	}
	if wait <= 0 {
		w.accepted = append(w.accepted, now)
		return 0
	}
	w.blocked = now.Add(penalty)
	return max(wait, penalty)
}
