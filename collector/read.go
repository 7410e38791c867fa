package collector

import (
	"context"
	"errors"
	"fmt"
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

	Watched       []int64                     // the selected ids, and that of the exporter's own device server if known
	DeviceServers map[int64]bunq.DeviceServer // the watched ones that were read
	Known         []bunq.DeviceServer         // on the account, neither watched nor unexpected
	Unexpected    []bunq.DeviceServer         // on the account, neither watched nor known
	Counts        map[bunq.Status]int         // of all on the account; nil if the list was not read to its end
	Unreadable    int                         // objects of the list that were left out, since they cannot be read
	OwnOnly       bool                        // the list shows none but the exporter's own: bunq may hide others
	Answered      bool                        // bunq answered for the device servers, if not for all of them
	Err           error                       // that ended the read early

	failed map[int64]error // of device servers that were read singly
}

var errNotListed = fmt.Errorf("bunq lists no device server with this id: %w", bunq.ReasonNotFound)

// Missing returns why a device server was not read.
func (r Result) Missing(id int64) error {
	switch listed := r.Counts != nil && !r.OwnOnly; {
	case !listed && r.failed[id] != nil:
		return r.failed[id]
	case r.Err != nil:
		return r.Err
	case r.Unreadable > 0:
		return fmt.Errorf("%d objects of the list cannot be read: %w", r.Unreadable, bunq.ReasonMalformed)
	}
	return errNotListed
}

// NotFound reports that a device server that was not read is not on the account.
func (r Result) NotFound(id int64) bool {
	return r.Err == nil && errors.Is(r.Missing(id), bunq.ReasonNotFound)
}

// read is a read in flight. Overlapping scrapes share it.
type read struct {
	selection Selection
	deadline  time.Time
	done      chan struct{}

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
	watched := a.selection.IDs
	if a.selection.All {
		watched = slices.Sorted(maps.Keys(a.lastReads))
	}
	r = &read{
		selection: a.selection, deadline: deadline, done: make(chan struct{}),
		seen: make(map[int64]bool, len(watched)), counts: map[bunq.Status]int{},
	}
	devices := make(map[int64]bunq.DeviceServer, len(watched))
	r.result = Result{Start: time.Now(), Watched: watched, DeviceServers: devices, failed: map[int64]error{}}
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
	for id, d := range result.DeviceServers {
		a.lastReads[id] = LastRead{d, result.Start}
	}
	maps.DeleteFunc(a.lastReads, func(id int64, _ LastRead) bool {
		_, read := result.DeviceServers[id]
		return a.selection.All && !read && result.NotFound(id)
	})
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
		r.leaveOut(page.Invalid)
		ownOnly := page.Last && r.complete()
		if ids := r.missing(); ownOnly || first && !page.Last && len(ids) <= bunq.MaxReads { // so many at once
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
	for i, id := range ids {
		d, err := a.client.DeviceServer(ctx, credentials, id)
		switch bunq.ReasonOf(err) {
		case "":
			r.add(d)
		case bunq.ReasonUnauthorized, bunq.ReasonCredentials:
			r.fail(err, ids[i:]...)
			return nil
		case bunq.ReasonTimeout, bunq.ReasonNetwork, bunq.ReasonRateLimited, bunq.ReasonMaintenance:
			return err
		default:
			r.fail(err, id)
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
		case slices.Contains(r.selection.Known, d.ID):
			r.result.Known = append(r.result.Known, d)
		case r.selection.All:
			r.result.Watched = append(r.result.Watched, d.ID)
			r.result.DeviceServers[d.ID] = d
		default:
			r.result.Unexpected = append(r.result.Unexpected, d)
		}
		r.seen[d.ID] = true
		r.counts[d.Status]++
	}
}

func (r *read) leaveOut(objects int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Unreadable += objects
}

// fail notes why device servers could not be read singly.
func (r *read) fail(err error, ids ...int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		r.result.failed[id] = err
	}
}

func (r *read) missing() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.result.Watched), func(id int64) bool { return r.seen[id] })
}

// complete notes that the list was read to its end. OwnOnly reports that it shows no device server but the exporter's
// own: then bunq may list those of an installation alone.
func (r *read) complete() (ownOnly bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Counts = maps.Clone(r.counts)
	r.result.OwnOnly = len(r.seen) == 0 || len(r.seen) == 1 && (r.own == 0 || r.seen[r.own])
	return r.result.OwnOnly
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
		result.DeviceServers, result.failed = maps.Clone(result.DeviceServers), maps.Clone(result.failed)
		result.Duration, result.Err = time.Since(result.Start), err
	}
	return result
}
