package collector

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"bunq_exporter/bunq"
)

// read is a read in flight. Overlapping scrapes share it.
type read struct {
	selection Selection
	deadline  time.Time
	done      chan struct{}

	result    Result                 // belongs to the goroutine that reads
	published atomic.Pointer[Result] // what is known so far
}

// scrape returns what bunq answers now, or as much of it as is known when ctx ends.
func (a *Account) scrape(ctx context.Context) Result {
	deadline, _ := ctx.Deadline()
	for {
		r, joined := a.join(ctx, deadline)
		select {
		case <-r.done:
			// A read with less time than this scrape may have failed for that alone.
			if result := r.published.Load(); result.Err == nil || !joined || deadline.Sub(r.deadline) < time.Second {
				return *result
			}
		case <-ctx.Done():
			if ctx.Err() == context.DeadlineExceeded && !r.deadline.After(deadline) { //nolint:errorlint // never wrapped
				select { // so that this scrape counts the call that the end of the read interrupts
				case <-r.done:
				case <-time.After(100 * time.Millisecond):
				}
			}
			result := *r.published.Load()
			if !result.ended {
				result.Duration, result.Err = time.Since(result.Start), ctx.Err()
			}
			return result
		}
	}
}

// join returns the read in flight, or starts one.
func (a *Account) join(ctx context.Context, deadline time.Time) (r *read, joined bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.inFlight != nil {
		return a.inFlight, true
	}
	watched := a.selection.IDs
	if a.selection.All {
		watched = slices.Sorted(maps.Keys(a.lastReads))
	}
	r = &read{selection: a.selection, deadline: deadline, done: make(chan struct{})}
	r.result = Result{
		Start: time.Now(), Watched: watched, failed: map[int64]error{},
		DeviceServers: make(map[int64]bunq.DeviceServer, len(watched)),
	}
	r.publish()
	a.inFlight = r
	go func() { a.finish(r, a.read(ctx, r)) }()
	return r, false
}

// publish makes what was read visible to all scrapes that share the read.
func (r *read) publish() {
	result := r.result
	result.DeviceServers, result.failed = maps.Clone(result.DeviceServers), maps.Clone(result.failed)
	r.published.Store(&result)
}

// finish ends a read. It logs without the lock: scrapes must not wait for a log that blocks.
func (a *Account) finish(r *read, err error) {
	result := r.result
	result.ended, result.Duration, result.Err = true, time.Since(result.Start), err
	r.published.Store(&result)
	a.mu.Lock()
	if a.inFlight == r { // not if a reload has replaced it
		a.last, a.inFlight = result, nil
		a.remember(result)
	}
	if result.Answered {
		a.lastSuccess = result.Start.Add(result.Duration)
	}
	a.mu.Unlock()
	close(r.done)
	a.events.log(result)
}

// remember keeps what was read. Where all device servers are watched, those that are gone are forgotten.
func (a *Account) remember(result Result) {
	for _, id := range result.Watched {
		if d, read := result.DeviceServers[id]; read {
			a.lastReads[id] = LastRead{d, result.Start}
		} else if a.selection.All && result.NotFound(id) {
			delete(a.lastReads, id)
		}
	}
}

// read reads the device servers, with other credentials where bunq rejects the first ones. It goes on if the scraper
// disconnects: others may have joined.
func (a *Account) read(ctx context.Context, r *read) error {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), r.deadline)
	defer cancel()
	credentials, err := a.session.Credentials(ctx)
	if own := a.session.State().DeviceServerID; own != 0 && !slices.Contains(r.result.Watched, own) {
		r.result.Watched = append(slices.Clone(r.result.Watched), own)
	}
	r.publish()
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
	first, result := true, &r.result
	for page, err := range a.client.DeviceServers(ctx, credentials) {
		if err == nil || len(page.DeviceServers) > 0 {
			result.add(r.selection, page.DeviceServers...)
		}
		if err != nil {
			return err
		}
		result.Unreadable += page.Invalid
		if page.Last {
			result.Complete, result.OwnOnly = true, a.isOwnOnly(result.DeviceServers)
		}
		if !page.Last || result.OwnOnly { // more is to be read
			r.publish()
		}
		if ids := result.unread(); result.OwnOnly || first && !page.Last && len(ids) <= bunq.MaxReads { // so many at once
			if err := a.readSingly(ctx, r, credentials, ids); err != nil {
				return err
			}
		}
		first = false
	}
	return nil
}

// isOwnOnly reports whether a list shows no device server but the exporter's own: then bunq may list those of an
// installation alone.
func (a *Account) isOwnOnly(listed map[int64]bunq.DeviceServer) bool {
	own := a.session.State().DeviceServerID
	_, shown := listed[own]
	return len(listed) == 0 || len(listed) == 1 && (own == 0 || shown)
}

// readSingly reads device servers one by one. What is wrong with one of them does not affect the others, nor the
// list, and bunq may allow the list alone.
func (a *Account) readSingly(ctx context.Context, r *read, credentials bunq.Credentials, ids []int64) error {
	for i, id := range ids {
		d, err := a.client.DeviceServer(ctx, credentials, id)
		switch bunq.ReasonOf(err) {
		case "":
			r.result.add(r.selection, d)
		case bunq.ReasonUnauthorized, bunq.ReasonCredentials:
			for _, id := range ids[i:] {
				r.result.failed[id] = err
			}
			return nil
		case bunq.ReasonTimeout, bunq.ReasonNetwork, bunq.ReasonRateLimited, bunq.ReasonMaintenance:
			return err
		default:
			r.result.failed[id] = err
		}
		r.publish()
	}
	return nil
}
