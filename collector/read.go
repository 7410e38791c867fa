package collector

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"bunq_exporter/bunq"
)

// Result is what a scrape read of an account.
type Result struct {
	Start    time.Time // zero before the first scrape
	Duration time.Duration

	Watched       []int64                     // the configured ids, and that of the exporter's own device server if known
	DeviceServers map[int64]bunq.DeviceServer // the watched ones that were read
	Unexpected    []bunq.DeviceServer         // on the account, but not watched
	Counts        map[bunq.Status]int         // of all on the account; nil if the list was not read to its end
	Answered      bool                        // bunq answered for the device servers, if not for all of them
	Err           error                       // that ended the read early
}

// read is a read in flight. Overlapping scrapes share it.
type read struct {
	deadline time.Time
	done     chan struct{}

	mu     sync.Mutex
	result Result
	ended  bool
	own    int64 // the exporter's own device server; 0 if unknown
	seen   map[int64]bool
	counts map[bunq.Status]int
}

// scrape returns what bunq answers now, or as much of it as is known when ctx ends.
func (a *Account) scrape(ctx context.Context) Result {
	deadline, _ := ctx.Deadline()
	for {
		r, joined := a.join(ctx)
		select {
		case <-r.done:
			// A read with less time than this scrape may have failed for that alone.
			if result := r.snapshot(nil); result.Err == nil || !joined || deadline.Sub(r.deadline) < time.Second {
				return result
			}
		case <-ctx.Done():
			if ctx.Err() == context.DeadlineExceeded && !r.deadline.After(deadline) { //nolint:errorlint // never wrapped
				r.settle()
			}
			return r.snapshot(ctx.Err())
		}
	}
}

// settle waits for the end of a read whose time is over, so that this scrape counts the call that it ends.
func (r *read) settle() {
	select {
	case <-r.done:
	case <-time.After(100 * time.Millisecond):
	}
}

// join returns the read in flight, or starts one. It goes on if the scraper disconnects: others may have joined.
func (a *Account) join(ctx context.Context) (r *read, joined bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.inFlight != nil {
		return a.inFlight, true
	}
	deadline, _ := ctx.Deadline()
	r = &read{deadline: deadline, done: make(chan struct{}), counts: map[bunq.Status]int{}}
	r.seen = make(map[int64]bool, len(a.watched))
	devices := make(map[int64]bunq.DeviceServer, len(a.watched))
	r.result = Result{Start: time.Now(), Watched: a.watched, DeviceServers: devices}
	a.inFlight = r
	go func() {
		ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
		defer cancel()
		a.finish(r, a.read(ctx, r))
	}()
	return r, false
}

// finish ends a read. It logs without the lock: scrapes must not wait for a log that blocks.
func (a *Account) finish(r *read, err error) {
	result := r.end(err)
	a.mu.Lock()
	if a.inFlight == r { // not if a reload has replaced it
		a.last, a.inFlight = result, nil
	}
	if result.Answered {
		a.lastSuccess = result.Start.Add(result.Duration)
	}
	a.mu.Unlock()
	close(r.done)
	a.events.log(result)
}

// read reads the device servers, with other credentials where bunq rejects the first ones.
func (a *Account) read(ctx context.Context, r *read) error {
	credentials, err := a.session.Credentials(ctx)
	r.watch(a.session.State().DeviceServerID)
	if err != nil {
		return err
	}
	for range 3 { // the session, the installation, the next session
		if err = a.readAll(ctx, r, credentials); !bunq.Rejected(err) {
			return err
		}
		var none error
		if credentials, none = a.session.Rejected(ctx, credentials); none != nil {
			return err
		}
	}
	return err
}

// readAll reads the list to its end.
func (a *Account) readAll(ctx context.Context, r *read, credentials bunq.Credentials) error {
	first := true
	for page, err := range a.client.DeviceServers(ctx, credentials) {
		if err == nil || len(page.DeviceServers) > 0 {
			r.add(page.DeviceServers...)
		}
		if err != nil {
			return err
		}
		alone := page.Last && r.complete()
		if ids := r.missing(); alone || first && !page.Last && len(ids) <= bunq.MaxReads { // so many at once
			if err := a.readSingly(ctx, r, credentials, ids); err != nil {
				return err
			}
		}
		first = false
	}
	return nil
}

// readSingly reads device servers one by one. What is wrong with one of them does not affect the others, nor the
// list, and bunq may allow the list alone.
func (a *Account) readSingly(ctx context.Context, r *read, credentials bunq.Credentials, ids []int64) error {
	for _, id := range ids {
		d, err := a.client.DeviceServer(ctx, credentials, id)
		switch bunq.ReasonOf(err) {
		case "":
			r.add(d)
		case bunq.ReasonUnauthorized, bunq.ReasonCredentials:
			return nil
		case bunq.ReasonTimeout, bunq.ReasonNetwork, bunq.ReasonRateLimited, bunq.ReasonMaintenance:
			return err
		}
	}
	return nil
}

// watch adds the exporter's own device server to the watched ones; 0 is unknown.
func (r *read) watch(own int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.own = own; own != 0 && !slices.Contains(r.result.Watched, own) {
		r.result.Watched = append(slices.Clone(r.result.Watched), own)
	}
}

// add adds device servers to the result. A list may show one twice, but a series must not occur twice.
func (r *read) add(shown ...bunq.DeviceServer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Answered = true
	for _, d := range shown {
		switch {
		case r.seen[d.ID]:
			continue
		case slices.Contains(r.result.Watched, d.ID):
			r.result.DeviceServers[d.ID] = d
		default:
			r.result.Unexpected = append(r.result.Unexpected, d)
		}
		r.seen[d.ID] = true
		r.counts[d.Status]++
	}
}

func (r *read) missing() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.result.Watched), func(id int64) bool { return r.seen[id] })
}

// complete notes that the list was read to its end. Alone reports that it shows no device server but the exporter's
// own: then bunq may list those of an installation alone.
func (r *read) complete() (alone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Counts = maps.Clone(r.counts)
	return len(r.seen) == 0 || len(r.seen) == 1 && (r.own == 0 || r.seen[r.own])
}

// end completes the result.
func (r *read) end(err error) Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended, r.result.Duration, r.result.Err = true, time.Since(r.result.Start), err
	return r.result
}

// snapshot returns the result as it is now; err says why it is not complete, unless the read has ended.
func (r *read) snapshot(err error) Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	result := r.result
	if !r.ended {
		result.DeviceServers, result.Unexpected = maps.Clone(result.DeviceServers), slices.Clone(result.Unexpected)
		result.Duration, result.Err = time.Since(result.Start), err
	}
	return result
}
