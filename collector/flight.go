package collector

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"bunq_exporter/bunq"
)

// flight is a reading under way, shared by the scrapes that come before whoever began it must end. As a context it lasts
// until the last of them has left.
type flight struct {
	landed chan struct{} // closed when the reading is complete
	ended  chan struct{} // closed when nobody waits for it any more
	own    func() int64  // the exporter's own device server, once it is known
	closes time.Time     // when no others may join: an answer that is lost must not hold up all scrapes that follow

	mu       sync.Mutex
	waiting  int
	deadline time.Time // the latest of those who wait
	err      error     // why the last one left
	watched  map[int64]bool
	seen     map[int64]bool // device servers that bunq has shown
	counts   map[bunq.Status]int
	reading  Reading
}

var _ context.Context = (*flight)(nil)

func newFlight(watched []int64, closes time.Time, own func() int64) *flight {
	f := &flight{
		own:     own,
		closes:  closes,
		landed:  make(chan struct{}),
		ended:   make(chan struct{}),
		watched: make(map[int64]bool, len(watched)),
		seen:    map[int64]bool{},
		counts:  map[bunq.Status]int{},
		reading: Reading{Time: time.Now(), Watched: watched, DeviceServers: make(map[int64]bunq.DeviceServer, len(watched))},
	}
	for _, id := range watched {
		f.watched[id] = true
	}
	for _, status := range documented {
		f.counts[status] = 0
	}
	return f
}

// Deadline implements [context.Context]. It moves when somebody joins who can wait for longer.
func (f *flight) Deadline() (time.Time, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.deadline, !f.deadline.IsZero()
}

// Done implements [context.Context].
func (f *flight) Done() <-chan struct{} { return f.ended }

// Err implements [context.Context].
func (f *flight) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Value implements [context.Context].
func (f *flight) Value(any) any { return nil }

// own is the exporter's own device server; 0 before it is registered, or if an SDK registered it.
func (a *Account) own() int64 { return a.client.Login().DeviceServerID }

// fetch returns what bunq says now, or as much of it as is known when ctx ends.
func (a *Account) fetch(ctx context.Context) Reading {
	f := a.join(ctx)
	select {
	case <-f.landed:
	case <-ctx.Done():
		if !a.leave(f, ctx.Err()) {
			return f.snapshot(ctx.Err())
		}
		<-f.landed // the calls that it ends are counted in this scrape
	}
	return f.reading
}

// join takes part in the reading under way, or begins one.
func (a *Account) join(ctx context.Context) *flight {
	a.mu.Lock()
	defer a.mu.Unlock()
	deadline, _ := ctx.Deadline()
	f := a.flight
	if f == nil || !time.Now().Before(f.closes) {
		f = newFlight(a.watched, deadline, a.own)
		a.flight = f
		go a.fly(f) // as soon as a.mu is free
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting++
	if deadline.After(f.deadline) {
		f.deadline = deadline
	}
	return f
}

// leave stops waiting, and ends the reading if nobody else waits for it.
func (a *Account) leave(f *flight, why error) (last bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting--; f.waiting > 0 {
		return false
	}
	if a.flight == f {
		a.flight = nil // whoever comes now begins another one
	}
	f.err = why
	close(f.ended)
	return true
}

func (a *Account) fly(f *flight) {
	err := a.read(f)
	f.mu.Lock()
	f.reading.Err = err
	f.reading.Duration = time.Since(f.reading.Time)
	f.mu.Unlock()
	a.keep(f.reading)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.flight == f {
		a.flight = nil
	}
	close(f.landed)
}

// add takes device servers into the reading. A list may show one twice, but a series must not come twice.
func (f *flight) add(shown ...bunq.DeviceServer) {
	own := f.own()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reading.Answered = true
	for _, d := range shown {
		if f.seen[d.ID] {
			continue
		}
		f.seen[d.ID] = true
		f.counts[d.Status]++
		switch {
		case f.watched[d.ID]:
			f.reading.DeviceServers[d.ID] = d
		case d.ID != own:
			f.reading.Unexpected = append(f.reading.Unexpected, d)
		}
	}
}

func (f *flight) has(id int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[id]
}

func (f *flight) answered() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reading.Answered
}

// complete notes that the list was read to its end. Alone says that it shows no device server but the exporter's own:
// bunq may list those of an installation alone.
func (f *flight) complete() (alone bool) {
	own := f.own()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reading.Counts = maps.Clone(f.counts)
	return len(f.seen) == 0 || len(f.seen) == 1 && (own == 0 || f.seen[own])
}

// snapshot is for who cannot wait for the end.
func (f *flight) snapshot(why error) Reading {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.reading
	r.DeviceServers, r.Unexpected = maps.Clone(r.DeviceServers), slices.Clone(r.Unexpected)
	r.Duration, r.Err = time.Since(r.Time), why
	return r
}
