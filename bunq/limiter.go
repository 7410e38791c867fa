package bunq

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// penalty is how long bunq is left alone after a 429 that does not say for how long: one source tells of 30 s.
const penalty = 30 * time.Second

// rate is one of bunq's documented limits: so many calls within any time as long as span.
type rate struct {
	name string // of what shares it
	most int
	span time.Duration
}

func (r rate) String() string {
	return fmt.Sprintf("bunq allows %s from one address, all accounts together", r.limit())
}

func (r rate) limit() string {
	return fmt.Sprintf("%d %s in %d s", r.most, r.name, int(r.span.Seconds()))
}

const readings = "readings"

// rateOf returns the limit that an operation falls under. "Endpoint" is not defined by bunq: all readings count as one.
func rateOf(o Operation) rate {
	switch {
	case o.Method == http.MethodGet:
		return rate{readings, 3, 3 * time.Second}
	case o == CreateSessionServer:
		return rate{"login", 1, loginInterval}
	}
	return rate{o.String(), 5, 3 * time.Second}
}

// Limiter keeps within bunq's rate limits, which belong to the address that calls come from: all clients of a program
// share one. It gives all that bunq allows, to the client first that had its last turn longest ago. It is safe for
// concurrent use, and does nothing while nobody waits. The zero Limiter allows everything: it is for measuring, with an
// API that does too.
type Limiter struct {
	mu      sync.Mutex
	windows map[string]*window // by host of the API and name of the rate
}

// NewLimiter returns a limiter that has seen no calls.
func NewLimiter() *Limiter { return &Limiter{windows: map[string]*window{}} }

// window is what is remembered of one rate at one host. Limiter.mu guards it.
type window struct {
	rate
	permits  []*permit     // that count at the moment, at most as many as the rate allows
	closed   time.Time     // until when nothing goes, after a 429
	quickest time.Duration // answer so far; 0 before the first
	queue    []*turn
	timer    *time.Timer // for the next turn; runs only while somebody waits
}

// turns is when a client had its last turn in each window. Limiter.mu guards it.
type turns map[*window]time.Time

// turn is a call that waits. Limiter.mu guards it until it is decided.
type turn struct {
	ctx     context.Context //nolint:containedctx // its deadline may move while it waits
	served  turns           // its client's
	decided chan struct{}
	permit  *permit
	err     error
}

// permit is leave for one call. It counts until a span after the call's answer: when a call arrives at bunq is not known
// any better.
type permit struct {
	limiter *Limiter
	window  *window
	waited  time.Duration
	begun   time.Time
	free    time.Time // when it counts no more; zero while the call is under way
}

func (p *permit) counts(now time.Time) bool { return p.free.IsZero() || p.free.After(now) }

// Use is how far one of bunq's limits is used up.
type Use struct {
	Host    string    // of the API
	Limit   string    // such as "3 readings in 3 s"
	Counted int       // calls that count towards it now
	Waiting int       // calls that wait for their turn
	Closed  time.Time // until when none is made, after a 429; zero if none is held back for that
}

// Uses returns how far every limit that a call has ever come under is used up, by host and limit.
func (l *Limiter) Uses() []Use {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	var uses []Use
	for _, key := range slices.Sorted(maps.Keys(l.windows)) {
		w := l.windows[key]
		host, _, _ := strings.Cut(key, " ")
		use := Use{Host: host, Limit: w.limit(), Waiting: len(w.queue)}
		for _, p := range w.permits {
			if p.counts(now) {
				use.Counted++
			}
		}
		if w.closed.After(now) {
			use.Closed = w.closed
		}
		uses = append(uses, use)
	}
	return uses
}

// acquire waits for leave to make a call, and gives up at once where that cannot come before ctx's deadline. The caller
// must end the permit.
func (l *Limiter) acquire(ctx context.Context, host string, o Operation, served turns) (leave *permit, waited time.Duration, err error) {
	if l.windows == nil {
		return &permit{limiter: l, window: &window{}}, 0, nil
	}
	t := &turn{ctx: ctx, served: served, decided: make(chan struct{})}
	w := l.enqueue(host, rateOf(o), t)
	select {
	case <-t.decided: // even if ctx has ended: the call tells of that
		return t.permit, 0, t.err
	default:
	}
	start := time.Now()
	select {
	case <-t.decided:
	case <-ctx.Done():
		l.leave(w, t)
	}
	return t.permit, time.Since(start), t.err
}

func (l *Limiter) enqueue(host string, r rate, t *turn) *window {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := host + " " + r.name
	w, ok := l.windows[key]
	if !ok {
		w = &window{rate: r}
		l.windows[key] = w
	}
	w.queue = append(w.queue, t)
	l.advance(w)
	return w
}

