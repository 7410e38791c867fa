package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
		r := a.join(ctx, deadline)
		select {
		case <-r.done:
			// A read with less time than this scrape may have failed for that alone.
			if result := r.published.Load(); result.Err == nil || deadline.Sub(r.deadline) < time.Second {
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
func (a *Account) join(ctx context.Context, deadline time.Time) *read {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.inFlight != nil {
		return a.inFlight
	}
	watched := a.selection.IDs
	if a.selection.All {
		watched = slices.Sorted(maps.Keys(a.lastReads))
	}
	r := &read{selection: a.selection, deadline: deadline, done: make(chan struct{})}
	r.result = Result{
		Start: time.Now(), Watched: watched, failed: map[int64]error{},
		DeviceServers: make(map[int64]bunq.DeviceServer, len(watched)),
	}
	r.publish()
	a.inFlight = r
	go func() { a.finish(r, a.read(ctx, r)) }()
	return r
}

// publish makes what was read visible to all scrapes that share the read.
func (r *read) publish() {
	result := r.result
	result.DeviceServers, result.failed = maps.Clone(result.DeviceServers), maps.Clone(result.failed)
	r.published.Store(&result)
}

// finish ends a read.
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
	a.events.log(result)
	a.mu.Unlock()
	close(r.done)
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
	var err error
	var rejected string // the token that bunq rejected last
	for range 3 {       // the session, the installation, the next session
		credentials, none := a.session.Credentials(ctx, rejected)
		if own := a.session.State().DeviceServerID; own != 0 && !slices.Contains(r.result.Watched, own) {
			r.result.Watched = append(slices.Clone(r.result.Watched), own)
		}
		r.publish()
		if none != nil {
			return cmp.Or(err, none)
		}
		if err = a.readAll(ctx, r, credentials); !bunq.Rejected(err) {
			return err
		}
		rejected = credentials.Token
		a.session.Reject(rejected)
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

// Result is what a scrape read of an account.
type Result struct {
	Start    time.Time // zero before the first scrape
	Duration time.Duration

	DeviceServers map[int64]bunq.DeviceServer // that were read, by id
	Watched       []int64                     // the selected ids, and that of the exporter's own device server if known
	Known         []int64                     // read, but neither watched nor unexpected
	Unexpected    []int64                     // read, but neither watched nor known
	Complete      bool                        // the list was read to its end
	OwnOnly       bool                        // it shows none but the exporter's own: bunq may hide others
	Unreadable    int                         // objects of the list that were left out, since they cannot be read
	Answered      bool                        // bunq answered for the device servers, if not for all of them
	Err           error                       // that ended the read early

	failed map[int64]error // of device servers that were read singly
	ended  bool
}

// add adds device servers that bunq shows. A list may show one twice, but a series must not occur twice.
func (r *Result) add(s Selection, shown ...bunq.DeviceServer) {
	r.Answered = true
	for _, d := range shown {
		_, seen := r.DeviceServers[d.ID]
		r.DeviceServers[d.ID] = d
		switch {
		case seen, slices.Contains(r.Watched, d.ID):
		case slices.Contains(s.Known, d.ID):
			r.Known = append(r.Known, d.ID)
		case s.All:
			r.Watched = append(r.Watched, d.ID)
		default:
			r.Unexpected = append(r.Unexpected, d.ID)
		}
	}
}

// unread returns the watched ids that have not been read.
func (r *Result) unread() []int64 {
	return slices.DeleteFunc(slices.Clone(r.Watched), func(id int64) bool {
		_, read := r.DeviceServers[id]
		return read
	})
}

var errNotListed = fmt.Errorf("bunq lists no device server with this id: %w", bunq.ReasonNotFound)

// Missing returns why a device server was not read.
func (r Result) Missing(id int64) error {
	switch listed := r.Complete && !r.OwnOnly; {
	case !listed && r.failed[id] != nil:
		return r.failed[id]
	case r.Err != nil:
		return r.Err
	case r.Unreadable > 0:
		return fmt.Errorf("%d objects of the list cannot be read: %w", r.Unreadable, bunq.ReasonMalformed)
	}
	return errNotListed
}

// NotFound reports that a device server is not on the account.
func (r Result) NotFound(id int64) bool {
	_, read := r.DeviceServers[id]
	return !read && r.Err == nil && errors.Is(r.Missing(id), bunq.ReasonNotFound)
}
