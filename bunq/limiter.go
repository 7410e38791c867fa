package bunq

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// MaxReads is bunq's limit of reads within three seconds.
const MaxReads = 3

// penalty is the pause after a 429 without Retry-After: one source reports a penalty of 30 s.
const penalty = 30 * time.Second

// Limiter keeps API calls within bunq's rate limits, which apply to the address that calls come from: all clients of
// a program share one. It uses all that bunq allows, and serves the client first that was served longest ago. It is
// safe for concurrent use.
type Limiter struct {
	reads int

	mu      sync.Mutex
	windows map[string]*window // by host and name
}

// NewLimiter returns a limiter that allows so many reads within three seconds: MaxReads, or fewer to leave room for
// other programs behind the same address.
func NewLimiter(reads int) *Limiter {
	return &Limiter{reads: reads, windows: map[string]*window{}}
}

// Resume ends the pauses after HTTP status 429.
func (l *Limiter) Resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.windows {
		w.paused = time.Time{}
		w.update()
	}
}

// window is the state of one documented limit at one host: so many calls within any period. Limiter.mu guards it.
type window struct {
	name    string
	period  time.Duration
	slots   []slot        // one for each call that the limit allows
	paused  time.Time     // no call is made before, after a 429
	queue   []*waiter     // the waiting calls, by the time at which their client was last served
	changed chan struct{} // closed when the waiting calls must look again
}

type waiter struct{ *Client }

// slot is the permission for one call. It is taken until a period after the answer, since it is not known when
// exactly a request reaches bunq.
type slot struct {
	busy bool // until the answer
	free time.Time
}

// window returns the limit that applies. bunq does not define "endpoint": all reads count as one. The caller holds
// l.mu.
func (l *Limiter) window(host string, o Operation) *window {
	name, calls, period := o.String(), 5, 3*time.Second
	switch {
	case o.Method == http.MethodGet:
		name, calls = "reads", l.reads
	case o == CreateSessionServer:
		name, calls, period = "logins", 1, 30*time.Second
	}
	w, ok := l.windows[host+" "+name]
	if !ok {
		w = &window{name: name, period: period, slots: make([]slot, calls), changed: make(chan struct{})}
		l.windows[host+" "+name] = w
	}
	return w
}

// acquire waits until a request may be sent, and gives up at once if that is not before the deadline of its context.
// One other than a read does not wait: its caller tries again later. The caller must call release with what
// net/http returned.
func (l *Limiter) acquire(req *http.Request, c *Client, call *Call) (release func(*http.Response, error), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx, host := req.Context(), strings.TrimSuffix(strings.ToLower(req.URL.Host), ":443")
	w := l.window(host, call.Operation)
	me := &waiter{c}
	w.queue = append(w.queue, me)
	w.update()
	defer func() {
		w.queue = slices.DeleteFunc(w.queue, func(other *waiter) bool { return other == me })
		w.update()
	}()
	for start := time.Now(); ; call.Waited = time.Since(start) {
		next := w.next(slices.Index(w.queue, me))
		deadline, ok := ctx.Deadline()
		switch {
		case ctx.Err() == nil && !next.After(time.Now()):
			c.served[w] = time.Now()
			return l.occupy(w), nil //nolint:bodyclose // the caller closes it
		case ctx.Err() != nil, ok && next.After(deadline), call.Method != http.MethodGet:
			return nil, w.exceeded(next)
		}
		l.await(ctx, w.changed, next)
	}
}

// update sorts the queue and wakes the waiting calls, which may now have to wait for less or for too long.
func (w *window) update() {
	slices.SortStableFunc(w.queue, func(a, b *waiter) int { return a.served[w].Compare(b.served[w]) })
	close(w.changed)
	w.changed = make(chan struct{})
}

// await releases the lock while it waits.
func (l *Limiter) await(ctx context.Context, changed <-chan struct{}, next time.Time) {
	l.mu.Unlock()
	defer l.mu.Lock()
	select {
	case <-time.After(time.Until(next)):
	case <-changed:
	case <-ctx.Done():
	}
}

// next returns when the call at a position of the queue may be made at the earliest.
func (w *window) next(position int) time.Time {
	var free []time.Time
	for _, s := range w.slots {
		if s.busy {
			s.free = time.Now().Add(w.period)
		}
		free = append(free, latest(s.free, w.paused, time.Now()))
	}
	slices.SortFunc(free, time.Time.Compare)
	return free[position%len(free)].Add(time.Duration(position/len(free)) * w.period)
}

// occupy takes a free slot for a call. A call that never had a connection does not count.
func (l *Limiter) occupy(w *window) (release func(*http.Response, error)) {
	i := slices.IndexFunc(w.slots, func(s slot) bool { return !s.busy && !s.free.After(time.Now()) })
	w.slots[i].busy = true
	return func(resp *http.Response, err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		w.slots[i] = slot{free: time.Now().Add(w.period)}
		switch {
		case notConnected(err):
			w.slots[i] = slot{}
		case err == nil && resp.StatusCode == http.StatusTooManyRequests: // another program may make calls too
			w.paused = latest(w.paused, time.Now().Add(cmp.Or(retryAfter(resp.Header), penalty)))
		}
		w.update()
	}
}

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

// exceeded returns the error of a call that could be made too late only.
func (w *window) exceeded(next time.Time) error {
	err := fmt.Errorf("the limit of %d %s in %s, shared by all accounts, leaves no time for this call",
		len(w.slots), w.name, w.period)
	if wait := time.Until(w.paused); wait > 0 {
		err = fmt.Errorf("paused for %s after HTTP status 429", wait.Round(time.Second))
	}
	return &Error{Reason: ReasonRateLimited, RetryAfter: max(0, time.Until(next)), Err: err}
}