// leave ends a turn that nobody waits for any more, unless it has come at that very moment.
func (l *Limiter) leave(w *window, t *turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(w.queue, t); i >= 0 {
		w.queue = slices.Delete(w.queue, i, i+1)
		t.err = fmt.Errorf("%s: %w", w.rate, t.ctx.Err())
		l.advance(w)
	}
}

// advance lets go what may, and turns away what cannot go in its time. The caller holds l.mu.
func (l *Limiter) advance(w *window) {
	now := time.Now()
	w.permits = slices.DeleteFunc(w.permits, func(p *permit) bool { return !p.counts(now) })
	w.sort()
	for len(w.queue) > 0 && len(w.permits) < w.most && !w.closed.After(now) {
		t := w.queue[0]
		w.queue = w.queue[1:]
		t.permit = &permit{limiter: l, window: w, begun: now}
		w.permits = append(w.permits, t.permit)
		t.served[w] = now
		close(t.decided)
		w.sort()
	}
	if w.timer != nil {
		w.timer.Stop()
	}
	if len(w.queue) == 0 {
		return
	}
	if next := w.turnAway(now); len(w.queue) > 0 {
		w.timer = time.AfterFunc(next.Sub(now), func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.advance(w)
		})
	}
}

// sort puts first whose client had its last turn longest ago. Whoever comes at a fixed time in each interval would else
// find the same others before it for ever.
func (w *window) sort() {
	slices.SortStableFunc(w.queue, func(a, b *turn) int { return a.served[w].Compare(b.served[w]) })
}

// turnAway ends the turns that cannot be of use in their time even if bunq is as quick as it ever was, and returns when
// the next may come.
func (w *window) turnAway(now time.Time) time.Time {
	free := make([]time.Time, w.most)
	for i := range free {
		switch {
		case i >= len(w.permits):
			free[i] = now
		case w.permits[i].free.IsZero():
			free[i] = now.Add(w.span)
		default:
			free[i] = w.permits[i].free
		}
		if free[i].Before(w.closed) {
			free[i] = w.closed
		}
	}
	slices.SortFunc(free, time.Time.Compare)
	waiting := w.queue[:0]
	for _, t := range w.queue {
		place := len(waiting)
		comes := free[place%w.most].Add(time.Duration(place/w.most) * (w.span + w.quickest))
		if deadline, ok := t.ctx.Deadline(); ok && comes.Add(w.quickest).After(deadline) {
			t.err = w.full(now)
			close(t.decided)
			continue
		}
		waiting = append(waiting, t)
	}
	clear(w.queue[len(waiting):])
	w.queue = waiting
	return free[0]
}

// full says why a turn would come too late.
func (w *window) full(now time.Time) error {
	if w.closed.After(now) {
		return fmt.Errorf("bunq has answered 429, so it is left alone for %s", w.closed.Sub(now).Round(time.Second))
	}
	if slices.ContainsFunc(w.permits, func(p *permit) bool { return p.free.IsZero() && now.Sub(p.begun) > w.span }) {
		return fmt.Errorf("%s, and it has not answered earlier ones yet", w.rate)
	}
	if w.name != readings {
		return fmt.Errorf("%s, and the turn of this one would come too late: it is tried again in a later scrape", w.rate)
	}
	return fmt.Errorf("%s, and the turn of this one would come too late: scrape less often, or raise scrape_timeout", w.rate)
}

// end says how the call was answered, or why not. One that never left does not count. After a 429 all the same, since
// another program behind this address makes calls too, bunq is left alone.
func (p *permit) end(resp *http.Response, err error) {
	if unsent(err) {
		p.giveBack()
		return
	}
	p.limiter.mu.Lock()
	defer p.limiter.mu.Unlock()
	now, w := time.Now(), p.window
	p.free = now.Add(w.span)
	if took := now.Sub(p.begun); err == nil && (w.quickest == 0 || took < w.quickest) {
		w.quickest = took
	}
	if err == nil && resp.StatusCode == http.StatusTooManyRequests {
		pause := min(cmp.Or(retryAfter(resp.Header.Get("Retry-After"), now), penalty), longestRetryAfter)
		w.closed = slices.MaxFunc([]time.Time{w.closed, now.Add(pause)}, time.Time.Compare)
	}
	p.limiter.advance(w)
}

// giveBack is for a call that is not made.
func (p *permit) giveBack() {
	p.limiter.mu.Lock()
	defer p.limiter.mu.Unlock()
	p.free = time.Now()
	p.limiter.advance(p.window)
}
